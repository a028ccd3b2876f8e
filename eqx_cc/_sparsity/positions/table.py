"""Positions that follow no rule: tables, and forms that are affine or a table.

A mesh reads `u[conn]`: with `e` and `a` for the element and its corner, the position is
`conn[e, a]`, a table over two indices. All of it is known while tracing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np

from .affine import Affine


Sizes: TypeAlias = Callable[[int], int]


class Table:
    """The positions `array[k]` for all values of the indices `k`.

    `indices` ascend, one for each axis of the array. Make one by `tabulated`, which
    gives back an affine form where the positions have one.
    """

    def __init__(self, array: np.ndarray, indices: tuple[int, ...]):
        self.array = np.ascontiguousarray(array, np.int64)
        self.array.flags.writeable = False
        self.indices = indices

    @cached_property
    def _key(self) -> tuple:
        digest = hashlib.blake2b(self.array.tobytes(), digest_size=16).hexdigest()
        return self.indices, self.array.shape, digest

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self._key == other._key

    def __repr__(self) -> str:
        """The text that fingerprints have: equal where tables are."""
        indices, shape, digest = self._key
        return f"Table({indices}, {shape}, {digest})"

    @cached_property
    def _range(self) -> tuple[int, int]:
        return int(self.array.min()), int(self.array.max())

    def range(self, sizes: Sizes) -> tuple[int, int]:
        """The smallest and the largest position."""
        return self._range

    @cached_property
    def _num_distinct(self) -> int:
        return len(distinct(self.array))

    def is_injective(self, sizes: Sizes) -> bool:
        """True if no position occurs twice."""
        return self._num_distinct == self.array.size

    def is_contiguous(self, sizes: Sizes) -> bool:
        """True if every position of the range occurs."""
        low, high = self._range
        return self._num_distinct == high - low + 1

    def divided(self, divisor: int, offset: int = 0) -> Form | None:
        """The form `(self - offset) / divisor`, or None if it has fractions."""
        quotient, rest = np.divmod(self.array - offset, divisor)
        return None if rest.any() else tabulated(quotient, self.indices)


Form: TypeAlias = Affine | Table


def tabulated(array: np.ndarray, labels: Sequence[int]) -> Form:
    """The form whose position is `array[k]` at the indices `k`, which ascend.

    `[1, 3, 5]` is `1 + 2i`. Of `[[4, 4], [0, 0], [7, 7]]` a table over the first index
    alone remains, as nothing depends on the second. Without entries it is 0.
    """
    if array.size == 0:
        return Affine(0)
    axes = [a for a in range(array.ndim) if not _is_constant(array, a)]
    array = array[tuple(slice(None) if a in axes else 0 for a in range(array.ndim))]
    indices = tuple(labels[a] for a in axes)
    offset, strides = int(array.flat[0]), []
    for axis, index in enumerate(indices):
        strides.append((index, int(np.take(array, 1, axis).flat[0]) - offset))
    if all(stride for _, stride in strides):
        form = Affine(offset, tuple(strides))
        if np.array_equal(array, on_grid(form, dict(zip(indices, array.shape)))):
            return form
    return Table(array, indices)


def _is_constant(array: np.ndarray, axis: int) -> bool:
    first = np.take(array, [0], axis)
    return array.shape[axis] == 1 or bool((array == first).all())


def on_grid(form: Form, sizes: Mapping[int, int]) -> np.ndarray:
    """The positions of a form for all indices of a grid, whose sizes ascend by index.

    It has an axis for each index of the grid, of length one where the form does not
    depend on it. For `i < 2` and `j < 3`, `i` is `[[0], [1]]`.
    """
    if isinstance(form, Table):
        shape = [n if i in form.indices else 1 for i, n in sizes.items()]
        return form.array.reshape(shape)
    axes = {index: axis for axis, index in enumerate(sizes)}
    total = np.full((1,) * len(sizes), form.offset, np.int64)
    for index, stride in form.strides:
        shape = [1] * len(sizes)
        shape[axes[index]] = sizes[index]
        total = total + stride * np.arange(sizes[index]).reshape(shape)
    return total


def substituted(form: Form, values: Callable[[int], Form], sizes: Sizes) -> Form:
    """A form with every index replaced by a form, over indices of these sizes.

    `2 + 3i` with `i` from the table `[5, 0, 1]` is the table `[17, 2, 5]`.
    """
    parts = {index: values(index) for index in form.indices}
    if isinstance(form, Affine) and all(isinstance(p, Affine) for p in parts.values()):
        return form.substitute(parts.__getitem__)  # pyright: ignore[reportArgumentType]
    labels = sorted({index for part in parts.values() for index in part.indices})
    grid = {index: sizes(index) for index in labels}
    positions = {index: on_grid(part, grid) for index, part in parts.items()}
    if isinstance(form, Table):
        array = form.array[tuple(positions[index] for index in form.indices)]
    else:
        array = form.offset + sum(s * positions[index] for index, s in form.strides)
    return tabulated(np.broadcast_to(array, tuple(grid.values())), labels)


def shifted(form: Form, by: int) -> Form:
    """A form over other indices, whose numbers are larger by a constant."""
    if isinstance(form, Table):
        return Table(form.array, tuple(index + by for index in form.indices))
    return Affine(form.offset, tuple((index + by, s) for index, s in form.strides))


def distinct(positions: np.ndarray) -> np.ndarray:
    """The positions that occur, each of them once, ascending.

    `numpy.unique` takes up to fifty times as long where they are ascending runs.
    """
    ordered = np.sort(positions, axis=None, kind="stable")
    return ordered[np.diff(ordered, prepend=ordered[:1] - 1) > 0]


def ravelled(
    forms: Sequence[Form], shape: Sequence[int], sizes: Mapping[int, int]
) -> np.ndarray:
    """The positions in a ravelled array of `shape`, for all indices of a grid.

    Those of the diagonal of a 3 by 3 matrix, the forms `(i, i)`, are `[0, 4, 8]`.
    """
    flat = np.zeros((1,) * len(sizes), np.int64)
    for form, size in zip(forms, shape):
        flat = flat * size + on_grid(form, sizes)
    return np.broadcast_to(flat, tuple(sizes.values())).reshape(-1)


def axis_forms(
    flat: np.ndarray, shape: Sequence[int], sizes: Mapping[int, int]
) -> list[Form]:
    """The inverse: forms of the positions along each axis, over the indices of a grid.

    In an array of shape (3, 3), `[0, 4, 8]` has the forms `(i, i)`.
    """
    labels, box = list(sizes), tuple(sizes.values())
    axes = np.unravel_index(flat, tuple(shape)) if shape else ()
    return [tabulated(axis.reshape(box), labels) for axis in axes]
