"""Programs of scalars without what they compute twice.

The partials of one equation are found without a look at the others: the sine of an
angle and the derivative of its cosine are the same number, and a quotient and both of
its derivatives share a reciprocal. XLA sees that only within one fusion.
"""

from __future__ import annotations

import functools as ft
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np
from jax import lax

from ..._jaxpr.avals import aval_of


def simplified(jaxpr: jex.Jaxpr, arrays: Sequence[Any]) -> tuple[jex.Jaxpr, list[Any]]:
    """A jaxpr that computes nothing twice and nothing in vain, and that takes its
    constants as arguments; and those of the arguments `arrays` that are left."""
    made = _Simplified()
    for eqn in jaxpr.eqns:
        made.add(eqn)
    outputs = [made.read(v) for v in jaxpr.outvars]
    equations, needed = _live(made.equations, outputs)
    pairs = zip([*jaxpr.constvars, *jaxpr.invars], arrays)
    used = [(v, array) for v, array in pairs if v in needed]
    jaxpr = jaxpr.replace(
        constvars=[],
        invars=[v for v, _ in used],
        outvars=outputs,
        eqns=equations,
        debug_info=jaxpr.debug_info.with_unknown_names(),
    )
    return jaxpr, [array for _, array in used]


def _live(equations: Sequence[jex.JaxprEqn], outputs: Sequence[Any]):
    """The equations that outputs depend on, and their variables."""
    needed = {v for v in outputs if isinstance(v, jex.Var)}
    kept = []
    for eqn in reversed(equations):
        if not needed.isdisjoint(eqn.outvars):
            kept.append(eqn)
            needed.update(v for v in eqn.invars if isinstance(v, jex.Var))
    return kept[::-1], needed


class _Simplified:
    """The equations so far."""

    def __init__(self) -> None:
        self.equations: list[jex.JaxprEqn] = []
        self._same: dict[jex.Var, Any] = {}  # What stands in for a variable.
        self._found: dict[Hashable, list[jex.Var]] = {}

    def read(self, v: Any) -> Any:
        """The variable, or the literal, that stands in for a variable."""
        return self._same.get(v, v) if isinstance(v, jex.Var) else v

    def add(self, eqn: jex.JaxprEqn) -> None:
        """Adds an equation, unless its results are known by other names."""
        operands = [self.read(v) for v in eqn.invars]
        if _does_nothing(eqn):
            results = operands
        elif (power := _negative_power(eqn)) is None:
            results = self._results(eqn, operands)
        else:
            made = _inverse_and_power(power, aval_of(eqn.invars[0]).dtype)
            inverse, positive = (own.replace(ctx=eqn.ctx) for own in made)
            results = self._results(inverse, [inverse.invars[0], *operands])
            results = results if power == 1 else self._results(positive, results)
        self._same.update(zip(eqn.outvars, results))

    def _results(self, eqn: jex.JaxprEqn, operands: list[Any]) -> list[jex.Var]:
        key = _key(eqn, operands)
        if key not in self._found:
            results = [jex.Var(v.aval) for v in eqn.outvars]
            self._found[key] = results
            self.equations.append(eqn.replace(invars=operands, outvars=results))
        return self._found[key]


def _key(eqn: jex.JaxprEqn, operands: Sequence[Any]) -> Hashable:
    """Equal for equations that have the same results."""
    own: Any = tuple(map(_operand_key, operands))
    if eqn.primitive.name in ("add", "add_any", "mul"):
        own = frozenset(own)
    key = (eqn.primitive, tuple(sorted(eqn.params.items())), own)
    try:
        hash(key)
    except TypeError:
        return id(eqn)
    avals = map(aval_of, eqn.outvars)
    return (*key, *((a.shape, a.dtype, a.weak_type) for a in avals))


def _operand_key(v: Any) -> Hashable:
    if isinstance(v, jex.Var):
        return v
    value = np.asarray(v.val)
    return value.shape, value.dtype, value.tobytes()


def _does_nothing(eqn: jex.JaxprEqn) -> bool:
    """Whether an equation only gives its operand another name."""
    if eqn.primitive.name not in ("reshape", "convert_element_type", "copy"):
        return False
    operand, *others = map(aval_of, eqn.invars)
    result = aval_of(eqn.outvars[0])
    same = operand.shape == result.shape and operand.dtype == result.dtype
    return same and not others


def _negative_power(eqn: jex.JaxprEqn) -> int | None:
    """The `n` of `x**-n`, of a scalar."""
    if eqn.primitive.name != "integer_pow" or aval_of(eqn.invars[0]).shape:
        return None
    return -eqn.params["y"] if eqn.params["y"] < 0 else None


@ft.cache
def _inverse_and_power(power: int, dtype: np.dtype) -> list[jex.JaxprEqn]:
    """The equations `1 / x` and `x**power`."""

    def both(x):
        return lax.div(dtype.type(1), x), lax.integer_pow(x, power)

    x = jax.ShapeDtypeStruct((), dtype)
    return jax.make_jaxpr(both)(x).jaxpr.eqns[:2]
