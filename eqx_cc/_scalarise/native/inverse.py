"""Inverses of small matrices by Gauss-Jordan elimination with row pivoting.

To solve is then one product, which takes a tenth of the time that substitution does: up
to 64 rows the inverse serves iterations better than factors do.
"""

from __future__ import annotations

import functools as ft
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .function import native_function, NativeFunction
from .loops import fixed_loop, get, loop, put


# The most rows of matrices whose batches are inverted by expressions of vectors.
_MAX_EXPRESSIONS = 3
# The most rows that take less time natively than by LAPACK (`python -m
# benchmarks.solvers --shares`).
MAX_NATIVE_ROWS = 12


def inverse(matrix: jax.Array) -> jax.Array:
    """The inverse of a square matrix; not finite if a pivot is exactly zero."""
    size = matrix.shape[-1]
    if size == 0:
        return matrix
    if size > MAX_NATIVE_ROWS:
        return jnp.linalg.inv(matrix)
    return _inverse(size, matrix.dtype)(matrix)[0]


@ft.lru_cache(maxsize=256)
def _inverse(size: int, dtype: Any) -> NativeFunction:
    struct = jax.ShapeDtypeStruct((size, size), dtype)
    expressions = size <= _MAX_EXPRESSIONS
    plain = _by_expressions if expressions else _by_lapack
    return native_function(_by_rows, plain, struct, always=not expressions)


def _by_lapack(matrix: jax.Array) -> list[jax.Array]:
    return [jnp.linalg.inv(matrix)]


def _by_expressions(matrix: jax.Array) -> list[jax.Array]:
    """Straight-line code: every entry is a number, or a vector of a batch."""
    size = matrix.shape[0]
    one, zero = jnp.ones((), matrix.dtype), jnp.zeros((), matrix.dtype)
    rows = [
        [matrix[i, j] for j in range(size)]
        + [one if i == j else zero for j in range(size)]
        for i in range(size)
    ]
    for k in range(size):
        for i in range(k + 1, size):  # The largest of what is left goes on top.
            larger = jnp.abs(rows[i][k]) > jnp.abs(rows[k][k])
            pairs = list(zip(rows[k], rows[i]))
            rows[k] = [jnp.where(larger, b, a) for a, b in pairs]
            rows[i] = [jnp.where(larger, a, b) for a, b in pairs]
        scale = one / rows[k][k]
        rows[k] = [x * scale for x in rows[k]]
        for i in range(size):
            if i != k:
                factor = rows[i][k]
                rows[i] = [x - factor * top for x, top in zip(rows[i], rows[k])]
    return [jnp.stack([jnp.stack(row[size:]) for row in rows])]


def _by_rows(matrix: jax.Array) -> list[jax.Array]:
    """Gauss-Jordan elimination in place: step `k` turns column `k` of the matrix into
    that of the inverse.

    With pivot `p` at `(k, k)` after the swap of rows, row `k` becomes `row / p`, with
    `1 / p` at `k`, and from any other row `i` goes `work[i, k]` times that, with
    `-work[i, k] / p` at `k`. A step writes the whole matrix: XLA would copy one
    that is changed entry by entry and read by an inner loop as well.
    """
    size, dtype = matrix.shape[0], matrix.dtype
    index = jnp.arange(size, dtype=jnp.int32)
    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)

    def step(k, carry):
        work, swaps = carry
        column = lax.dynamic_index_in_dim(work, k, 1, keepdims=False)
        pivot = _largest(column, k)
        top = lax.dynamic_index_in_dim(work, pivot, 0, keepdims=False)
        old = lax.dynamic_index_in_dim(work, k, 0, keepdims=False)
        here, there = index == k, index == pivot
        factors = jnp.where(here, zero, jnp.where(there, get(old, k), column))
        top = jnp.where(here, one, top) * (one / get(top, k))
        rest = jnp.where(there[:, None], old[None], work)
        rest = jnp.where(here[None], zero, rest) - factors[:, None] * top[None]
        return jnp.where(here[:, None], top[None], rest), put(swaps, pivot, k)

    def back(i, order):
        # Rows that were swapped are columns of the inverse.
        k = jnp.int32(size - 1) - i
        pivot = get(swaps, k)
        a, b = get(order, k), get(order, pivot)
        return put(put(order, b, k), a, pivot)

    def place(j, result):
        column = lax.dynamic_slice(work, (jnp.int32(0), get(order, j)), (size, 1))
        return lax.dynamic_update_slice(result, column, (jnp.int32(0), j))

    work, swaps = fixed_loop(size, step, (matrix, jnp.zeros(size, jnp.int32)))
    order = fixed_loop(size, back, index)
    return [fixed_loop(size, place, jnp.zeros_like(matrix))]


def _largest(column: jax.Array, k: jax.Array) -> jax.Array:
    """The position, from `k` on, of the entry with the largest absolute value."""

    def step(i, carry):
        best, position = carry
        size = lax.abs(get(column, i))
        larger = size > best
        return lax.select(larger, size, best), lax.select(larger, i, position)

    return loop(k + 1, column.shape[0], step, (lax.abs(get(column, k)), k))[1]
