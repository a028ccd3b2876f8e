"""A matrix as elimination leaves it: entries at static positions, and low rank."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from ..._blocks.partial import Partial
from .positions import members, merge, merged, Positions, taken_at


class Matrix(eqx.Module):
    """The matrix `S + left @ right` of ravelled output by ravelled input, with `S` the
    sparse matrix that has `entries` at `positions`."""

    entries: Num[Array, " nse"]
    left: Num[Array, "out rank"]
    right: Num[Array, "rank in"]
    positions: Positions = eqx.field(static=True)

    @classmethod
    def of_entries(cls, entries: Num[Array, " nse"], positions: Positions) -> Matrix:
        """A sparse matrix."""
        left = jnp.zeros((positions.num_rows, 0), entries.dtype)
        right = jnp.zeros((0, positions.num_columns), entries.dtype)
        return cls(entries, left, right, positions)

    @property
    def rank(self) -> int:
        return self.left.shape[1]

    @property
    def size(self) -> int:
        return self.positions.num_rows

    @property
    def T(self) -> Matrix:  # As an array has it.
        return Matrix(self.entries, self.right.T, self.left.T, self.positions.transpose)

    def sparse(self) -> Matrix:
        """The matrix without its term of low rank."""
        return Matrix.of_entries(self.entries, self.positions)

    def at(self, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
        """The sparse entries at static positions."""
        return taken_at(self.entries, self.positions.where(rows, columns))

    def taken(self, places: np.ndarray) -> Matrix:
        """Some of the sparse entries, by their places, and zeros elsewhere."""
        if len(places) == len(self.positions):
            return self
        positions = self.positions.taken(places)
        return Matrix(self.entries[places], self.left, self.right, positions)

    def restricted(self, rows: np.ndarray, columns: np.ndarray) -> Matrix:
        """The sparse part in some rows and columns, in that order."""
        old = self.positions
        i = _numbered(rows, old.num_rows)[old.rows]
        j = _numbered(columns, old.num_columns)[old.columns]
        (kept,) = np.nonzero((i >= 0) & (j >= 0))
        entries = self.entries if len(kept) == len(i) else self.entries[kept]
        positions = Positions(i[kept], j[kept], len(rows), len(columns))
        return Matrix.of_entries(entries, positions)

    def dense(self) -> Num[Array, "out in"]:
        """All entries."""
        shape = self.positions.num_rows, self.positions.num_columns
        array = self.at(*np.indices(shape)) if math.prod(shape) else jnp.zeros(shape)
        array = array.astype(self.entries.dtype)
        return array + self.left @ self.right if self.rank else array

    def __matmul__(self, vector: Num[Array, " in"]) -> Num[Array, " out"]:
        terms = self.entries * vector[self.positions.columns]
        product = _row_sums(terms, self.positions)
        return product + self.left @ (self.right @ vector) if self.rank else product

    def norm(self) -> Num[Array, ""]:
        """A bound of the largest sum of absolute values in a row."""
        sums = _row_sums(jnp.abs(self.entries), self.positions)
        if self.rank:
            sums = sums + jnp.abs(self.left) @ jnp.sum(jnp.abs(self.right), 1)
        return jnp.max(sums, initial=0)


def to_dense(matrix: Matrix | Array) -> Num[Array, "out in"]:
    """All entries of a matrix, or an array as it is."""
    return matrix.dense() if isinstance(matrix, Matrix) else matrix


def _numbered(places: np.ndarray, size: int) -> np.ndarray:
    """The index in `places` of each number below `size`, or -1."""
    numbers = np.full(size, -1, np.int32)
    numbers[places] = np.arange(len(places))
    return numbers


def _row_sums(values: jax.Array, positions: Positions) -> jax.Array:
    """The sums of the values of each row: by gathers where rows are short."""
    rows, size = positions.rows, positions.num_rows
    width = int(np.bincount(rows, minlength=size).max(initial=0))
    if width * size > 4 * max(1, len(rows)):
        return jnp.zeros(size, values.dtype).at[rows].add(values)
    return jnp.sum(taken_at(values, members(rows, size)), 1)


def assemble(
    rows: Sequence[Sequence[Partial]], is_sparse: Callable[[int], bool]
) -> Matrix | None:
    """The matrix of the blocks of a Jacobian, a row of them for each output.

    None if, with that many entries, it is not `is_sparse`.
    """
    if not is_sparse(sum(b.pattern.num_nonzeros for row in rows for b in row)):
        return None
    blocks = list(_placed(rows))
    height = sum(math.prod(row[0].out_shape) for row in rows)
    width = sum(math.prod(block.in_shape) for block in rows[0])
    dtype = np.result_type(*[b.dtype for *_, b in blocks])
    entries, places = [jnp.zeros(0, dtype)], [np.zeros((2, 0), np.int64)]
    lefts, rights = [jnp.zeros((height, 0), dtype)], [jnp.zeros((0, width), dtype)]
    for top, start, block in blocks:
        values, i, j = Partial(block.pattern, block.values, block.dtype).to_coo()
        entries.append(values.astype(dtype))
        places.append(np.stack([top + i, start + j]))
        if block.factors:
            left, right = (side.astype(dtype) for side in block.low_rank())
            below = height - top - left.shape[0], width - start - right.shape[1]
            lefts.append(jnp.pad(left, ((top, below[0]), (0, 0))))
            rights.append(jnp.pad(right, ((0, 0), (start, below[1]))))
    all_rows, all_columns = np.concatenate(places, 1)
    positions, inverse = merge(all_rows, all_columns, (height, width))
    return Matrix(
        merged(jnp.concatenate(entries), inverse, len(positions)),
        jnp.concatenate(lefts, 1),
        jnp.concatenate(rights, 0),
        positions,
    )


def _placed(rows: Sequence[Sequence[Partial]]):
    """Yields each block with the number of its first row and of its first column."""
    top = 0
    for row in rows:
        start = 0
        for block in row:
            yield top, start, block
            start += math.prod(block.in_shape)
        top += math.prod(row[0].out_shape)
