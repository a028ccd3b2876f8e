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

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from ..._scalarise.entries import entry
from ..._scalarise.native.call import Layout, native
from ..matrix.assemble import Matrix, to_dense
from ..matrix.positions import Positions
from ..native_parts import MIN_NATIVE
from .base import AbstractFactorisation


# An inverse of `n` rows takes about `n**3` multiplications, of which several are done
# at once; beyond the last number of them this takes seconds to compile.
_OF_INVERSE, _MOST = 0.125, 600
# Of so few rows all are factored, not inverted, which is closer to the truth for single
# entries: with KenCarp5 and an absolute tolerance of 1e-16, Robertson's reactions took
# 383 steps instead of 3,771.
_FEW = 4


class Symbolic(NamedTuple):
    """The order of pivots, the slot of each entry, fill-in among them, and for each
    pivot the rows below it and the columns beside it."""

    order: tuple[int, ...]
    slots: dict[tuple[int, int], int]
    below: tuple[tuple[int, ...], ...]
    beside: tuple[tuple[int, ...], ...]

    @property
    def multiplications(self) -> int:
        """The number of multiplications of a factorisation."""
        pairs = zip(self.below, self.beside)
        return sum(len(rows) * (1 + len(columns)) for rows, columns in pairs)


@ft.lru_cache(maxsize=256)
def symbolic(positions: Positions) -> Symbolic:
    """Selects pivots; the one with the fewest multiplications is next.

    Of an arrowhead with its tip first, `{0, 1, 2} x {0}` and its transpose besides the
    diagonal, 0 has 2 x 2 multiplications and 1 and 2 have 1 x 1: the order is 1, 0, 2
    (or 1, 2, 0), and nothing is filled in.
    """
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
    slots = {place: slot for slot, place in enumerate(sorted(filled))}
    return Symbolic(tuple(order), slots, tuple(below), tuple(beside))


@dataclass(frozen=True)
class StraightLineLU(AbstractFactorisation):
    """Factors a small matrix with entries at these positions, and on its diagonal.

    The factors are the entries of $L$ and $U$ in one array: multipliers below the
    diagonal, and on it the reciprocals of the pivots.
    """

    positions: Positions

    @classmethod
    def of(cls, positions: Positions) -> StraightLineLU | None:
        """None if an inverse takes less time."""
        size = positions.num_rows
        limit = min(_MOST, _OF_INVERSE * size**3)
        is_cheap = symbolic(positions).multiplications <= limit
        return cls(positions) if size <= _FEW or is_cheap else None

    def factor(self, matrix: Matrix | Array) -> Num[Array, " nse"]:
        fun = ft.partial(_factored, self.positions)
        return _scalars(fun, self.positions, to_dense(matrix))

    def identity(self, dtype: Any) -> Num[Array, " nse"]:
        diagonal = [float(i == j) for i, j in symbolic(self.positions).slots]
        return jnp.asarray(np.array(diagonal), dtype)

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        fun = _solved_transpose if transposed else _solved
        fun = ft.partial(fun, self.positions)
        return _scalars(fun, self.positions, factors, vector)


def _scalars(fun: Callable, positions: Positions, *arrays: jax.Array) -> jax.Array:
    """The numbers that a function of the entries of arrays returns, as an array."""
    dtype = np.dtype(arrays[0].dtype)
    if positions.num_rows < MIN_NATIVE:
        return jnp.stack(fun(*[_Reading(array) for array in arrays]))

    def run(*arrays):
        numbers = fun(*[_Reading(array) for array in arrays])
        count = len(numbers)
        base = np.zeros(count, dtype).tobytes()
        places = tuple(range(count))
        return numbers, [Layout((count,), dtype, base, places, places)]

    return native(run, arrays)[0]


class _Reading:
    """The entries of an array, each read once."""

    def __init__(self, array: jax.Array):
        self._read = ft.cache(lambda *index: entry(array, index))

    def __getitem__(self, index: Any) -> jax.Array:
        return self._read(*index) if isinstance(index, tuple) else self._read(index)


def _factored(positions: Positions, matrix: _Reading) -> list[jax.Array]:
    pivots = symbolic(positions)
    pairs = zip(positions.rows.tolist(), positions.columns.tolist())
    lu: dict[tuple[int, int], Any] = {place: matrix[place] for place in pairs}
    for k, rows, columns in zip(pivots.order, pivots.below, pivots.beside):
        lu[k, k] = 1 / (lu[k, k] if (k, k) in lu else matrix[k, k])
        for i in rows:
            lu[i, k] = scale = lu[i, k] * lu[k, k]
            for j in columns:
                product = scale * lu[k, j]
                lu[i, j] = lu[i, j] - product if (i, j) in lu else -product
    return [lu[place] for place in pivots.slots]


def _solved(positions: Positions, entries: _Reading, vector: _Reading):
    pivots = symbolic(positions)
    x = [vector[i] for i in range(positions.num_rows)]
    for k, rows in zip(pivots.order, pivots.below):
        for i in rows:
            x[i] = x[i] - entries[pivots.slots[i, k]] * x[k]
    for k, columns in reversed(list(zip(pivots.order, pivots.beside))):
        for j in columns:
            x[k] = x[k] - entries[pivots.slots[k, j]] * x[j]
        x[k] = x[k] * entries[pivots.slots[k, k]]
    return x


def _solved_transpose(positions: Positions, entries: _Reading, vector: _Reading):
    pivots = symbolic(positions)
    x = [vector[i] for i in range(positions.num_rows)]
    for k, columns in zip(pivots.order, pivots.beside):
        x[k] = x[k] * entries[pivots.slots[k, k]]
        for j in columns:
            x[j] = x[j] - entries[pivots.slots[k, j]] * x[k]
    for k, rows in reversed(list(zip(pivots.order, pivots.below))):
        for i in rows:
            x[k] = x[k] - entries[pivots.slots[i, k]] * x[i]
    return x
