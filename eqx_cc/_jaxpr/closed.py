"""Functions of lists of arrays as jaxprs; what they capture as inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import jax
import jax.extend.core as jex
import jax.tree_util as jtu
from jax.core import Tracer
from jaxtyping import Array

from .avals import as_arrays
from .program import Constant, Program
from .releases import ClosedJaxpr


Result = TypeVar("Result")


class Traced(Generic[Result]):
    """A function of a list of arrays as a jaxpr, which is evaluated when called."""

    def __init__(self, fun: Callable[[list[Array]], Result], leaves: Sequence[Any]):
        trees = []

        def arrays(*leaves):
            found, tree = jtu.tree_flatten(fun(list(leaves)))
            trees.append(tree)
            return found

        self.closed: ClosedJaxpr = jax.make_jaxpr(arrays)(*leaves)
        [self._tree] = trees

    @property
    def struct(self) -> Result:
        """What is returned, with abstract values in place of arrays."""
        return jtu.tree_unflatten(self._tree, self.closed.out_avals)

    def __call__(self, leaves: Sequence[Array]) -> Result:
        return self.result(jex.jaxpr_as_fun(self.closed)(*leaves))

    def result(self, arrays: Sequence[Any]) -> Result:
        """What is returned, from the arrays in it."""
        arrays = as_arrays(arrays, self.closed.out_avals)
        return jtu.tree_unflatten(self._tree, arrays)


def opened(
    closed: ClosedJaxpr, leaves: Callable[[Any], bool]
) -> tuple[list[Any], ClosedJaxpr]:
    """What a function captures and `leaves` it, and the function with these for its
    first arguments."""
    jaxpr = closed.jaxpr
    pairs = list(zip(jaxpr.constvars, closed.consts))
    outside = [(v, c) for v, c in pairs if leaves(c)]
    inside = [(v, c) for v, c in pairs if not leaves(c)]
    invars = [*(v for v, _ in outside), *jaxpr.invars]
    jaxpr = jaxpr.replace(constvars=[v for v, _ in inside], invars=invars)
    return [c for _, c in outside], ClosedJaxpr(jaxpr, [c for _, c in inside])


def is_traced(value: Any) -> bool:
    """Whether a value is not known while tracing."""
    return isinstance(value, Tracer)


def captured(program: Program) -> list[Any]:
    """The tracers that a program captures from what is being traced around it."""
    found = {id(o.value): o.value for o in _constants(program)}
    return list(filter(is_traced, found.values()))


def replaced(program: Program, old: Sequence[Any], new: Sequence[Any]) -> Program:
    """The program with other values for some of its constants."""
    values = {id(a): b for a, b in zip(old, new)}

    def operands(own):
        return tuple(
            Constant(values[id(o.value)], o.aval)
            if isinstance(o, Constant) and id(o.value) in values
            else o
            for o in own
        )

    equations = tuple(
        equation._replace(operands=operands(equation.operands))
        for equation in program.equations
    )
    outputs = operands(program.outputs)
    return replace(program, equations=equations, outputs=outputs)


def _constants(program: Program) -> list[Constant]:
    every = [o for equation in program.equations for o in equation.operands]
    return [o for o in (*every, *program.outputs) if isinstance(o, Constant)]
