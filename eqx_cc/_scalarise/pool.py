"""Entries of arrays by numbers: where each is stored, and how arrays are read.

Moving entries about is then arithmetic of NumPy on arrays of numbers, and no equation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jax import lax

from .._blocks.arrays import gathered


# The numbers of the entries of an array, in its shape.
Numbers: TypeAlias = np.ndarray

# An array that has at most so many pieces, slices of what is stored, is put together
# from these: bands stay bands. Any other is one gather.
_MAX_PIECES = 4


class Pool:
    """Numbers for the entries of all arrays of a program.

    Each entry is at an offset in a *store*: an input, the results of one equation or of
    several that are merged, or the constants of one dtype. Its level is the length of
    the longest path of equations to it, -1 for constants.
    """

    def __init__(self) -> None:
        self.constants: dict[int, list[np.ndarray]] = {}
        self._levels: list[int] = []
        self._sizes: list[int] = []
        self._constant_stores: dict[np.dtype, int] = {}
        self._table = np.zeros((3, 1024), np.int32)  # Store, offset and level.
        self._count = 0

    def store(self, level: int) -> int:
        """A new store, which has no entries yet."""
        self._levels.append(level)
        self._sizes.append(0)
        return len(self._levels) - 1

    def entries(self, store: int, shape: tuple[int, ...]) -> Numbers:
        """New entries at the end of a store."""
        size, first = math.prod(shape), self._count
        stop, offset = first + size, self._sizes[store]
        while stop > self._table.shape[1]:
            self._table = np.concatenate([self._table, np.zeros_like(self._table)], 1)
        self._table[0, first:stop] = store
        self._table[1, first:stop] = np.arange(offset, offset + size)
        self._table[2, first:stop] = self._levels[store]
        self._count, self._sizes[store] = stop, offset + size
        return np.arange(first, stop, dtype=np.int32).reshape(shape)

    def constant(self, array: np.ndarray) -> Numbers:
        """New entries for those of a constant array."""
        if array.dtype not in self._constant_stores:
            store = self.store(-1)
            self._constant_stores[array.dtype] = store
            self.constants[store] = []
        store = self._constant_stores[array.dtype]
        self.constants[store].append(array.reshape(-1))
        return self.entries(store, array.shape)

    def level(self, arrays: Sequence[Numbers]) -> int:
        """The largest level of the entries of arrays."""
        levels = self._table[2]
        return max((int(levels[a].max()) for a in arrays if a.size), default=-1)

    def located(self, numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
        """The store and the offset of each entry."""
        return self._table[0, numbers], self._table[1, numbers]


class Reader:
    """Arrays by the numbers of their entries. `arrays` has what each store holds."""

    def __init__(self, pool: Pool):
        self._pool = pool
        self.arrays: dict[int, Any] = {}
        self._constants = {s: np.concatenate(a) for s, a in pool.constants.items()}
        self._joined: dict[tuple[int, ...], Any] = {}

    def read(self, numbers: Numbers, dtype: Any) -> Any:
        """The array of these entries: one of NumPy if all of them are constants."""
        if numbers.size == 0:
            return np.zeros(numbers.shape, dtype)
        stores, offsets = self._pool.located(numbers.reshape(-1))
        if (stores == stores[0]).all():
            store = int(stores[0])
            if store in self._constants:
                return self._constants[store][offsets].reshape(numbers.shape)
            array = self.arrays[store]
            if array.size == len(offsets) and _is_range(offsets):
                return _reshaped(array, numbers.shape)
        pieces = _pieces(stores, offsets)
        if pieces is None:
            return self._gathered(stores, offsets, numbers.shape)
        parts = [self._slice(*piece) for piece in pieces]
        flat = parts[0] if len(parts) == 1 else lax.concatenate(parts, 0)
        return _reshaped(flat, numbers.shape)

    def _flat(self, store: int) -> Any:
        if store in self._constants:
            return self._constants[store]
        return _reshaped(self.arrays[store], (self.arrays[store].size,))

    def _slice(self, store: int, first: int, step: int, size: int) -> Any:
        """`size` entries of a store, `step` apart."""
        flat = self._flat(store)
        if store in self._constants:
            return flat[first + step * np.arange(size)]
        if step == 0:
            return lax.broadcast_in_dim(
                lax.slice(flat, (first,), (first + 1,)), (size,), (0,)
            )
        last = first + step * (size - 1)
        low, high = min(first, last), max(first, last)
        part = lax.slice(flat, (low,), (high + 1,), (abs(step),))
        return part if step > 0 else lax.rev(part, (0,))

    def _gathered(
        self, stores: np.ndarray, offsets: np.ndarray, shape: tuple[int, ...]
    ) -> Any:
        """Entries of several stores, by one gather from all of them."""
        used = tuple(np.unique(stores).tolist())
        if used not in self._joined:
            parts = [self._flat(store) for store in used]
            whole = parts[0] if len(parts) == 1 else lax.concatenate(parts, 0)
            starts = dict(zip(used, np.cumsum([0, *map(len, parts)]).tolist()))
            self._joined[used] = whole, starts
        whole, starts = self._joined[used]
        first = np.zeros(max(used) + 1, np.int32)
        first[list(used)] = [starts[store] for store in used]
        return _reshaped(gathered(whole, first[stores] + offsets), shape)


def _reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    return array if array.shape == shape else array.reshape(shape)


def _is_range(offsets: np.ndarray) -> bool:
    return bool(offsets[0] == 0 and (np.diff(offsets) == 1).all())


def _pieces(
    stores: np.ndarray, offsets: np.ndarray
) -> list[tuple[int, int, int, int]] | None:
    """The store, first offset, step and size of each piece, or None if there are more
    than a few.

    The offsets `[3, 4, 5, 0, 2, 4]` are 3 entries from 3 on, and 3 from 0 on, 2 apart.
    Those of a shift, `[9, 0, 1, 2]`, are one entry and three.
    """
    pieces, start, size = [], 0, len(offsets)
    same, steps = np.diff(stores) == 0, np.diff(offsets)
    while start < size:
        if len(pieces) == _MAX_PIECES:
            return None
        stop, step = start + 1, 1
        if stop < size and same[start]:
            step = int(steps[start])
            goes_on = same[start:] & (steps[start:] == step)
            stop = size if goes_on.all() else stop + int(np.argmin(goes_on))
        if stop == start + 2 < size and step != 1:
            stop, step = start + 1, 1  # The second may be the first of a longer piece.
        first = int(stores[start]), int(offsets[start])
        pieces.append((*first, step, stop - start))
        start = stop
    return pieces
