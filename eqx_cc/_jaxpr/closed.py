"""Functions of lists of arrays as jaxprs; captured values as inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import jax
import jax.extend.core as jex
import jax.tree_util as jtu
from jax.core import Tracer
from jaxtyping import Array

from .avals import as_arrays, retyped
from .program import Constant, Program
from .releases import ClosedJaxpr


Result = TypeVar("Result")


class TracedFunction(Generic[Result]):
    """A function of a list of arrays as a jaxpr, which is evaluated when called."""

    def __init__(self, fun: Callable[[list[Array]], Result], leaves: Sequence[Any]):
        self.closed: ClosedJaxpr
        self.closed, struct = jax.make_jaxpr(
            lambda *leaves: fun(list(leaves)), return_shape=True
        )(*leaves)
        self._tree = jtu.tree_structure(struct)

    @property
    def struct(self) -> Result:
        """The result, with abstract values in place of arrays."""
        return jtu.tree_unflatten(self._tree, self.closed.out_avals)

    def __call__(self, leaves: Sequence[Array]) -> Result:
        return self.result(jex.jaxpr_as_fun(self.closed)(*leaves))

    def result(self, arrays: Sequence[Any]) -> Result:
        """The result, from the arrays in it."""
        avals = self.closed.out_avals
        # A native call keeps no weak types.
        pairs = zip(as_arrays(arrays, avals), avals)
        arrays = [
            retyped(x, x.dtype, True) if getattr(aval, "weak_type", False) else x
            for x, aval in pairs
        ]
        return jtu.tree_unflatten(self._tree, arrays)


def lift_constants(
    closed: ClosedJaxpr, leaves: Callable[[Any], bool]
) -> tuple[list[Any], ClosedJaxpr]:
    """The captured constants for which `leaves` is true, and the function with these
    as its first arguments."""
    jaxpr = closed.jaxpr
    pairs = list(zip(jaxpr.constvars, closed.consts))
    moved = [(v, c) for v, c in pairs if leaves(c)]
    constants = [(v, c) for v, c in pairs if not leaves(c)]
    invars = [*(v for v, _ in moved), *jaxpr.invars]
    jaxpr = jaxpr.replace(constvars=[v for v, _ in constants], invars=invars)
    return [c for _, c in moved], ClosedJaxpr(jaxpr, [c for _, c in constants])


def is_traced(value: Any) -> bool:
    """True if a value is a tracer: it is not known while tracing."""
    return isinstance(value, Tracer)


def captured_tracers(program: Program) -> list[Any]:
    """The tracers that a program captures from what is being traced around it."""
    equations = program.equations
    operands = [o for equation in equations for o in equation.operands]
    operands += program.outputs
    values = {id(o.value): o.value for o in operands if isinstance(o, Constant)}
    return list(filter(is_traced, values.values()))


def replace_constants(
    program: Program, old: Sequence[Any], new: Sequence[Any]
) -> Program:
    """The program with other values for some of its constants."""
    values = {id(a): b for a, b in zip(old, new)}

    def operand(old):
        if isinstance(old, Constant) and id(old.value) in values:
            return Constant(values[id(old.value)], old.aval)
        return old

    equations = tuple(
        equation._replace(operands=tuple(map(operand, equation.operands)))
        for equation in program.equations
    )
    outputs = tuple(map(operand, program.outputs))
    return replace(program, equations=equations, outputs=outputs)
