"""What a native function computes at once, and what it stores on the way.

XLA fuses every operation into all that use it, and so computes it again for each of
them; through a chain of shared scalars that grows without bounds. Only what goes from
one call into the next is computed once. So a program is cut into stages: each stores,
in one array, the values that would be dear to compute again; everything else is left to
be fused. (One array, as each one takes a few nanoseconds to pass.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax.extend.core as jex

from ..._jaxpr.avals import aval_of
from ..._jaxpr.primitives import facts, is_elementwise


# A value is stored if it is used twice and computing it takes more than this many
# multiplications; `python -m benchmarks.runtime --setting loop` tells what that takes.
_DEAR = 3


@dataclass(frozen=True, eq=False)
class Stages:
    """The variables of a jaxpr, by the stage in which they are computed and stored.

    `stored[k]` are the scalars that stage `k` stores. Everything else is computed
    wherever it is used. `arrays[k]` are the equations of arrays after stage `k`.
    """

    jaxpr: jex.Jaxpr
    stored: tuple[tuple[jex.Var, ...], ...]
    arrays: tuple[tuple[jex.JaxprEqn, ...], ...]

    @cached_property
    def number(self) -> dict[jex.Var, int]:
        """The number of the equation of each variable."""
        return {v: i for i, eqn in enumerate(self.jaxpr.eqns) for v in eqn.outvars}


def stages(jaxpr: jex.Jaxpr) -> Stages:
    """Cuts a jaxpr into stages."""
    uses = _uses(jaxpr)
    weight: dict[jex.Var, int] = {}
    level: dict[jex.Var, int] = {}  # The first stage in which it can be used.
    stored: dict[int, list[jex.Var]] = {}
    arrays: dict[int, list[jex.JaxprEqn]] = {}
    for eqn in jaxpr.eqns:
        operands = [v for v in eqn.invars if isinstance(v, jex.Var)]
        own = max((level.get(v, 0) for v in operands), default=0)
        if not is_scalar(eqn):
            own = _store(operands, eqn, own, weight, level, stored)
            arrays.setdefault(own, []).append(eqn)
            weight.update(dict.fromkeys(eqn.outvars, 0))
            level.update(dict.fromkeys(eqn.outvars, own + 1))
            continue
        [result] = eqn.outvars
        weight[result] = weight_of(eqn) + sum(weight.get(v, 0) for v in operands)
        level[result] = own
        if uses.get(result, 0) > 1 and weight[result] > _DEAR:
            stored.setdefault(own, []).append(result)
            weight[result], level[result] = 0, own + 1
    count = max([*stored, *arrays], default=-1) + 1
    return Stages(
        jaxpr,
        tuple(tuple(stored.get(k, ())) for k in range(count)),
        tuple(tuple(arrays.get(k, ())) for k in range(count)),
    )


def weight_of(eqn: jex.JaxprEqn) -> int:
    """What an equation of scalars takes, in multiplications: roughly."""
    return facts(eqn.primitive.name).weight


def _store(operands, eqn, own, weight, level, stored) -> int:
    """Stores the scalars that an equation of arrays reads; the stage that it is in."""
    for v in dict.fromkeys(operands):
        if aval_of(v).shape == () and weight.get(v, 0) > 0:
            stored.setdefault(level[v], []).append(v)
            weight[v] = 0
            level[v] += 1
    return own


def is_scalar(eqn: jex.JaxprEqn) -> bool:
    """Whether an equation is of scalars, or reads one out of an array."""
    if len(eqn.outvars) != 1 or aval_of(eqn.outvars[0]).size != 1:
        return False
    if is_reading(eqn):
        return True
    if not is_elementwise(eqn.primitive.name):
        return False
    return all(aval_of(v).shape == () for v in [*eqn.invars, *eqn.outvars])


def is_reading(eqn: jex.JaxprEqn) -> bool:
    """Whether an equation only cuts a part out of an array."""
    return eqn.primitive.name in ("slice", "squeeze", "reshape")


def _uses(jaxpr: jex.Jaxpr) -> dict[jex.Var, int]:
    uses: dict[jex.Var, int] = {}
    for v in [*(v for eqn in jaxpr.eqns for v in eqn.invars), *jaxpr.outvars]:
        if isinstance(v, jex.Var):
            uses[v] = uses.get(v, 0) + 1
    return uses
