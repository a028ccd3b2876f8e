"""LU factorisation of a block-tridiagonal matrix.

Wide bands are tridiagonal by blocks. Pivots are sought within blocks alone, so that
whoever needs to be sure has to look at the residual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Num

from ..._scalarise.native.inverse import inverse
from ..matrix.assemble import Matrix
from .base import AbstractFactors, AbstractPlan
from .blocks import blocks_at, diagonal_blocks, in_rows


@dataclass(frozen=True)
class BlockTridiagonalPlan(AbstractPlan):
    """Blocks of `width` on the diagonal, and beside it."""

    size: int
    width: int

    def factor(self, matrix: Matrix) -> BlockTridiagonal:
        below, above = (blocks_at(matrix, self.width, k) for k in (-1, 1))

        def step(before, blocks):
            diagonal, below, above = blocks
            found = inverse(diagonal - below @ before)
            after = found @ above
            return after, (found, after)

        start = jnp.zeros((self.width, self.width), matrix.entries.dtype)
        diagonal = diagonal_blocks(matrix, self.width)
        _, (inverses, above) = lax.scan(step, start, (diagonal, below, above))
        return BlockTridiagonal(inverses, below, above)

    def identity(self, dtype: Any) -> BlockTridiagonal:
        shape = -(-self.size // self.width), self.width, self.width
        eye = jnp.broadcast_to(jnp.eye(self.width, dtype=dtype), shape)
        return BlockTridiagonal(eye, jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


class BlockTridiagonal(AbstractFactors):
    r"""The matrix is $L U$: $L$ has the inverses of `inverses` on its diagonal and
    `below` under it, $U$ has the identity and `above`."""

    inverses: Num[Array, "count width width"]
    below: Num[Array, "count width width"]
    above: Num[Array, "count width width"]

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        rows = in_rows(vector, self.inverses.shape[1])
        found = self._solve_transpose(rows) if transposed else self._solve(rows)
        return found.ravel()[: len(vector)]

    def _solve(self, rows):
        def forward(before, blocks):
            row, inverse, below = blocks
            found = inverse @ (row - below @ before)
            return found, found

        def backward(after, blocks):
            row, above = blocks
            found = row - above @ after
            return found, found

        zero = jnp.zeros_like(rows[0])
        _, rows = lax.scan(forward, zero, (rows, self.inverses, self.below))
        return lax.scan(backward, zero, (rows, self.above), reverse=True)[1]

    def _solve_transpose(self, rows):
        def forward(before, blocks):
            row, above = blocks
            found = row - before
            return found @ above, found

        def backward(after, blocks):
            row, inverse, below = blocks
            found = (row - after) @ inverse
            return found @ below, found

        zero = jnp.zeros_like(rows[0])
        _, rows = lax.scan(forward, zero, (rows, self.above))
        blocks = rows, self.inverses, self.below
        return lax.scan(backward, zero, blocks, reverse=True)[1]
