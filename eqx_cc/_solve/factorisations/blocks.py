"""Inverses of diagonal and block-diagonal matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from ..._scalarise.native.inverse import inverse
from ..matrix.assemble import Matrix
from ..matrix.structure import Structure
from .base import AbstractFactorisation
from .reordered import in_order


# The widest blocks that are selected without being named.
_WIDEST = 16


@dataclass(frozen=True)
class DiagonalInverse(AbstractFactorisation):
    """Factors a diagonal matrix into the reciprocals of its diagonal. (`lx.Diagonal`
    would divide again for each vector.)"""

    size: int
    is_stable = True
    is_diagonal = True

    @classmethod
    def of(cls, structure: Structure) -> DiagonalInverse | None:
        """None if there are entries off the diagonal."""
        return cls(structure.size) if structure.bandwidths() == (0, 0) else None

    def factor(self, matrix: Matrix) -> Num[Array, " n"]:
        index = np.arange(self.size)
        return 1 / matrix.at(index, index)

    def identity(self, dtype: Any) -> Num[Array, " n"]:
        return jnp.ones(self.size, dtype)

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        return vector * factors

    def solve_columns(self, factors, columns) -> Num[Array, "n k"]:
        return columns * factors[:, None]


@dataclass(frozen=True)
class BlockInverse(AbstractFactorisation):
    """Inverts blocks of `width` along the diagonal. If `width` does not divide the size
    then the last block is filled up with the identity."""

    size: int
    width: int

    @classmethod
    def of(cls, structure: Structure) -> AbstractFactorisation | None:
        """A block for each component; None if these are large, or differ in size."""
        labels = structure.components()
        sizes = np.bincount(labels)
        width = int(sizes.max())
        if width > min(_WIDEST, structure.size // 4) or np.any(sizes != width):
            return None
        order = np.argsort(labels, kind="stable")
        return in_order(order, cls(structure.size, width))

    def factor(self, matrix: Matrix) -> Num[Array, "count width width"]:
        return jax.vmap(inverse)(diagonal_blocks(matrix, self.width))

    def identity(self, dtype: Any) -> Num[Array, "count width width"]:
        shape = -(-self.size // self.width), self.width, self.width
        return jnp.broadcast_to(jnp.eye(self.width, dtype=dtype), shape)

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        rows = in_rows(vector, self.width)
        rows, axis = (rows[:, :, None], 1) if transposed else (rows[:, None, :], 2)
        return jnp.sum(factors * rows, axis).ravel()[: self.size]


def in_rows(vector: Num[Array, " n"], width: int) -> Num[Array, "count width"]:
    """A vector cut into rows, of which the last is filled up with zeros."""
    return jnp.pad(vector, (0, -len(vector) % width)).reshape(-1, width)


def diagonal_blocks(matrix: Matrix, width: int) -> Num[Array, "count width width"]:
    """The blocks along the diagonal, filled up with the identity."""
    blocks = blocks_at(matrix, width, 0)
    missing = -matrix.size % width
    if missing == 0:
        return blocks
    last = np.arange(width - missing, width)
    return blocks.at[-1, last, last].set(1)


def blocks_at(matrix: Matrix, width: int, offset: int) -> Num[Array, "count w w"]:
    """The blocks at `(i, i + offset)`; zero where they are outside of the matrix."""
    shape = -(-matrix.size // width), width, width
    block, i, j = np.indices(shape, sparse=True)
    rows, columns = block * width + i, (block + offset) * width + j
    return matrix.at(rows, columns)
