"""Programs of scalars for many points at once: every scalar becomes a vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.extend.core as jex

from ..._jaxpr.avals import aval_of
from .stages import is_reading, Stages
from .writer import Writer


def widened(made: Stages, mapped: Sequence[bool], width: int) -> Stages:
    """The same stages for `width` points, along an axis in front of everything that
    depends on an input that is `mapped`. There are no equations of arrays."""
    wide = _Wide(made.jaxpr.invars, mapped, width)
    for eqn in made.jaxpr.eqns:
        wide.add(eqn)
    outputs = [wide.read(v) for v in made.jaxpr.outvars]
    stored = (tuple(map(wide.read, own)) for own in made.stored)
    return Stages(wide.writer.done(outputs).jaxpr, tuple(stored), made.arrays)


class _Wide:
    """The equations so far; `_own` is what stands for a variable."""

    def __init__(self, inputs: Sequence[jex.Var], mapped: Sequence[bool], width: int):
        self._width = width
        self._own = {
            v: jex.Var(self._aval(v)) if is_mapped else v
            for v, is_mapped in zip(inputs, mapped)
        }
        self._is_wide = {self._own[v] for v, m in zip(inputs, mapped) if m}
        self.writer = Writer(list(self._own.values()))

    def _aval(self, v: jex.Var) -> Any:
        aval = aval_of(v)
        return aval.update(shape=(self._width, *aval.shape))

    def read(self, v: Any) -> Any:
        return self._own[v] if isinstance(v, jex.Var) else v

    def add(self, eqn: jex.JaxprEqn) -> None:
        operands = list(map(self.read, eqn.invars))
        if self._is_wide.isdisjoint(v for v in operands if isinstance(v, jex.Var)):
            results = self.writer.add(eqn, operands)
        else:
            if is_reading(eqn):
                eqn = eqn.replace(params=_in_front(eqn, self._width))
            else:
                operands = [self._widened(v) for v in operands]
            results = self._add(eqn, operands)
        self._own.update(zip(eqn.outvars, results))

    def _add(self, eqn: jex.JaxprEqn, operands: Sequence[Any]) -> list[jex.Var]:
        results = self.writer.add(eqn, operands, list(map(self._aval, eqn.outvars)))
        self._is_wide.update(results)
        return results

    def _widened(self, v: Any) -> jex.Var:
        """A scalar as a vector."""
        if isinstance(v, jex.Var) and v in self._is_wide:
            return v
        return self.writer.repeat(v, self._width)


def _in_front(eqn: jex.JaxprEqn, width: int) -> dict[str, Any]:
    """The parameters of what reads an entry, with an axis in front."""
    own = eqn.params
    if eqn.primitive.name == "slice":
        start, limit = (0, *own["start_indices"]), (width, *own["limit_indices"])
        strides = own["strides"] and (1, *own["strides"])
        new = {"start_indices": start, "limit_indices": limit, "strides": strides}
    elif eqn.primitive.name == "squeeze":
        new = {"dimensions": tuple(d + 1 for d in own["dimensions"])}
    else:
        assert eqn.primitive.name == "reshape" and own["dimensions"] is None
        new = {"new_sizes": (width, *own["new_sizes"])}
    return own | new
