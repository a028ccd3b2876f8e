"""LU factorisation of a banded matrix, with partial pivoting, in linear time.

As in LAPACK's `gbtrf`: with `lower` bands below the diagonal and `upper` above it, rows
are swapped within a window of `lower + 1` of them, so that $U$ has `lower + upper`
bands. The window is carried as single numbers: compiled natively, a row takes some tens
of nanoseconds, where it takes microseconds as operations of arrays.
"""

from __future__ import annotations

import functools as ft
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Num

from ..._scalarise.native.function import native_function, NativeFunction
from ..._scalarise.native.loops import accumulated, get, put
from ..matrix.assemble import Matrix
from .base import AbstractFactors, AbstractPlan


@dataclass(frozen=True)
class BandedPlan(AbstractPlan):
    """`lower` bands below the diagonal, at least one, and `upper` above it."""

    size: int
    lower: int
    upper: int

    @property
    def is_stable(self) -> bool:
        return True

    def factor(self, matrix: Matrix) -> Banded:
        row = np.arange(self.size + self.lower + 1)[:, None]
        column = row + np.arange(-self.lower, self.upper + 1)
        bands = matrix.at(row, column)
        return Banded(*_factor(self.size, self.lower, self.upper, bands.dtype)(bands))

    def identity(self, dtype: Any) -> Banded:
        shape = self.size, self.lower + self.upper + 1
        rows = jnp.zeros(shape, dtype).at[:, 0].set(1)
        multipliers = jnp.zeros((self.size, self.lower), dtype)
        return Banded(rows, multipliers, jnp.zeros(self.size, jnp.int32))


class Banded(AbstractFactors):
    """The factors of a banded matrix: rows of $U$ with the reciprocals of the pivots in
    front, multipliers, and which row of the window was swapped."""

    rows: Num[Array, "n bands"]
    multipliers: Num[Array, "n lower"]
    swaps: Int[Array, " n"]

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        size, bands = self.rows.shape
        lower = self.multipliers.shape[1]
        fun = _solve(size, lower, bands - 1 - lower, self.rows.dtype, transposed)
        return fun(self.rows, self.multipliers, self.swaps, vector)[0]


@ft.lru_cache(maxsize=256)
def _factor(size: int, lower: int, upper: int, dtype: Any) -> NativeFunction:
    width = lower + upper + 1
    struct = jax.ShapeDtypeStruct((size + lower + 1, width), dtype)
    fun = ft.partial(_factored, size, lower)
    return native_function(fun, fun, struct, always=True)


@ft.lru_cache(maxsize=256)
def _solve(
    size: int, lower: int, upper: int, dtype: Any, transposed: bool
) -> NativeFunction:
    shapes = (size, lower + upper + 1), (size, lower), (size,), (size,)
    dtypes = dtype, dtype, jnp.int32, dtype
    structs = [jax.ShapeDtypeStruct(s, d) for s, d in zip(shapes, dtypes)]
    fun = _solved_transpose if transposed else _solved
    return native_function(fun, fun, *structs, always=True)


def _factored(size: int, lower: int, bands: jax.Array) -> list[jax.Array]:
    width, dtype = bands.shape[1], bands.dtype
    zero = jnp.zeros((), dtype)

    def incoming(k, row: int, column: int):
        """An entry of row `k + row`, which enters the window at step `k`."""
        own = column + lower - row
        return get(bands, k + row, own) if 0 <= own < width else zero

    def step(k, carry):
        rows, multipliers, swaps, window = carry
        pivot, top, rest = _pivoted(window)
        scale = 1 / top[0]
        own = [row[0] * scale for row in rest]
        for column, value in enumerate([scale, *top[1:]]):
            rows = put(rows, value, k, column)
        for number, value in enumerate(own):
            multipliers = put(multipliers, value, k, number)
        window = [
            [a - m * b for a, b in zip(row[1:], top[1:])] + [zero]
            for row, m in zip(rest, own)
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
    return list(accumulated(size, step, carry)[:3])


def _pivoted(window):
    """The row of the window with the largest first entry, and the others."""
    best, pivot = lax.abs(window[0][0]), jnp.zeros((), jnp.int32)
    for number, row in enumerate(window[1:], 1):
        own = lax.abs(row[0])
        larger = own > best
        best = lax.select(larger, own, best)
        pivot = lax.select(larger, jnp.int32(number), pivot)
    top, rest = window[0], []
    for number, row in enumerate(window[1:], 1):
        is_pivot = pivot == number
        rest.append([lax.select(is_pivot, a, b) for a, b in zip(window[0], row)])
        top = [lax.select(is_pivot, b, a) for a, b in zip(top, row)]
    return pivot, top, rest


def _solved(rows, multipliers, swaps, vector) -> list[jax.Array]:
    size, width = rows.shape
    lower = multipliers.shape[1]
    zero = jnp.zeros((), rows.dtype)

    def entry(k):
        inside = k < size
        return lax.select(inside, get(vector, lax.min(k, jnp.int32(size - 1))), zero)

    def forward(k, carry):
        found, window = carry
        pivot, top, rest = get(swaps, k), window[0], []
        for number, own in enumerate(window[1:], 1):
            is_pivot = pivot == number
            rest.append(lax.select(is_pivot, window[0], own))
            top = lax.select(is_pivot, own, top)
        rest = [x - get(multipliers, k, m) * top for m, x in enumerate(rest)]
        return put(found, top, k), [*rest, entry(k + lower + 1)]

    def backward(i, carry):
        found, window = carry
        k = jnp.int32(size - 1) - i
        total = get(found, k)
        for column, x in reversed(list(enumerate(window, 1))):
            total = total - get(rows, k, column) * x
        total = total * get(rows, k, 0)
        return put(found, total, k), [total, *window][: width - 1]

    window = [entry(jnp.int32(k)) for k in range(lower + 1)]
    found, _ = accumulated(size, forward, (jnp.zeros(size, rows.dtype), window))
    return [accumulated(size, backward, (found, [zero] * (width - 1)))[0]]


def _solved_transpose(rows, multipliers, swaps, vector) -> list[jax.Array]:
    """With the transposes of the same factors, in the opposite order."""
    size, width = rows.shape
    lower = multipliers.shape[1]
    zero = jnp.zeros((), rows.dtype)

    def forward(k, carry):
        found, pending = carry
        own = (get(vector, k) - pending[0]) * get(rows, k, 0)
        added = [get(rows, k, c) * own for c in range(1, width)]
        pending = [a + b for a, b in zip([*pending[1:], zero], added)]
        return put(found, own, k), pending

    def backward(i, carry):
        found, window = carry
        k = jnp.int32(size - 1) - i
        top = get(found, k)
        for m, x in enumerate(window):
            top = top - get(multipliers, k, m) * x
        # The window has what rows k + 1, ... hold, for steps before this to swap.
        pivot, new, rest = get(swaps, k), top, []
        for number, own in enumerate(window, 1):
            is_pivot = pivot == number
            rest.append(lax.select(is_pivot, top, own))
            new = lax.select(is_pivot, own, new)
        for number, own in enumerate(rest, 1):
            inside = k + number < size
            at = lax.min(k + number, jnp.int32(size - 1))
            found = put(found, lax.select(inside, own, get(found, at)), at)
        return put(found, new, k), [new, *rest][:lower]

    start = jnp.zeros(size, rows.dtype), [zero] * (width - 1)
    found, _ = accumulated(size, forward, start)
    return [accumulated(size, backward, (found, [zero] * lower))[0]]
