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
        """Which entry is at each of these positions; `len(self)` where none is, as
        well as outside of the matrix."""
        rows, columns = np.broadcast_arrays(rows, columns)
        number = np.full(rows.shape, len(self), np.int32)
        inside = (rows >= 0) & (rows < self.num_rows)
        inside &= (columns >= 0) & (columns < self.num_columns)
        wanted = rows[inside].astype(np.int64) * self.num_columns + columns[inside]
        order, own = self._sorted
        if len(order) > 0:
            at = np.minimum(np.searchsorted(own, wanted), len(order) - 1)
            number[inside] = np.where(own[at] == wanted, order[at], len(self))
        return number

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The order of the flat positions, and these in order."""
        own = self.rows.astype(np.int64) * self.num_columns + self.columns
        order = np.argsort(own)
        return order, own[order]


def merge(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> tuple[Positions, np.ndarray]:
    """The distinct positions among several, and at which of them each is."""
    flat = rows.astype(np.int64) * shape[1] + columns
    unique, inverse = np.unique(flat, return_inverse=True)
    if len(unique) == len(flat):  # In their own order: there is nothing to move.
        return _positions(rows, columns, shape), np.arange(len(flat))
    return _positions(unique // shape[1], unique % shape[1], shape), inverse


def banded(size: int, lower: int, upper: int) -> Positions:
    """The positions in so many bands below the diagonal and above it."""
    offsets = np.arange(-min(lower, size), min(upper, size) + 1)
    where = [np.arange(max(0, -k), min(size, size - k)) for k in offsets]
    rows = np.concatenate(where)
    columns = rows + np.repeat(offsets, [len(own) for own in where])
    return _positions(rows, columns, (size, size))


def _positions(rows, columns, shape: tuple[int, int]) -> Positions:
    return Positions(rows.astype(np.int32), columns.astype(np.int32), *shape)


def merged(values: Num[Array, " all"], inverse: np.ndarray, size: int) -> jax.Array:
    """The sums of the values that share a position."""
    if len(inverse) == size:
        return values
    counts = np.bincount(inverse, minlength=size)
    if counts.max() > _MOST_GATHERS:
        return jnp.zeros(size, values.dtype).at[inverse].add(values)
    order = np.argsort(inverse, kind="stable")
    starts = np.cumsum(counts) - counts
    found = None
    for k in range(counts.max()):
        at = np.minimum(starts + k, len(order) - 1)
        source = np.where(k < counts, order[at], len(order))
        taken = taken_at(values, source)
        found = taken if found is None else found + taken
    assert found is not None
    return found


def taken_at(values: Num[Array, " all"], number: np.ndarray) -> jax.Array:
    """The values at these places, zero at the place after the last one."""
    if len(values) == 0:
        return jnp.zeros(number.shape, values.dtype)
    if number.size == 0 or number.max() < len(values):
        return values.at[number].get(mode="promise_in_bounds")
    padded = jnp.concatenate([values, jnp.zeros(1, values.dtype)])
    return padded.at[number].get(mode="promise_in_bounds")
