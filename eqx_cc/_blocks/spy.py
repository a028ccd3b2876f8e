"""A picture of the pattern of a block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._sparsity.pattern import Pattern
from .convert import entry_positions
from .coordinates import Entries, Positions


# The most dots along each side of the picture.
_MOST_DOTS = 400


def spy(
    pattern: Pattern,
    factors: Sequence[tuple[Pattern, Pattern]],
    entries: Entries | None,
    axes: Any,
) -> Any:
    """Draws the entries that are listed, those of factors as their product has them."""
    if axes is None:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                "`spy` needs matplotlib, which is not installed: "
                '`python -m pip install "eqx_cc[plot]"`.'
            ) from error
        axes = Figure(layout="constrained").subplots()
    height, width = math.prod(pattern.out_shape), math.prod(pattern.in_shape)
    axes.imshow(
        raster(pattern, factors, entries),
        cmap="binary",
        vmin=0,
        vmax=1,
        extent=(-0.5, max(1, width) - 0.5, max(1, height) - 0.5, -0.5),
        interpolation="nearest",
    )
    axes.set_xlabel(f"input {pattern.in_shape}")
    axes.set_ylabel(f"output {pattern.out_shape}")
    return axes


def raster(
    pattern: Pattern,
    factors: Sequence[tuple[Pattern, Pattern]] = (),
    entries: Entries | None = None,
) -> np.ndarray:
    """The dots of the picture: True where an entry within the dot is stored.

    A dot is one entry of a small matrix, and a square of them of a large one.
    """
    height, width = math.prod(pattern.out_shape), math.prod(pattern.in_shape)
    dots = _dots(height), _dots(width)
    picture = _marked(pattern, dots)
    if entries is not None:
        rows, columns = np.divmod(entries.flat, max(1, width))
        return _marked_at(rows, columns, (height, width), dots)
    for left, right in factors:
        rank = math.prod(left.in_shape)
        # As integers: an entry is stored if some path leads through the factors.
        paths = _marked(left, (dots[0], rank)).astype(np.int32)
        picture |= paths @ _marked(right, (rank, dots[1])).astype(np.int32) > 0
    return picture


def _dots(size: int) -> int:
    return max(1, min(size, _MOST_DOTS))


def _marked(pattern: Pattern, dots: tuple[int, int]) -> np.ndarray:
    shape = math.prod(pattern.out_shape), math.prod(pattern.in_shape)
    return _marked_at(*entry_positions(pattern), shape, dots)


def _marked_at(
    rows: Positions, columns: Positions, shape: tuple[int, int], dots: tuple[int, int]
) -> np.ndarray:
    """The dots with any of these positions of a matrix of `shape`."""
    picture = np.zeros(dots, bool)
    if len(rows):
        picture[rows * dots[0] // shape[0], columns * dots[1] // shape[1]] = True
    return picture
