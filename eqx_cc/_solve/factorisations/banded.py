"""LU factorisation of a banded matrix, with partial pivoting, in linear time.

As in LAPACK's `gbtrf`: with `lower` bands below the diagonal and `upper` above it, rows
are swapped within a window of `lower + 1` of them, so that $U$ has `lower + upper`
bands. The window is carried as single numbers: compiled natively, a row takes some tens
of nanoseconds, where it takes microseconds as operations of arrays.
"""

from __future__ import annotations

import functools as ft
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Num

from ..._scalarise.native.function import native_function, NativeFunction
from ..._scalarise.native.loops import fixed_loop, get, put
from ..matrix.assemble import Matrix
from ..matrix.structure import Structure
from .base import AbstractFactorisation


# The widest band that is selected without being named: wider ones take long to compile,
# and fill the registers (`python -m benchmarks.solvers --shares`).
_WIDEST = 4


class _BandedFactors(NamedTuple):
    """Rows of $U$ with the reciprocals of the pivots in front, multipliers, and the row
    of each window that was swapped to the top."""

    rows: Num[Array, "n bands"]
    multipliers: Num[Array, "n lower"]
    swaps: Int[Array, " n"]


@dataclass(frozen=True)
class BandedLU(AbstractFactorisation):
    """Factors a matrix with `lower` bands below the diagonal, at least one, and `upper`
    above it. (`lx.Tridiagonal` keeps no factors: it starts anew for each vector.)"""

    size: int
    lower: int
    upper: int
    is_stable = True

    @classmethod
    def of(cls, structure: Structure) -> BandedLU | None:
        """None if there are many bands."""
        lower, upper = structure.bandwidths()
        lower, width = max(1, lower), max(1, lower, upper)
        if width > _WIDEST or 4 * width > structure.size:
            return None
        return cls(structure.size, lower, upper)

    @property
    def width(self) -> int:
        return self.lower + self.upper + 1

    def factor(self, matrix: Matrix) -> _BandedFactors:
        row = np.arange(self.size + self.lower + 1)[:, None]
        column = row + np.arange(-self.lower, self.upper + 1)
        bands = matrix.at(row, column)
        return _BandedFactors(*_factor(self, bands.dtype)(bands))

    def identity(self, dtype: Any) -> _BandedFactors:
        rows = jnp.zeros((self.size, self.width), dtype).at[:, 0].set(1)
        multipliers = jnp.zeros((self.size, self.lower), dtype)
        return _BandedFactors(rows, multipliers, jnp.zeros(self.size, jnp.int32))

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        return _substitute(self, factors.rows.dtype, transposed)(*factors, vector)[0]


@ft.lru_cache(maxsize=256)
def _factor(plan: BandedLU, dtype: Any) -> NativeFunction:
    struct = jax.ShapeDtypeStruct((plan.size + plan.lower + 1, plan.width), dtype)
    fun = ft.partial(_factored, plan.size, plan.lower)
    return native_function(fun, fun, struct, always=True)


@ft.lru_cache(maxsize=256)
def _substitute(plan: BandedLU, dtype: Any, transposed: bool) -> NativeFunction:
    size = plan.size
    shapes = (size, plan.width), (size, plan.lower), (size,), (size,)
    dtypes = dtype, dtype, jnp.int32, dtype
    structs = [jax.ShapeDtypeStruct(s, d) for s, d in zip(shapes, dtypes)]
    fun = _solved_transpose if transposed else _solved
    return native_function(fun, fun, *structs, always=True)


def _factored(size: int, lower: int, bands: jax.Array) -> list[jax.Array]:
    width, dtype = bands.shape[1], bands.dtype
    zero = jnp.zeros((), dtype)

    def incoming(k, row: int, column: int):
        """An entry of row `k + row`, which enters the window at step `k`."""
        band = column + lower - row
        return get(bands, k + row, band) if 0 <= band < width else zero

    def step(k, carry):
        rows, multipliers, swaps, window = carry
        pivot, top, rest = _pivoted(window)
        scale = 1 / top[0]
        scales = [row[0] * scale for row in rest]
        for column, value in enumerate([scale, *top[1:]]):
            rows = put(rows, value, k, column)
        for number, value in enumerate(scales):
            multipliers = put(multipliers, value, k, number)
        window = [
            [a - m * b for a, b in zip(row[1:], top[1:])] + [zero]
            for row, m in zip(rest, scales)
        ]
        window.append([incoming(k, lower + 1, c + 1) for c in range(width)])
        return rows, multipliers, put(swaps, pivot, k), window

    start = [[incoming(0, r, c) for c in range(width)] for r in range(lower + 1)]
    carry = (
        jnp.zeros((size, width), dtype),
        jnp.zeros((size, lower), dtype),
        jnp.zeros(size, jnp.int32),
        start,
    )
    return list(fixed_loop(size, step, carry)[:3])


def _pivoted(window):
    """The row of the window with the largest first entry, and the others."""
    best, pivot = lax.abs(window[0][0]), jnp.zeros((), jnp.int32)
    for number, row in enumerate(window[1:], 1):
        size = lax.abs(row[0])
        larger = size > best
        best = lax.select(larger, size, best)
        pivot = lax.select(larger, jnp.int32(number), pivot)
    return pivot, *_swapped(pivot, window)


def _swapped(pivot: jax.Array, window) -> tuple[Any, list[Any]]:
    """The row of that number, and the others, with the first in its place."""
    first, *rest = window
    top, others = first, []
    for number, row in enumerate(rest, 1):
        pick = ft.partial(lax.select, pivot == number)
        others.append(jax.tree.map(pick, first, row))
        top = jax.tree.map(pick, row, top)
    return top, others


def _solved(rows, multipliers, swaps, vector) -> list[jax.Array]:
    size, width = rows.shape
    lower = multipliers.shape[1]
    zero = jnp.zeros((), rows.dtype)

    def entry(k):
        inside = k < size
        return lax.select(inside, get(vector, lax.min(k, jnp.int32(size - 1))), zero)

    def forward(k, carry):
        solution, window = carry
        top, rest = _swapped(get(swaps, k), window)
        rest = [x - get(multipliers, k, m) * top for m, x in enumerate(rest)]
        return put(solution, top, k), [*rest, entry(k + lower + 1)]

    def backward(i, carry):
        solution, window = carry
        k = jnp.int32(size - 1) - i
        total = get(solution, k)
        for column, x in reversed(list(enumerate(window, 1))):
            total = total - get(rows, k, column) * x
        total = total * get(rows, k, 0)
        return put(solution, total, k), [total, *window][: width - 1]

    window = [entry(jnp.int32(k)) for k in range(lower + 1)]
    solution, _ = fixed_loop(size, forward, (jnp.zeros(size, rows.dtype), window))
    return [fixed_loop(size, backward, (solution, [zero] * (width - 1)))[0]]


def _solved_transpose(rows, multipliers, swaps, vector) -> list[jax.Array]:
    """With the transposes of the same factors, in the opposite order."""
    size, width = rows.shape
    lower = multipliers.shape[1]
    zero = jnp.zeros((), rows.dtype)

    def forward(k, carry):
        solution, pending = carry
        value = (get(vector, k) - pending[0]) * get(rows, k, 0)
        added = [get(rows, k, c) * value for c in range(1, width)]
        pending = [a + b for a, b in zip([*pending[1:], zero], added)]
        return put(solution, value, k), pending

    def backward(i, carry):
        solution, window = carry
        k = jnp.int32(size - 1) - i
        top = get(solution, k)
        for m, x in enumerate(window):
            top = top - get(multipliers, k, m) * x
        # The window has the values of rows k + 1, ... for steps before this to swap.
        new, rest = _swapped(get(swaps, k), [top, *window])
        for number, value in enumerate(rest, 1):
            inside = k + number < size
            at = lax.min(k + number, jnp.int32(size - 1))
            solution = put(solution, lax.select(inside, value, get(solution, at)), at)
        return put(solution, new, k), [new, *rest][:lower]

    start = jnp.zeros(size, rows.dtype), [zero] * (width - 1)
    solution, _ = fixed_loop(size, forward, start)
    return [fixed_loop(size, backward, (solution, [zero] * lower))[0]]
