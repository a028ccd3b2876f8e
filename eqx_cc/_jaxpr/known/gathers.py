"""Gathers in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.lax import GatherScatterMode


def gathered(arrays: list[np.ndarray], params: dict[str, Any]) -> np.ndarray | None:
    """The result of a gather, or None in a mode that indexing does not have.

    Entry `[batch, offset]` of the result is `array[start[batch] + offset]`. Starts are
    clamped, or what does not fit is filled.
    """
    array, starts = arrays
    mode, fill = GatherScatterMode.from_any(params["mode"]), params["fill_value"]
    fills = mode == GatherScatterMode.FILL_OR_DROP
    if mode == GatherScatterMode.ONE_HOT or (fills and fill is None):
        return None
    axes = _Axes(starts, params["dimension_numbers"], params["slice_sizes"])
    windows = [axes.place(axis, size) for axis, size in enumerate(array.shape)]
    result = np.broadcast_to(array[tuple(place for place, _ in windows)], axes.shape)
    is_inside = np.ones((), bool)
    for _, fits in windows:
        is_inside = is_inside & fits
    if not fills or is_inside.all():
        return result
    return np.where(is_inside, result, np.asarray(fill, array.dtype))


class _Axes:
    """The axes of the result: those of the batch of starts, and those of the window."""

    def __init__(self, starts: np.ndarray, numbers: Any, widths: tuple[int, ...]):
        self._starts, self._numbers, self._widths = starts, numbers, widths
        self._rank = starts.ndim - 1 + len(numbers.offset_dims)
        self._batch = [i for i in range(self._rank) if i not in numbers.offset_dims]
        dropped = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
        kept = (i for i in range(len(widths)) if i not in dropped)
        self._window = dict(zip(kept, numbers.offset_dims))
        sizes = dict(zip(self._batch, starts.shape))
        sizes |= {out: widths[axis] for axis, out in self._window.items()}
        self.shape = tuple(sizes[i] for i in range(self._rank))

    def place(self, axis: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The place along an axis of the array of each entry of the result, and whether
        its window fits; both broadcast to the result."""
        numbers, width = self._numbers, self._widths[axis]
        shape = (1,) * self._rank
        place, fits = np.zeros(shape, np.int64), np.ones(shape, bool)
        if axis in numbers.operand_batching_dims:
            position = numbers.operand_batching_dims.index(axis)
            batch = self._batch[numbers.start_indices_batching_dims[position]]
            place = self._along(np.arange(size), [batch])
        if axis in numbers.start_index_map:
            position = numbers.start_index_map.index(axis)
            start = self._along(self._starts[..., position], self._batch)
            start = start.astype(np.int64)
            fits = (start >= 0) & (start <= size - width)
            place = place + np.clip(start, 0, size - width)
        if axis in self._window:
            place = place + self._along(np.arange(width), [self._window[axis]])
        return np.asarray(place), np.asarray(fits)

    def _along(self, array: np.ndarray, axes: list[int]) -> np.ndarray:
        """The array with its axes at these places, in order."""
        shape = [1] * self._rank
        for axis, size in zip(axes, array.shape):
            shape[axis] = size
        return array.reshape(shape)
