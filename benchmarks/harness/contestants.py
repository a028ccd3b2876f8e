"""Contestants. To add one, append it to the list in `contestants`."""

import abc
import importlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np

from ..cases import batch_size, Case
from .casadi_code import library
from .prepared import Prepared
from .timing import batch_program, call_program, EPS, is_number, loop_program, Program


# Those whose best is what everybody is compared with.
BASELINES = "jax.jacfwd", "jax.jacrev"


@dataclass(frozen=True)
class AbstractContestant(abc.ABC):
    """A way to a Jacobian.

    **Attributes:**

    - `name`: what it is called.
    - `structured`: whether what it returns is not a dense matrix.
    """

    name: str
    structured: bool = False

    @abc.abstractmethod
    def program(self, prepared: Prepared) -> Program:
        """Returns the program to time. Any error is the reason why it is not timed."""

    @abc.abstractmethod
    def matrices(self, prepared: Prepared, result: Any) -> Iterator[tuple[int, Any]]:
        """Yields indices of points, each with the Jacobian that the program returned
        there: a dense matrix, or `(values, rows, columns)`."""

    def refusal(self, case: Case, setting: str) -> str:
        """Why it does not take part; empty if it does."""
        if not self.structured:
            return "" if case.is_dense else "the dense matrix is too large"
        if batch_size(setting) > 1:
            return "batches are of dense matrices"
        return "" if case.structured else "no structure worth keeping"


class _AbstractTransform(AbstractContestant):
    """A function of the function to be differentiated, in JAX."""

    @abc.abstractmethod
    def jacobian(self, fun: Callable, x: Any) -> Callable:
        """The function to be timed; `x` is of the type that it will be called with."""

    @abc.abstractmethod
    def matrix(self, prepared: Prepared, jacobian: Any) -> Any:
        """The Jacobian at one point, in the form that `matrices` has it."""

    def function(self, prepared: Prepared) -> tuple[Callable, Any]:
        """The function that is differentiated, and its point."""
        return prepared.fun, prepared.x

    def unravel(self, prepared: Prepared) -> Callable:
        return prepared.unravel

    def program(self, prepared: Prepared) -> Program:
        fun, x = self.function(prepared)
        jacobian = self.jacobian(fun, x)
        if prepared.setting == "call":
            return call_program(jacobian, x)
        if prepared.setting == "loop":
            return loop_program(jacobian, x)
        return batch_program(
            jacobian, jax.vmap(self.unravel(prepared))(prepared.points)
        )

    def matrices(self, prepared: Prepared, result: Any) -> Iterator[tuple[int, Any]]:
        if prepared.setting == "loop":
            result = self._refilled(prepared, result)
        for i in prepared.sampled:
            one = result
            if prepared.batch > 1:
                one = jax.tree.map(lambda leaf: leaf[i], result)
            yield i, self.matrix(prepared, one)

    def _refilled(self, prepared: Prepared, numbers: list) -> Any:
        """The Jacobian whose numbers a loop returned, without their containers."""
        fun, x = self.function(prepared)
        leaves, treedef = jax.tree.flatten(jax.jit(self.jacobian(fun, x))(x))
        left = iter(numbers)
        leaves = [next(left) if is_number(leaf) else leaf for leaf in leaves]
        return jax.tree.unflatten(treedef, leaves)


@dataclass(frozen=True)
class Transform(_AbstractTransform):
    """A transform with the signature of `jax.jacfwd`."""

    transform: Callable[[Callable], Callable] = jax.jacfwd

    def jacobian(self, fun: Callable, x: Any) -> Callable:
        return self.transform(fun)

    def matrix(self, prepared: Prepared, jacobian: Any) -> Any:
        """The blocks side by side: for each output there is one for each input."""
        sizes = [leaf.size for leaf in jax.tree.leaves(prepared.x)]
        leaves = jax.tree.leaves(jacobian)
        rows = [leaves[i : i + len(sizes)] for i in range(0, len(leaves), len(sizes))]
        blocks = [
            [np.asarray(b).reshape(-1, size) for b, size in zip(row, sizes)]
            for row in rows
        ]
        return np.block(blocks)


@dataclass(frozen=True)
class Structured(_AbstractTransform):
    """Blocks in their structure: only the numbers that they store are written."""

    structured: bool = True

    def jacobian(self, fun: Callable, x: Any) -> Callable:
        return eqx_cc.cc_jacobian(fun, structured=True)

    def matrix(self, prepared: Prepared, jacobian: Any) -> Any:
        is_block = lambda leaf: isinstance(leaf, eqx_cc.Partial)  # noqa: E731
        [block] = jax.tree.leaves(jacobian, is_leaf=is_block)
        return block.to_coo()


class _AbstractFlat(_AbstractTransform):
    """A transform of functions of one vector."""

    def function(self, prepared: Prepared) -> tuple[Callable, Any]:
        return prepared.flat, prepared.points[0]

    def unravel(self, prepared: Prepared) -> Callable:
        return lambda x: x

    def matrix(self, prepared: Prepared, jacobian: Any) -> Any:
        if hasattr(jacobian, "indices"):
            rows, columns = np.asarray(jacobian.indices).T
            return jacobian.data, rows, columns
        return np.asarray(jacobian)


@dataclass(frozen=True)
class Asdex(_AbstractFlat):
    """Colouring of the sparsity pattern that it finds in the jaxpr."""

    def jacobian(self, fun: Callable, x: Any) -> Callable:
        asdex: Any = importlib.import_module("asdex")
        kind = "bcoo" if self.structured else "dense"
        with warnings.catch_warnings():  # That there is nothing to gain by colouring.
            warnings.simplefilter("ignore")
            return asdex.jacobian(fun, x, output_format=kind)


@dataclass(frozen=True)
class Sparsejac(_AbstractFlat):
    """Colouring of a sparsity pattern that it is given; here asdex finds it.

    By columns or by rows, whichever needs fewer colours at least.
    """

    structured: bool = True

    def jacobian(self, fun: Callable, x: Any) -> Callable:
        asdex: Any = importlib.import_module("asdex")
        sparsejac: Any = importlib.import_module("sparsejac")
        sparsity = asdex.jacobian_sparsity(fun, x).to_bcoo()
        rows, columns = np.asarray(sparsity.indices).T
        by_rows = np.bincount(rows).max() > np.bincount(columns).max()
        transform = sparsejac.jacrev if by_rows else sparsejac.jacfwd
        return transform(fun, sparsity=sparsity)

    def refusal(self, case: Case, setting: str) -> str:
        too_large = "" if case.is_dense else "its colouring takes minutes at this size"
        return super().refusal(case, setting) or too_large


@dataclass(frozen=True)
class CasADi(AbstractContestant):
    """C code from CasADi's scalar expressions, called in this process, on one core."""

    def refusal(self, case: Case, setting: str) -> str:
        too_large = "too many entries to write code for"
        return too_large if case.num_entries > 5_000 else ""

    def program(self, prepared: Prepared) -> Program:
        if prepared.dtype != "float64":
            raise TypeError("its C code calls the functions of doubles")
        code, cost = library(prepared.flat, prepared.points[0])
        xs = np.array(prepared.points)
        result = np.zeros((prepared.batch, prepared.case.num_outputs, xs.shape[1]))
        moved = np.empty_like(xs)

        def evaluate(k: int):
            if prepared.setting == "loop":
                pointers = [array.ctypes.data for array in (xs, moved, result)]
                code.loop(k, *pointers, EPS)
            else:
                for _ in range(k):
                    code.batch(prepared.batch, xs.ctypes.data, result.ctypes.data)
            return result

        return Program(evaluate, cost)

    def matrices(self, prepared: Prepared, result: Any) -> Iterator[tuple[int, Any]]:
        return ((i, result[i]) for i in prepared.sampled)


@dataclass(frozen=True)
class Floor(_AbstractTransform):
    """Copies of `x` in place of the Jacobian, in as many and as large arrays."""

    def jacobian(self, fun: Callable, x: Any) -> Callable:
        real = Structured("") if self.structured else Transform("")
        shapes = jax.eval_shape(lambda x: jax.tree.leaves(real.jacobian(fun, x)(x)), x)
        shapes = [leaf.shape for leaf in shapes if is_number(leaf)]

        def copies(x):
            xs = jax.tree.leaves(x)
            return [_tiled(xs[i % len(xs)], s) for i, s in enumerate(shapes)]

        return copies

    def matrix(self, prepared: Prepared, jacobian: Any) -> Any:
        raise AssertionError("it is no Jacobian")

    def matrices(self, prepared: Prepared, result: Any) -> Iterator[tuple[int, Any]]:
        return iter(())


def _tiled(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The numbers of `x`, again and again, until the shape is full."""
    size = int(np.prod(shape))
    copies = jnp.broadcast_to(jnp.ravel(x), (-(-size // x.size), x.size))
    return jnp.ravel(copies)[:size].reshape(shape)


@dataclass(frozen=True)
class Copy(AbstractContestant):
    """A negated copy of an array of the size of a batch of Jacobians."""

    def refusal(self, case: Case, setting: str) -> str:
        return "" if batch_size(setting) > 1 else "only for batches"

    def program(self, prepared: Prepared) -> Program:
        shape = prepared.batch, prepared.case.num_entries
        return call_program(jnp.negative, jnp.ones(shape, prepared.dtype))

    def matrices(self, prepared: Prepared, result: Any) -> Iterator[tuple[int, Any]]:
        return iter(())


def _measured(fun: Callable) -> Callable:
    return eqx_cc.cc_jacobian(fun, order="measured")


def contestants() -> dict[str, AbstractContestant]:
    """All of them by name, in the order of the tables."""
    everyone = (
        Transform("jax.jacfwd", transform=jax.jacfwd),
        Transform("jax.jacrev", transform=jax.jacrev),
        Transform("eqx_cc", transform=eqx_cc.cc_jacobian),
        Transform("eqx_cc measured", transform=_measured),
        Structured("eqx_cc structured"),
        Asdex("asdex"),
        Asdex("asdex bcoo", structured=True),
        Sparsejac("sparsejac"),
        CasADi("CasADi"),
        Floor("floor"),
        Floor("floor structured", structured=True),
        Copy("copy"),
    )
    return {contestant.name: contestant for contestant in everyone}
