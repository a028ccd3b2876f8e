"""LU factorisation of a block-tridiagonal matrix.

Wide bands are tridiagonal by blocks. Pivots are sought within blocks alone, so that
the residual has to be checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Num

from ..._scalarise.native.inverse import inverse
from ..matrix.assemble import Matrix
from .base import AbstractFactorisation
from .blocks import blocks_at, diagonal_blocks, in_rows


class _BlockFactors(NamedTuple):
    r"""The matrix is $L U$: $L$ has the inverses of `inverses` on its diagonal and
    `below` under it, $U$ has the identity and `above`."""

    inverses: Num[Array, "count width width"]
    below: Num[Array, "count width width"]
    above: Num[Array, "count width width"]


@dataclass(frozen=True)
class BlockTridiagonalLU(AbstractFactorisation):
    r"""Eliminates the blocks $A_i$ on the diagonal one after the other, with $B_i$ on
    their left and $C_i$ on their right:

    $$M_i = (A_i - B_i X_{i-1})^{-1}, \quad X_i = M_i C_i.$$
    """

    size: int
    width: int

    def factor(self, matrix: Matrix) -> _BlockFactors:
        below, above = (blocks_at(matrix, self.width, k) for k in (-1, 1))

        def step(before, blocks):
            diagonal, below, above = blocks
            pivot = inverse(diagonal - below @ before)
            after = pivot @ above
            return after, (pivot, after)

        start = jnp.zeros((self.width, self.width), matrix.entries.dtype)
        diagonal = diagonal_blocks(matrix, self.width)
        _, (inverses, above) = lax.scan(step, start, (diagonal, below, above))
        return _BlockFactors(inverses, below, above)

    def identity(self, dtype: Any) -> _BlockFactors:
        shape = -(-self.size // self.width), self.width, self.width
        eye = jnp.broadcast_to(jnp.eye(self.width, dtype=dtype), shape)
        return _BlockFactors(eye, jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        lower, upper = (factors.inverses, factors.below), (None, factors.above)
        first, second = (upper, lower) if transposed else (lower, upper)
        rows = in_rows(vector, self.width)
        rows = _substituted(rows, *first, transposed=transposed, reverse=False)
        rows = _substituted(rows, *second, transposed=transposed, reverse=True)
        return rows.ravel()[: self.size]


def _substituted(rows, pivots, beside, *, transposed: bool, reverse: bool) -> jax.Array:
    """The solution for a factor with the inverses of `pivots` on its diagonal (or the
    identity, if there are none), and `beside` next to it; or for its transpose."""

    def step(carry, blocks):
        row, pivot, block = blocks
        row = row - (carry if transposed else block @ carry)
        if pivot is not None:
            row = row @ pivot if transposed else pivot @ row
        return (row @ block if transposed else row), row

    blocks = rows, pivots, beside
    return lax.scan(step, jnp.zeros_like(rows[0]), blocks, reverse=reverse)[1]
