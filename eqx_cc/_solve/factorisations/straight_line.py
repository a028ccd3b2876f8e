"""LU factorisation of a small sparse matrix as straight-line code.

The pivots are on the diagonal, in the order of Markowitz for the pattern: nothing is
decided when it runs. It is for $1 - h \\gamma J$, whose diagonal is not zero but by
accident.
"""

from __future__ import annotations

import functools as ft
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from ..._scalarise.entries import entry
from ..._scalarise.native.call import Layout, native
from ..matrix.positions import Positions
from .base import AbstractDensePlan, AbstractFactors


# An inverse of `n` rows takes about `n**3` multiplications, of which several are done
# at once; beyond the last number of them this takes seconds to compile.
_OF_INVERSE, _MOST = 0.125, 600
# Of so few rows all are factored, not inverted, which is closer to the truth for single
# entries: with KenCarp5 and an absolute tolerance of 1e-16, Robertson's reactions took
# 383 steps instead of 3,771.
_FEW = 4
# Below this many rows XLA itself makes one function of a whole iteration.
_NATIVE = 8


class Symbolic(NamedTuple):
    """The order of pivots, the slots of all entries that are there in the end, and for
    every pivot the rows below and the columns beside it."""

    order: tuple[int, ...]
    slots: dict[tuple[int, int], int]
    below: tuple[tuple[int, ...], ...]
    beside: tuple[tuple[int, ...], ...]

    @property
    def multiplications(self) -> int:
        """Of a factorisation."""
        pairs = zip(self.below, self.beside)
        return sum(len(rows) * (1 + len(columns)) for rows, columns in pairs)


@ft.lru_cache(maxsize=256)
def symbolic(positions: Positions) -> Symbolic:
    """Pivot by pivot; the one with the fewest multiplications is next."""
    size = positions.num_rows
    pairs = zip(positions.rows.tolist(), positions.columns.tolist())
    filled = {*pairs, *((i, i) for i in range(size))}
    rows = [{j for i, j in filled if i == k} - {k} for k in range(size)]
    columns = [{i for i, j in filled if j == k} - {k} for k in range(size)]
    left, order, below, beside = set(range(size)), [], [], []
    while left:
        k = min(left, key=lambda k: (len(rows[k]) * len(columns[k]), k))
        left.remove(k)
        order.append(k)
        below.append(tuple(sorted(columns[k])))
        beside.append(tuple(sorted(rows[k])))
        for i in columns[k]:
            rows[i] = rows[i] - {k} | rows[k] - {i}
            filled |= {(i, j) for j in rows[k]}
        for j in rows[k]:
            columns[j] = columns[j] - {k} | columns[k] - {j}
    slots = {where: slot for slot, where in enumerate(sorted(filled))}
    return Symbolic(tuple(order), slots, tuple(below), tuple(beside))


@dataclass(frozen=True)
class StraightPlan(AbstractDensePlan):
    """A small matrix with entries at these positions, and on its diagonal."""

    positions: Positions

    @classmethod
    def of(cls, positions: Positions) -> StraightPlan | None:
        """None if an inverse takes less time."""
        plan = cls(positions)
        size = positions.num_rows
        most = min(_MOST, _OF_INVERSE * size**3)
        is_enough = size <= _FEW or plan.symbolic.multiplications <= most
        return plan if is_enough else None

    @property
    def symbolic(self) -> Symbolic:
        return symbolic(self.positions)

    def of_array(self, matrix: Num[Array, "n n"]) -> Straight:
        fun = ft.partial(_factored, self.positions)
        return Straight(_scalars(fun, self.positions, matrix), self.positions)

    def identity(self, dtype: Any) -> Straight:
        diagonal = [float(i == j) for i, j in self.symbolic.slots]
        return Straight(jnp.asarray(np.array(diagonal), dtype), self.positions)


class Straight(AbstractFactors):
    """The entries of both factors: multipliers below the diagonal, of which the
    reciprocals are there."""

    entries: Num[Array, " nse"]
    positions: Positions = eqx.field(static=True)

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        fun = _solved_transpose if transposed else _solved
        own = self.positions
        return _scalars(ft.partial(fun, own), own, self.entries, vector)


def _scalars(fun: Callable, positions: Positions, *arrays: jax.Array) -> jax.Array:
    """The numbers that a function of the entries of arrays returns, as an array."""
    dtype = np.dtype(arrays[0].dtype)
    if positions.num_rows < _NATIVE:
        return jnp.stack(fun(*[_Reading(array) for array in arrays]))

    def run(*arrays):
        found = fun(*[_Reading(array) for array in arrays])
        every = tuple(range(len(found)))
        base = np.zeros(len(found), dtype).tobytes()
        return found, [Layout((len(found),), dtype, base, every, every)]

    return native(run, arrays)[0]


class _Reading:
    """The entries of an array, each read once."""

    def __init__(self, array: jax.Array):
        self._read = ft.cache(lambda *where: entry(array, where))

    def __getitem__(self, where: Any) -> jax.Array:
        return self._read(*where) if isinstance(where, tuple) else self._read(where)


def _factored(positions: Positions, matrix: _Reading) -> list[jax.Array]:
    own = symbolic(positions)
    pairs = zip(positions.rows.tolist(), positions.columns.tolist())
    found: dict[tuple[int, int], Any] = {where: matrix[where] for where in pairs}
    for k, rows, columns in zip(own.order, own.below, own.beside):
        found[k, k] = 1 / (found[k, k] if (k, k) in found else matrix[k, k])
        for i in rows:
            found[i, k] = scale = found[i, k] * found[k, k]
            for j in columns:
                product = scale * found[k, j]
                found[i, j] = found[i, j] - product if (i, j) in found else -product
    return [found[where] for where in own.slots]


def _solved(positions: Positions, entries: _Reading, vector: _Reading):
    own = symbolic(positions)
    x = [vector[i] for i in range(positions.num_rows)]
    for k, rows in zip(own.order, own.below):
        for i in rows:
            x[i] = x[i] - entries[own.slots[i, k]] * x[k]
    for k, columns in reversed(list(zip(own.order, own.beside))):
        for j in columns:
            x[k] = x[k] - entries[own.slots[k, j]] * x[j]
        x[k] = x[k] * entries[own.slots[k, k]]
    return x


def _solved_transpose(positions: Positions, entries: _Reading, vector: _Reading):
    own = symbolic(positions)
    x = [vector[i] for i in range(positions.num_rows)]
    for k, columns in zip(own.order, own.beside):
        x[k] = x[k] * entries[own.slots[k, k]]
        for j in columns:
            x[j] = x[j] - entries[own.slots[k, j]] * x[k]
    for k, rows in reversed(list(zip(own.order, own.below))):
        for i in rows:
            x[k] = x[k] - entries[own.slots[i, k]] * x[i]
    return x
