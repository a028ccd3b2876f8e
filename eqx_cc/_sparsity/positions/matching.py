"""Solutions of equations between tables, found entry by entry while tracing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .affine import Affine
from .table import axis_forms, Form, on_grid, ravelled, Table, tabulated


# Pairs of entries that are listed at most, and entries of a grid that are compared.
MAX_PAIRS = 1 << 24

Pairs = Sequence[tuple[Form, Form]]


class TooManyPairs(Exception):
    """Equations with more solutions than can be listed."""


def solved_for(a: Form, b: Form, sizes: Mapping[int, int]) -> dict[int, Form] | None:
    """The indices of an affine form, where it equals a table that stays in its range.

    From `table[k] == 10 i + j` with `j < 10`, `i` is the table of tens, `j` of units.
    None if the equation restricts the table, or has no affine side to solve for.
    """
    if a == b:
        return {}
    for table, form in ((a, b), (b, a)):
        if isinstance(table, Table) and isinstance(form, Affine) and form.strides:
            if set(form.indices).isdisjoint(table.indices):
                values = _digits(table, form, sizes)
                if values is not None:
                    return values
    return None


def _digits(
    table: Table, form: Affine, sizes: Mapping[int, int]
) -> dict[int, Form] | None:
    size = sizes.__getitem__
    if not (form.is_injective(size) and form.is_contiguous(size)):
        return None
    (low, high), (first, last) = form.range(size), table.range(size)
    if first < low or last > high:
        return None
    values, rest = {}, table.array - low
    for index, stride in sorted(form.strides, key=lambda pair: -abs(pair[1])):
        digit, rest = np.divmod(rest, abs(stride))
        digit = digit if stride > 0 else sizes[index] - 1 - digit
        values[index] = tabulated(digit, table.indices)
    return values


def matched(
    pairs: Pairs, sizes: Mapping[int, int], fresh: int
) -> tuple[int | None, dict[int, Form]]:
    """The solutions of equations, and the forms of all indices that occur in them.

    **Returns:** the number of solutions and the forms over one new index `fresh` that
    counts them; or `None` and the forms of one side's indices over those of the other,
    of which every entry has one solution.

    Of `[7, 2, 5][i] == [5, 7, 9][j]`, the solutions `(i, j)` are `(0, 1)` and `(2, 0)`.
    """
    left = _grid([a for a, _ in pairs], sizes)
    right = _grid([b for _, b in pairs], sizes)
    if not left.keys().isdisjoint(right):
        left = dict(sorted({**left, **right}.items()))
        rows = _where_equal(pairs, left)
        return len(rows), listed_over(rows, left, fresh)
    rows, columns = _joined(pairs, left, right)
    if _is_range(rows, left):
        return None, _unravelled(columns, right, left)
    order = np.argsort(columns, kind="stable")
    if _is_range(columns[order], right):
        return None, _unravelled(rows[order], left, right)
    values = listed_over(rows, left, fresh) | listed_over(columns, right, fresh)
    return len(rows), values


def _grid(forms: Sequence[Form], sizes: Mapping[int, int]) -> dict[int, int]:
    """The sizes of all indices of forms."""
    grid = {i: sizes[i] for i in sorted({i for form in forms for i in form.indices})}
    if math.prod(grid.values()) > MAX_PAIRS:
        raise TooManyPairs
    return grid


def _where_equal(pairs: Pairs, grid: Mapping[int, int]) -> np.ndarray:
    """The positions in a grid at which all equations hold."""
    holds = np.ones(tuple(grid.values()), bool)
    for a, b in pairs:
        holds &= on_grid(a, grid) == on_grid(b, grid)
    return np.flatnonzero(holds)


def _joined(
    pairs: Pairs, left: Mapping[int, int], right: Mapping[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of positions in two grids at which all equations hold, by the first.

    The second side is sorted by its key, in which each of the first is looked up.
    """
    sides = [a for a, _ in pairs], [b for _, b in pairs]
    ranges = [
        [form.range((left if n == 0 else right).__getitem__) for form in side]
        for n, side in enumerate(sides)
    ]
    lows = [min(a[0], b[0]) for a, b in zip(*ranges)]
    spans = [max(a[1], b[1]) + 1 - low for a, b, low in zip(*ranges, lows)]
    base = ravelled([Affine(low) for low in lows], spans, {})
    keys_left = ravelled(sides[0], spans, left) - base
    keys_right = ravelled(sides[1], spans, right) - base
    order = np.argsort(keys_right, kind="stable")
    keys_right = keys_right[order]
    first = np.searchsorted(keys_right, keys_left, "left")
    counts = np.searchsorted(keys_right, keys_left, "right") - first
    if counts.sum() > MAX_PAIRS:
        raise TooManyPairs
    rows = np.repeat(np.arange(len(keys_left)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, order[np.repeat(first, counts) + within]


def _is_range(positions: np.ndarray, grid: Mapping[int, int]) -> bool:
    """True if positions in a grid are all of them, in order."""
    size = math.prod(grid.values())
    return len(positions) == size and np.array_equal(positions, np.arange(size))


def listed_over(
    flat: np.ndarray, grid: Mapping[int, int], fresh: int
) -> dict[int, Form]:
    """The indices of a grid at listed positions, over one index that counts these."""
    return _unravelled(flat, grid, {fresh: len(flat)}) if len(flat) else {}


def _unravelled(
    flat: np.ndarray, grid: Mapping[int, int], over: Mapping[int, int]
) -> dict[int, Form]:
    """The indices of a grid at flat positions, over those of another grid."""
    return dict(zip(grid, axis_forms(flat, tuple(grid.values()), over)))
