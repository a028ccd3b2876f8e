"""Diagonal and block-diagonal matrices, and small ones that are one block: inverses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from ..._scalarise.native.inverse import inverse
from ..matrix.assemble import Matrix
from .base import AbstractDensePlan, AbstractFactors, AbstractPlan


@dataclass(frozen=True)
class DiagonalPlan(AbstractPlan):
    """A diagonal matrix."""

    size: int

    @property
    def is_stable(self) -> bool:
        return True

    @property
    def is_diagonal(self) -> bool:
        return True

    def factor(self, matrix: Matrix) -> Diagonal:
        index = np.arange(self.size)
        return Diagonal(1 / matrix.at(index, index))

    def identity(self, dtype: Any) -> Diagonal:
        return Diagonal(jnp.ones(self.size, dtype))


class Diagonal(AbstractFactors):
    """The reciprocals of the diagonal."""

    reciprocals: Num[Array, " n"]

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        return vector * self.reciprocals

    def solve_columns(self, columns, transposed: bool = False) -> Num[Array, "n k"]:
        return columns * self.reciprocals[:, None]


@dataclass(frozen=True)
class BlocksPlan(AbstractPlan):
    """`count` blocks of `width` along the diagonal. If the size is not their product
    then the last block is filled up with the identity."""

    size: int
    width: int

    @property
    def count(self) -> int:
        return -(-self.size // self.width)

    def factor(self, matrix: Matrix) -> Blocks:
        return Blocks(jax.vmap(inverse)(diagonal_blocks(matrix, self.width)))

    def identity(self, dtype: Any) -> Blocks:
        eye = jnp.eye(self.width, dtype=dtype)
        return Blocks(jnp.broadcast_to(eye, (self.count, self.width, self.width)))


class Blocks(AbstractFactors):
    """The inverses of blocks along the diagonal."""

    inverses: Num[Array, "count width width"]

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        rows = in_rows(vector, self.inverses.shape[1])
        axis = 1 if transposed else 2
        return jnp.sum(self.inverses * _along(rows, axis), axis).ravel()[: len(vector)]


def _along(rows: jax.Array, axis: int) -> jax.Array:
    return rows[:, None, :] if axis == 2 else rows[:, :, None]


def in_rows(vector: Num[Array, " n"], width: int) -> Num[Array, "count width"]:
    """A vector cut into rows, of which the last is filled up with zeros."""
    return jnp.pad(vector, (0, -len(vector) % width)).reshape(-1, width)


def diagonal_blocks(matrix: Matrix, width: int) -> Num[Array, "count width width"]:
    """The blocks along the diagonal, filled up with the identity."""
    found = blocks_at(matrix, width, 0)
    missing = -matrix.size % width
    if missing == 0:
        return found
    last = np.arange(width - missing, width)
    return found.at[-1, last, last].set(1)


def blocks_at(matrix: Matrix, width: int, offset: int) -> Num[Array, "count w w"]:
    """The blocks at `(i, i + offset)`; zero where they are outside of the matrix."""
    count = -(-matrix.size // width)
    shape = count, width, width
    block, i, j = np.indices(shape, sparse=True)
    rows, columns = block * width + i, (block + offset) * width + j
    return matrix.at(rows, columns)


@dataclass(frozen=True)
class InversePlan(AbstractDensePlan):
    """A small matrix that many systems are solved with."""

    size: int

    def of_array(self, matrix: Num[Array, "n n"]) -> Inverse:
        return Inverse(inverse(matrix))

    def identity(self, dtype: Any) -> Inverse:
        return Inverse(jnp.eye(self.size, dtype=dtype))


class Inverse(AbstractFactors):
    """The inverse."""

    inverse: Num[Array, "n n"]

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        return vector @ self.inverse if transposed else self.inverse @ vector

    def solve_columns(self, columns, transposed: bool = False) -> Num[Array, "n k"]:
        return (self.inverse.T if transposed else self.inverse) @ columns
