"""Common subexpressions of programs of scalars.

The partials of an equation are stated without a look at other equations: the sine of an
angle and the derivative of its cosine are the same number, and a quotient and both of
its derivatives share a reciprocal. XLA sees that only within one fusion, so equal
equations are merged before a program is cut into stages.
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
from ..._jaxpr.primitives import facts
from ..._jaxpr.program import evaluate, EVALUATING, flatten


def without_rules(jaxpr: jex.Jaxpr) -> jex.Jaxpr:
    """A jaxpr without constants for values alone: functions with a custom derivative
    are read in place, and share what they have in common."""
    kinds = {facts(eqn.primitive.name).kind for eqn in jaxpr.eqns}
    if kinds.isdisjoint(EVALUATING):
        return jaxpr
    program = flatten(jaxpr, (), EVALUATING)
    avals = map(aval_of, jaxpr.invars)
    structs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
    closed = jax.make_jaxpr(lambda *arrays: evaluate(program, arrays))(*structs)
    inlined, arrays = simplified(closed.jaxpr, [*closed.consts, *structs])
    # A native function uses all its arguments.
    return inlined if arrays == structs else jaxpr


def simplified(jaxpr: jex.Jaxpr, arrays: Sequence[Any]) -> tuple[jex.Jaxpr, list[Any]]:
    """A jaxpr that computes nothing twice and nothing in vain, and takes its constants
    as arguments; and the values of these arguments, of `arrays`."""
    merged = _Merged()
    for eqn in jaxpr.eqns:
        merged.add(eqn)
    outputs = [merged.read(v) for v in jaxpr.outvars]
    equations, needed = _live(merged.equations, outputs)
    pairs = zip([*jaxpr.constvars, *jaxpr.invars], arrays)
    used = [(v, array) for v, array in pairs if v in needed]
    jaxpr = part_of(jaxpr, [v for v, _ in used], outputs, equations)
    return jaxpr, [array for _, array in used]


def part_of(
    jaxpr: jex.Jaxpr,
    inputs: Sequence[jex.Var],
    outputs: Sequence[Any],
    equations: Sequence[jex.JaxprEqn],
) -> jex.Jaxpr:
    """A jaxpr of some equations, without constants."""
    return jaxpr.replace(
        constvars=[],
        invars=list(inputs),
        outvars=list(outputs),
        eqns=list(equations),
        debug_info=jaxpr.debug_info.with_unknown_names(),
    )


def _live(equations: Sequence[jex.JaxprEqn], outputs: Sequence[Any]):
    """The equations that outputs depend on, and their variables."""
    needed = {v for v in outputs if isinstance(v, jex.Var)}
    live = []
    for eqn in reversed(equations):
        if not needed.isdisjoint(eqn.outvars):
            live.append(eqn)
            needed.update(v for v in eqn.invars if isinstance(v, jex.Var))
    return live[::-1], needed


class _Merged:
    """The different equations so far."""

    def __init__(self) -> None:
        self.equations: list[jex.JaxprEqn] = []
        self._substitutes: dict[jex.Var, Any] = {}
        self._results_by_key: dict[Hashable, list[jex.Var]] = {}

    def read(self, v: Any) -> Any:
        """The variable, or the literal, that stands in for a variable."""
        return self._substitutes.get(v, v) if isinstance(v, jex.Var) else v

    def add(self, eqn: jex.JaxprEqn) -> None:
        """Adds an equation, unless its results have other names already."""
        operands = [self.read(v) for v in eqn.invars]
        if _is_identity(eqn):
            results = operands
        elif (power := _negative_power(eqn)) is None:
            results = self._results(eqn, operands)
        else:
            # x**-n = (1 / x)**n: the reciprocal is shared with quotients.
            pair = _reciprocal_and_power(power, aval_of(eqn.invars[0]).dtype)
            reciprocal, positive = (e.replace(ctx=eqn.ctx) for e in pair)
            results = self._results(reciprocal, [reciprocal.invars[0], *operands])
            results = results if power == 1 else self._results(positive, results)
        self._substitutes.update(zip(eqn.outvars, results))

    def _results(self, eqn: jex.JaxprEqn, operands: list[Any]) -> list[jex.Var]:
        key = _key(eqn, operands)
        if key not in self._results_by_key:
            results = [jex.Var(v.aval) for v in eqn.outvars]
            self._results_by_key[key] = results
            self.equations.append(eqn.replace(invars=operands, outvars=results))
        return self._results_by_key[key]


def _key(eqn: jex.JaxprEqn, operands: Sequence[Any]) -> Hashable:
    """Equal for equations that have the same results."""
    keys: Any = tuple(map(_operand_key, operands))
    if eqn.primitive.name in ("add", "add_any", "mul"):
        keys = frozenset(keys)
    key = (eqn.primitive, tuple(sorted(eqn.params.items())), keys)
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


def _is_identity(eqn: jex.JaxprEqn) -> bool:
    """True if an equation only gives its operand another name."""
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
def _reciprocal_and_power(power: int, dtype: np.dtype) -> list[jex.JaxprEqn]:
    """The equations `1 / x` and `x**power`."""

    def both(x):
        return lax.div(dtype.type(1), x), lax.integer_pow(x, power)

    x = jax.ShapeDtypeStruct((), dtype)
    return jax.make_jaxpr(both)(x).jaxpr.eqns[:2]
