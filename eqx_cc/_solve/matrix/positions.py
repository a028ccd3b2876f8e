"""Where the entries of a sparse matrix are: static, and known when tracing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from ..._sparsity.keyed import keyed


# Beyond this many entries at one position, they are added by a scatter.
_MOST_GATHERS = 8


@keyed("num_rows", "num_columns", "_content")
@dataclass(frozen=True, eq=False)
class Positions:
    """The rows and columns of entries, each position once. Hashable, by content."""

    rows: np.ndarray
    columns: np.ndarray
    num_rows: int
    num_columns: int

    @cached_property
    def _content(self) -> tuple[bytes, bytes]:
        return self.rows.tobytes(), self.columns.tobytes()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def transpose(self) -> Positions:
        return Positions(self.columns, self.rows, self.num_columns, self.num_rows)

    def taken(self, places: np.ndarray) -> Positions:
        """Some of the positions, by their places."""
        shape = self.num_rows, self.num_columns
        return Positions(self.rows[places], self.columns[places], *shape)

    def in_bands(self, lower: int, upper: int) -> np.ndarray:
        """The places of those in so many bands below the diagonal and above it."""
        offsets = self.columns.astype(int) - self.rows
        return np.flatnonzero((offsets >= -lower) & (offsets <= upper))

    def where(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The number of the entry at each of these positions; `len(self)` where there
        is none, as well as outside of the matrix."""
        rows, columns = np.broadcast_arrays(rows, columns)
        numbers = np.full(rows.shape, len(self), np.int32)
        inside = (rows >= 0) & (rows < self.num_rows)
        inside &= (columns >= 0) & (columns < self.num_columns)
        wanted = rows[inside].astype(np.int64) * self.num_columns + columns[inside]
        order, flat = self._sorted
        if len(order) > 0:
            at = np.minimum(np.searchsorted(flat, wanted), len(order) - 1)
            numbers[inside] = np.where(flat[at] == wanted, order[at], len(self))
        return numbers

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The order of the flat positions, and these in order."""
        flat = self.rows.astype(np.int64) * self.num_columns + self.columns
        order = np.argsort(flat)
        return order, flat[order]


def merge(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> tuple[Positions, np.ndarray]:
    """The distinct positions, and the number among them of each that is passed."""
    flat = rows.astype(np.int64) * shape[1] + columns
    unique, inverse = np.unique(flat, return_inverse=True)
    if len(unique) == len(flat):  # In their own order: there is nothing to move.
        return _positions(rows, columns, shape), np.arange(len(flat))
    return _positions(unique // shape[1], unique % shape[1], shape), inverse


def banded(size: int, lower: int, upper: int) -> Positions:
    """The positions in so many bands below the diagonal and above it."""
    offsets = np.arange(-min(lower, size), min(upper, size) + 1)
    bands = [np.arange(max(0, -k), min(size, size - k)) for k in offsets]
    rows = np.concatenate(bands)
    columns = rows + np.repeat(offsets, [len(band) for band in bands])
    return _positions(rows, columns, (size, size))


def with_diagonal(positions: Positions) -> Positions:
    """The positions of a square matrix and those on its diagonal, column by column."""
    size = positions.num_rows
    diagonal = np.arange(size)
    columns = np.concatenate([positions.columns, diagonal])
    rows = np.concatenate([positions.rows, diagonal])
    places = np.unique(columns.astype(np.int64) * size + rows)
    return _positions(places % size, places // size, (size, size))


def _positions(rows, columns, shape: tuple[int, int]) -> Positions:
    return Positions(rows.astype(np.int32), columns.astype(np.int32), *shape)


def merged(values: Num[Array, " all"], inverse: np.ndarray, size: int) -> jax.Array:
    """The sums of the values that share a position."""
    if len(inverse) == size:
        return values
    counts = np.bincount(inverse, minlength=size)
    if counts.max() > _MOST_GATHERS:
        return jnp.zeros(size, values.dtype).at[inverse].add(values)
    first, *others = (taken_at(values, source) for source in members(inverse, size).T)
    return sum(others, first)


def members(labels: np.ndarray, count: int) -> np.ndarray:
    """The indices of each label, a row of them, filled up with `len(labels)`.

    Labels `[0, 2, 0]` of 3 have the members `[[0, 2], [3, 3], [1, 3]]`.
    """
    counts = np.bincount(labels, minlength=count)
    order = np.append(np.argsort(labels, kind="stable"), len(labels))
    index = (np.cumsum(counts) - counts)[:, None] + np.arange(counts.max(initial=0))
    is_one = np.arange(index.shape[1]) < counts[:, None]
    return order[np.where(is_one, index, len(labels))]


def taken_at(values: Num[Array, " all"], number: np.ndarray) -> jax.Array:
    """The values at these places, zero at the place after the last one."""
    if len(values) == 0:
        return jnp.zeros(number.shape, values.dtype)
    if number.size == 0 or number.max() < len(values):
        return values.at[number].get(mode="promise_in_bounds")
    padded = jnp.concatenate([values, jnp.zeros(1, values.dtype)])
    return padded.at[number].get(mode="promise_in_bounds")
