"""Conversions of a block: its entries, sorted, and the matrices of other libraries."""

from __future__ import annotations

import functools as ft
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.sparse import BCOO, BCSR

from .._jaxpr.closed import is_traced
from .._sparsity.pattern import Pattern
from .._sparsity.term import Term
from .add import written
from .arrays import gathered, Values
from .coordinates import coordinates, Entries, Positions, unravelled


class SortedPositions(NamedTuple):
    """The positions of the entries of a pattern, row by row, each of them once.

    `places` has, for each position, the number of its entry in the order of the terms;
    or, if `has_duplicates`, for each entry the number of its position, and one more
    than there are for those that are left out. It is None where the entries are in
    order already.
    """

    rows: Positions
    columns: Positions
    places: np.ndarray | None
    has_duplicates: bool

    def arranged(self, entries: jax.Array) -> jax.Array:
        """The entries in the order of the positions; those that share one add up.

        Entries `[a, b, c]` at `(1, 0)`, `(0, 2)`, `(1, 0)` become `[b, a + c]`.
        """
        if self.places is None:
            return entries
        if not self.has_duplicates:
            return gathered(entries, self.places)
        zeros = jnp.zeros(len(self.rows), entries.dtype)
        return zeros.at[self.places].add(entries, mode="drop")

    def within(self, flat: Positions, width: int) -> SortedPositions:
        """Those that are among positions `flat` of the ravelled block."""
        mine = self.rows * width + self.columns
        kept = np.isin(mine, flat, assume_unique=True)
        numbers = np.arange(len(mine)) if self.places is None else self.places
        if self.has_duplicates:
            places = np.where(kept, np.cumsum(kept) - 1, np.count_nonzero(kept))[
                numbers
            ]
        else:
            places = numbers[kept]
        rows, columns = self.rows[kept], self.columns[kept]
        return _fixed(SortedPositions(rows, columns, places, self.has_duplicates))


def _fixed(positions: SortedPositions) -> SortedPositions:
    for array in (positions.rows, positions.columns):
        array.flags.writeable = False  # They are shared by all blocks of the pattern.
    return positions


def entry_positions(pattern: Pattern) -> tuple[Positions, Positions]:
    """The row and the column of each entry, term after term."""
    shapes = pattern.out_shape, pattern.in_shape
    pairs = [coordinates(term, *shapes) for term in pattern.terms]
    if not pairs:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows, columns = zip(*pairs)
    return np.concatenate(rows), np.concatenate(columns)


# Few, as they may be large: one block is usually asked for rows, columns and data.
@ft.lru_cache(maxsize=16)
def sorted_positions(
    pattern: Pattern, entries: Entries | None = None
) -> SortedPositions:
    """The distinct positions of a pattern in row-major order, of those that `entries`
    has."""
    width = math.prod(pattern.in_shape)
    if entries is not None:
        return sorted_positions(pattern).within(entries.flat, width)
    return sorted_entries(*entry_positions(pattern), width)


def sorted_entries(rows: Positions, columns: Positions, width: int) -> SortedPositions:
    """The distinct positions among those of entries, in row-major order."""
    flat = rows * width + columns
    unique, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    has_duplicates = len(unique) < len(flat)
    places = inverse if has_duplicates else first
    if np.array_equal(unique, flat):
        places = None
    rows, columns = np.divmod(unique, max(1, width))
    return _fixed(SortedPositions(rows, columns, places, has_duplicates))


def either(first: Any, second: Any) -> Entries | None:
    """The entries of a sum of blocks, if any of these has fewer than it stores."""
    if first.entries is None and second.entries is None:
        return None
    width = math.prod(first.in_shape)
    lists = (block.rows * width + block.cols for block in (first, second))
    return Entries(np.union1d(*lists))


def entries(pattern: Pattern, values: Values, dtype: np.dtype) -> jax.Array:
    """The entries of a block, term after term."""
    parts = [flat_entries(term, v, dtype) for term, v in zip(pattern.terms, values)]
    return jnp.concatenate(parts) if parts else jnp.zeros((0,), dtype)


def flat_entries(term: Term, value: Any, dtype: np.dtype) -> jax.Array:
    """The entries of a term, for all its indices."""
    value = written(value, term, dtype)
    value = lax.broadcast_in_dim(value, term.sizes, term.value or ())
    return lax.reshape(value, (math.prod(term.sizes),))


def to_bcoo(data: jax.Array, positions: SortedPositions, pattern: Pattern) -> BCOO:
    """Sorted entries as an array of the shape of the block."""
    flat = positions.rows * math.prod(pattern.in_shape) + positions.columns
    indices = jnp.asarray(unravelled(flat, pattern.shape))
    flags = {"indices_sorted": True, "unique_indices": True}
    return BCOO((data, indices), shape=pattern.shape, **flags)


def to_bcsr(data: jax.Array, positions: SortedPositions, pattern: Pattern) -> BCSR:
    """Sorted entries as a matrix, from ravelled input to ravelled output."""
    indices, starts = (jnp.asarray(array) for array in _compressed(positions, pattern))
    flags = {"indices_sorted": True, "unique_indices": True}
    return BCSR((data, indices, starts), shape=_matrix_shape(pattern), **flags)


def to_scipy(data: jax.Array, positions: SortedPositions, pattern: Pattern) -> Any:
    """The same as a `scipy.sparse.csr_array`."""
    from scipy.sparse import csr_array

    if is_traced(data):
        raise ValueError(
            "`to_scipy` needs the numbers of a block, but these are traced, as in "
            "`jax.jit`, `jax.vmap` or `jax.grad`. Return the block and convert it "
            "outside, or use `to_bcsr`, which can be traced."
        )
    numbers = np.asarray(data)
    if numbers.dtype.itemsize < 4 and jnp.issubdtype(numbers.dtype, jnp.floating):
        numbers = numbers.astype(np.float32)  # SciPy has no shorter ones.
    indices, starts = _compressed(positions, pattern)
    return csr_array((numbers, indices, starts), shape=_matrix_shape(pattern))


def _matrix_shape(pattern: Pattern) -> tuple[int, int]:
    return math.prod(pattern.out_shape), math.prod(pattern.in_shape)


def _compressed(
    positions: SortedPositions, pattern: Pattern
) -> tuple[np.ndarray, np.ndarray]:
    """The columns, and the number of the first entry of each row and of the end."""
    height, width = _matrix_shape(pattern)
    most = np.iinfo(np.int32).max
    if max(width, len(positions.rows)) > most:
        raise ValueError(
            f"Compressed rows have indices of 32 bits, but a matrix of {width} columns "
            f"and {len(positions.rows)} entries needs longer ones. Use `to_bcoo`."
        )
    starts = np.searchsorted(positions.rows, np.arange(height + 1))
    return positions.columns.astype(np.int32), starts.astype(np.int32)


@ft.singledispatch
def as_operator(block: Any, tags: frozenset[object]) -> Any:
    """The block as a linear operator. `_solve` registers it, which imports this folder:
    blocks need not know of solvers."""
    raise TypeError(f"Only an `eqx_cc.Partial` becomes an operator, but got {block}.")
