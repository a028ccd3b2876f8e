"""The stages of a native function, and the values that each of them stores.

XLA fuses every operation into all that use it, and so computes it again for each of
them; through a chain of shared scalars that grows without bounds (270 sines in place of
12 were seen), and LLVM does not merge them again across stores. Only what goes from one
call into the next is computed once. So a program is cut into stages, each a call inside
the native one: a stage stores the values that would be dear to compute again, and
everything else is left to be fused. For example, with `s = sin(x)` used twice,

    stage 0: store s = sin(x)            outputs: s * y, s + y * y

Each array in a native function is an argument that takes a few nanoseconds to pass, so
a stage stores its values in one array. (One array for all stages was tried: XLA copies
it at every stage.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.extend.core as jex

from ..._jaxpr.avals import aval_of
from ..._jaxpr.primitives import facts, is_elementwise


# What takes numbers to a number besides elementwise operations. Of arrays, the one adds
# an axis where the new type is narrower, and the other repeats coefficients.
_OF_NUMBERS = frozenset({"bitcast_convert_type", "polynomial"})

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

    def needed(
        self, variables: Sequence[Any], known: Container[jex.Var]
    ) -> tuple[list[jex.JaxprEqn], list[jex.Var]]:
        """The equations that variables take, and what is known that these read."""
        used: dict[jex.Var, None] = {}
        queue, visited, numbers = list(variables), set(), set()
        while queue:
            v = queue.pop()
            if isinstance(v, jex.Literal) or v in visited:
                continue
            visited.add(v)
            if v in known:
                used[v] = None
                continue
            number = self.number[v]
            if number not in numbers:
                numbers.add(number)
                queue += self.jaxpr.eqns[number].invars
        return [self.jaxpr.eqns[number] for number in sorted(numbers)], list(used)


def stages(jaxpr: jex.Jaxpr) -> Stages:
    """Cuts a jaxpr into stages."""
    cut = _Cut(jaxpr)
    for eqn in jaxpr.eqns:
        if is_scalar(eqn):
            cut.add_scalar(eqn)
        else:
            cut.add_arrays(eqn)
    numbers = range(max([*cut.stored, *cut.arrays], default=-1) + 1)
    stored = tuple(tuple(cut.stored.get(k, ())) for k in numbers)
    return Stages(jaxpr, stored, tuple(tuple(cut.arrays.get(k, ())) for k in numbers))


class _Cut:
    """The stages of the equations so far.

    `_weight` is what it takes to compute a variable from what is stored, and `_stage`
    the first stage in which it can be used. Inputs have zeros.
    """

    def __init__(self, jaxpr: jex.Jaxpr) -> None:
        self.stored: dict[int, list[jex.Var]] = defaultdict(list)
        self.arrays: dict[int, list[jex.JaxprEqn]] = defaultdict(list)
        read = *(v for eqn in jaxpr.eqns for v in eqn.invars), *jaxpr.outvars
        self._uses = Counter(v for v in read if isinstance(v, jex.Var))
        self._weight: dict[jex.Var, int] = defaultdict(int)
        self._stage: dict[jex.Var, int] = defaultdict(int)

    def add_scalar(self, eqn: jex.JaxprEqn) -> None:
        [result], operands = eqn.outvars, _variables(eqn)
        self._stage[result] = self._first_stage(operands)
        weight = weight_of(eqn) + sum(self._weight[v] for v in operands)
        self._weight[result] = weight
        if self._uses[result] > 1 and weight > _DEAR:
            self._store(result)

    def add_arrays(self, eqn: jex.JaxprEqn) -> None:
        """Adds an equation of arrays: the scalars that it reads are stored, if it does
        not do that itself."""
        operands = _variables(eqn)
        stage = self._first_stage(operands)
        for v in dict.fromkeys(operands):
            if aval_of(v).size == 1 and self._weight[v] > 0 and not is_stacking(eqn):
                self._store(v)
        self.arrays[stage].append(eqn)
        self._stage.update(dict.fromkeys(eqn.outvars, stage + 1))

    def _first_stage(self, operands: list[jex.Var]) -> int:
        return max((self._stage[v] for v in operands), default=0)

    def _store(self, v: jex.Var) -> None:
        self.stored[self._stage[v]].append(v)
        self._weight[v] = 0
        self._stage[v] += 1


def _variables(eqn: jex.JaxprEqn) -> list[jex.Var]:
    return [v for v in eqn.invars if isinstance(v, jex.Var)]


def weight_of(eqn: jex.JaxprEqn) -> int:
    """The work of an equation of scalars, in multiplications: roughly."""
    return facts(eqn.primitive.name).weight


def repetition(jaxpr: jex.Jaxpr) -> float:
    """The work if outputs share nothing, relative to the work if they share all.

    With weights of 32 for `s = sin(x)` and 1 for each of the outputs `s * y` and
    `s * z`, it is (33 + 33) / 34.
    """
    weights = [weight_of(eqn) for eqn in jaxpr.eqns]
    dependence: dict[jex.Var, int] = {}  # On equations, as bits.
    for number, eqn in enumerate(jaxpr.eqns):
        bits = 1 << number
        for v in eqn.invars:
            if isinstance(v, jex.Var):
                bits |= dependence.get(v, 0)
        dependence.update(dict.fromkeys(eqn.outvars, bits))
    outputs = [dependence.get(v, 0) for v in jaxpr.outvars if isinstance(v, jex.Var)]
    work = sum(w for bits in outputs for i, w in enumerate(weights) if bits >> i & 1)
    return work / max(1, sum(weights))


def is_scalar(eqn: jex.JaxprEqn) -> bool:
    """True if an equation is of scalars, or reads one out of an array. An array of one
    entry is a scalar too."""
    if len(eqn.outvars) != 1 or aval_of(eqn.outvars[0]).size != 1:
        return False
    if is_reading(eqn):
        return True
    name = eqn.primitive.name
    if not is_elementwise(name) and name not in _OF_NUMBERS:
        return False
    return all(aval_of(v).shape == () for v in [*eqn.invars, *eqn.outvars])


def is_reading(eqn: jex.JaxprEqn) -> bool:
    """True if an equation only cuts a part out of an array."""
    return eqn.primitive.name in ("slice", "squeeze", "reshape")


def is_stacking(eqn: jex.JaxprEqn) -> bool:
    """True if an equation makes an array of scalars."""
    is_joining = eqn.primitive.name == "concatenate"
    return is_joining and all(aval_of(v).size == 1 for v in eqn.invars)
