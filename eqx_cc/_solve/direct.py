"""What direct solvers have in common: factors, and a look at what they find."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, PyTree

from .factorisations.base import AbstractFactors, AbstractPlan
from .factorisations.inverse import Small
from .factorisations.residual import is_regular, is_solution
from .matrix.assemble import Matrix
from .matrix.ravel import Flat, size_of
from .matrix.tags import believed_array, turned
from .system import System


# The rows up to which what fails is solved as dense.
_DENSE = 2048
# What solves a system by a factorisation, and thus up to rounding.
DIRECT = (
    lx.AutoLinearSolver,
    lx.Cholesky,
    lx.Diagonal,
    lx.LU,
    lx.QR,
    lx.Triangular,
    lx.Tridiagonal,
)


class Factored(eqx.Module):
    """A state: factors, or the state of the inner solver; the matrix, with its tags,
    where residuals are to be looked at; and whether it is regular beyond doubt, where
    the inner solver is for what is not as well."""

    factors: AbstractFactors | None
    inner: Any
    matrix: Matrix | Array | None
    flat: Flat
    transposed: bool = eqx.field(static=True)
    tags: frozenset[object] = eqx.field(static=True, default=frozenset())
    is_stable: bool = eqx.field(static=True, default=False)
    is_regular: Bool[Array, ""] | None = None

    @property
    def oriented(self) -> Any:
        """The matrix of the system that is solved."""
        if not self.transposed or self.matrix is None:
            return self.matrix
        own = self.matrix
        return own.transpose if isinstance(own, Matrix) else own.T


class AbstractDirectSolver(lx.AbstractLinearSolver[Factored]):
    """A linear solver that factors the matrix of an operator.

    Where pivots are not sought in all of the matrix, the solution is refined once; its
    residual is looked at, and if that is large then `inner` solves the system. What is
    not solved is reported. If `inner` is not for regular matrices alone, then it has
    every system of which it is in doubt whether the matrix is one.
    """

    @property
    @abc.abstractmethod
    def inner(self) -> lx.AbstractLinearSolver:
        """The solver for matrices that are taken for dense."""

    @abc.abstractmethod
    def system(
        self, fun: Callable, x: PyTree, tags: frozenset[object] = frozenset()
    ) -> System:
        """How the Jacobian of a function, at `x`, is computed and factored; `tags` are
        what is known of it."""

    def assume_full_rank(self) -> bool:
        """As `inner`. What is singular is then reported."""
        return self.inner.assume_full_rank()

    def factored(
        self, plan: AbstractPlan, matrix: Matrix, flat: Flat, tags: frozenset[object]
    ) -> Factored:
        """The state of a matrix that is factored as planned."""
        factors, regular = plan.factor(matrix), None
        if not self.assume_full_rank():
            if plan.is_diagonal and isinstance(self.inner, _OF_DIAGONALS):
                return self._of_diagonal(matrix, flat)
            regular = is_regular(matrix, factors)
        elif plan.is_diagonal:
            return Factored(factors, None, None, flat, False, tags, True)
        stable = plan.is_stable
        return Factored(factors, None, matrix, flat, False, tags, stable, regular)

    def _of_diagonal(self, matrix: Matrix, flat: Flat) -> Factored:
        """The state of the inner solver, which knows what to do with zeros."""
        index = np.arange(matrix.size)
        operator = lx.DiagonalLinearOperator(matrix.at(index, index))
        return Factored(None, self.inner.init(operator, {}), None, flat, False)

    def of_dense(self, matrix: Array, flat: Flat, options: dict, tags) -> Factored:
        """The state of the inner solver, for a matrix without structure."""
        operator = lx.MatrixLinearOperator(matrix, tags)
        inner = self.inner.init(operator, options) if matrix.size else None
        return Factored(None, inner, self._judged(matrix, tags), flat, False)

    def _judged(self, matrix: Array, tags: frozenset[object]) -> Array | None:
        """The matrix by which the solutions of the inner solver are judged; None if it
        judges by a measure of its own, as for least squares."""
        rows, columns = matrix.shape
        is_real = jnp.issubdtype(matrix.dtype, jnp.floating)
        if not 0 < rows == columns or not is_real:
            return None
        if not (isinstance(self.inner, DIRECT) and self.assume_full_rank()):
            return None
        return believed_array(matrix, tags)

    def compute(
        self, state: Factored, vector: PyTree[Array], options: dict
    ) -> tuple[PyTree[Array], lx.RESULTS, dict[str, Any]]:
        """Solves a system with the factors."""
        flat = state.flat
        known = flat.ravel(vector)
        result, stats = lx.RESULTS.successful, {}
        if state.inner is not None:
            found, result, stats = self.inner.compute(state.inner, known, options)
            if state.matrix is not None:
                is_good = is_solution(state.oriented, found, known)
                is_good = is_good | (result != lx.RESULTS.successful)
                result = lx.RESULTS.where(is_good, result, lx.RESULTS.singular)
        elif state.factors is None:
            found = jnp.zeros(size_of(flat.taken[0]), flat.dtype)
        else:
            found, is_good = self._by_factors(state, known)
            result = lx.RESULTS.where(is_good, result, lx.RESULTS.singular)
        return flat.unravel(found), result, stats

    def _by_factors(
        self, state: Factored, known: Array
    ) -> tuple[Array, Bool[Array, ""]]:
        """The solution, and whether it is one."""
        assert state.factors is not None
        if isinstance(state.factors, Small):
            return self._small(state, known)
        found = state.factors.solve(known, state.transposed)
        if state.matrix is None:
            return found, jnp.all(jnp.isfinite(found))
        return self._looked_at(state, known, found)

    def _small(self, state: Factored, known: Array) -> tuple[Array, Bool[Array, ""]]:
        """By the inverse; by the inner solver if that is not as good."""
        own = state.factors
        assert isinstance(own, Small)
        own = own.transpose if state.transposed else own
        found, is_good = own.checked(known)
        if state.is_regular is not None:
            is_good = is_good & state.is_regular

        def dense(matrix, known):
            return self._densely(matrix, matrix, state, known)

        return _unless(found, is_good, dense, own.matrix, known)

    def _looked_at(
        self, state: Factored, known: Array, found: Array
    ) -> tuple[Array, Bool[Array, ""]]:
        """A solution refined, or what the inner solver finds where the structure was of
        no use: where a part that is eliminated first is singular, though the whole is
        not; or where the whole is, and the inner solver is for that."""
        matrix = state.oriented
        if not state.is_stable:
            found = _refined(state, known, found)
        is_good = is_solution(matrix, found, known)
        if state.is_regular is not None:
            is_good = is_good & state.is_regular
        elif state.is_stable:
            return found, is_good
        if matrix.size > _DENSE:
            return found, is_good

        def dense(matrix, known):
            return self._densely(matrix, matrix.dense(), state, known)

        return _unless(found, is_good, dense, matrix, known)

    def _densely(
        self, matrix: Matrix | Array, array: Array, state: Factored, known: Array
    ) -> tuple[Array, Bool[Array, ""]]:
        """What the inner solver finds for a matrix, and whether it may be relied on."""
        tags = turned(state.tags) if state.transposed else state.tags
        operator = lx.MatrixLinearOperator(array, tags)
        inner = self.inner.init(operator, {})
        found, result, _ = self.inner.compute(inner, known, {})
        is_good = jnp.all(jnp.isfinite(found)) & (result == lx.RESULTS.successful)
        if state.is_regular is None:
            is_good = is_good & is_solution(matrix, found, known)
        return found, is_good

    def transpose(self, state: Factored, options: dict) -> tuple[Factored, dict]:
        """The state of the transposed operator."""
        inner = state.inner
        if inner is not None:
            inner, options = self.inner.transpose(inner, options)
        state = dataclasses.replace(
            state,
            inner=inner,
            flat=state.flat.transpose,
            transposed=not state.transposed,
        )
        return state, options

    def conj(self, state: Factored, options: dict) -> tuple[Factored, dict]:
        """The state of the conjugate operator: what is factored here is real."""
        if state.inner is None:
            return state, options
        inner, options = self.inner.conj(state.inner, options)
        return dataclasses.replace(state, inner=inner), options


# Solvers of lineax that divide by diagonals.
_OF_DIAGONALS = lx.AutoLinearSolver, lx.Diagonal


def _unless(
    found: Array, is_good: Bool[Array, ""], other: Callable, *args: PyTree
) -> tuple[Array, Bool[Array, ""]]:
    """What was found, or else what `other` makes of its arguments. A loop of at most
    one iteration: in a batch, a branch would always be taken. The barrier keeps XLA
    from moving what is the same in all iterations to before the loop."""
    start = is_good, found, is_good
    dynamic, static = eqx.partition(args, eqx.is_array)

    def step(carry):
        own, _ = lax.optimization_barrier((dynamic, carry))
        return jnp.array(True), *other(*eqx.combine(own, static))

    return lax.while_loop(lambda carry: ~carry[0], step, start)[1:]


def _refined(state: Factored, known: Array, found: Array) -> Array:
    """The solution after one step of refinement."""
    assert state.factors is not None
    residual = known - state.oriented @ found
    return found + state.factors.solve(residual, state.transposed)
