"""Traced arrays that constants alone decide.

What a function captures from a `jax.jit` or a loop around it is traced there, even
where it is computed from constants: of a mesh in a loop, `lineax.linearise` captures
the indices that its gathers have normalised.
"""

from __future__ import annotations

from typing import Any

import jax.extend.core as jex
import numpy as np
from jax.core import Tracer

from ..outside_trace import transfers_allowed
from ..program import flatten
from ..releases import ClosedJaxpr, constant_or_tracer, origin
from .evaluate import evaluated_by_numpy
from .indices import is_index, static_value, static_variables


# At most this many equations are read for a captured array.
_MOST_EQUATIONS = 200


def known_constants(closed: ClosedJaxpr) -> list[Any]:
    """The captured values, with NumPy arrays of traced integers that are known."""
    return [_known(value, closed.jaxpr) for value in closed.consts]


def _known(value: Any, jaxpr: jex.Jaxpr) -> Any:
    """The value, or what it is computed to. Of the jaxpr nothing is used but its
    type."""
    if not isinstance(value, Tracer) or not is_index(value.aval):
        return value
    history = _History()
    atom = history.atom(value)
    if atom is None:
        return value
    jaxpr = jaxpr.replace(
        constvars=list(history.constants),
        invars=[],
        eqns=history.equations,
        outvars=[atom],
        effects=set(),
    )
    closed = ClosedJaxpr(jaxpr, list(history.constants.values()))
    program = flatten(closed.jaxpr, closed.consts)
    known = static_value(program.outputs[0], static_variables(program, {}))
    return value if known is None else known


def constant_array(value: Any) -> np.ndarray | None:
    """The array that a value is, if it is known or if NumPy computes it exactly from
    what is known."""
    if not isinstance(value, Tracer):
        with transfers_allowed():
            return np.asarray(value)
    history = _History()
    atom = history.atom(value)
    if atom is None:
        return None
    arrays: dict[Any, Any] = dict(history.constants)
    read = lambda a: a.val if isinstance(a, jex.Literal) else arrays[a]  # noqa: E731
    for equation in history.equations:
        results = evaluated_by_numpy(equation, list(map(read, equation.invars)))
        if results is None:
            return None
        arrays.update(zip(equation.outvars, results))
    return np.asarray(read(atom))


class _History:
    """The equations of a tracer, from constants on."""

    def __init__(self):
        self.constants: dict[jex.Var, Any] = {}
        self.equations: list[jex.JaxprEqn] = []
        self._read: set[int] = set()

    def atom(self, tracer: Any) -> Any:
        """What stands for the tracer in the equations; None if it depends on anything
        but constants, or on too much."""
        value = constant_or_tracer(tracer)
        if isinstance(value, Tracer):
            return value.val if self._follow(value) else None
        atom = getattr(tracer, "val", None)
        if isinstance(atom, jex.Var):
            self.constants[atom] = value
        return atom if isinstance(atom, jex.Var | jex.Literal) else None

    def _follow(self, tracer: Any) -> bool:
        """Adds the equations of a tracer; False if it depends on anything else."""
        equation = origin(tracer)
        if equation is None or equation.effects:
            return False
        if id(equation) in self._read:
            return True
        self._read.add(id(equation))
        if len(self._read) > _MOST_EQUATIONS:
            return False
        operands = []
        for operand in equation.in_tracers:
            operands.append(self.atom(operand))
            if operands[-1] is None:
                return False
        parts = equation.outvars, equation.primitive, equation.params, set()
        parts = *parts, equation.source_info, equation.ctx
        self.equations.append(jex.new_jaxpr_eqn(operands, *parts))
        return True
