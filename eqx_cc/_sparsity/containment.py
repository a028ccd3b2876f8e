"""Terms that no other contains without storing more, as is plain from their lines."""

from __future__ import annotations

from functools import lru_cache

from .term import Term


# Sums of many bands ask for the same pairs again and again.
@lru_cache(maxsize=1 << 16)
def are_apart(first: Term, second: Term) -> bool:
    """True if it is plain that what contains two terms is larger than both.

    The bands `(i, i)` and `(i, 2 + i)`, or the first and the row `(0, 7 + j)`.
    """
    if first.lines is None or second.lines is None:
        return False
    if any(term.num_values < term.num_nonzeros for term in (first, second)):
        return False
    if not (_share_line(first, second) or _share_line(second, first)):
        return _box_size(first, second) > first.num_values + second.num_values
    # With three points, the square of a line is larger than two lines.
    is_long = min(first.sizes + second.sizes, default=0) > 2
    same_axes = first.lines.keys() == second.lines.keys()
    return is_long and same_axes and first.lines != second.lines


def _share_line(band: Term, other: Term) -> bool:
    """True if a term is on a line of another along all axes of this line."""
    assert band.lines is not None and other.lines is not None
    for axes, (slopes, place) in band.lines.items():
        if other.lines.get(axes) == (slopes, place):
            return True
        if not any(other.axes[axis].indices for axis in axes):
            start = [other.bounds[axis][0] for axis in axes]
            moved = [
                o * slopes[0] - start[0] * slope for o, slope in zip(start, slopes)
            ]
            if tuple(moved) == place:
                return True
    return False


def _box_size(first: Term, second: Term) -> int:
    """A lower bound of the entries of whatever contains two terms that share no line:
    those of the box around both, in steps of the strides."""
    size = 1
    for (a, b, s), (c, d, t) in zip(first.bounds, second.bounds):
        size *= (max(b, d) - min(a, c)) // max(s, t) + 1
    return size
