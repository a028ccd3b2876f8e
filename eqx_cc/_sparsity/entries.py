"""Terms that contain others: lists of their entries, and the smallest structure.

The entries (2, 0), (0, 1) and (1, 1) of a matrix, as one term in ascending order, are
`out (r[k],) inp (c[k],) value (0,)` with the tables `r = [0, 1, 2]`, `c = [1, 1, 0]`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .positions.affine import Affine
from .positions.table import axis_forms, distinct, Form, ravelled, Table
from .term import dense_term, normalise, Scalar, Term


#
# Lists of entries
#


def positions(term: Term, shape: Sequence[int]) -> np.ndarray:
    """The position of each entry in the ravelled block of `shape`."""
    return ravelled(term.axes, shape, dict(enumerate(term.sizes)))


def listed(
    flat: np.ndarray,
    out_shape: tuple[int, ...],
    inp_shape: tuple[int, ...],
    *,
    scale: Scalar | None = None,
    conj: bool = False,
) -> Term:
    """The term of distinct positions in the ravelled block, which ascend.

    It stores a value for each, or none where all are the number `scale`.
    """
    grid = {0: len(flat)}
    forms = tuple(axis_forms(flat, out_shape + inp_shape, grid))
    out, inp = forms[: len(out_shape)], forms[len(out_shape) :]
    value = None if scale is not None else (0,) if len(flat) > 1 else ()
    raw = Term(out, inp, (), value, 1 if scale is None else scale, conj=conj)
    used = {i for form in forms for i in form.indices}
    return normalise(raw, {i: n for i, n in grid.items() if i in used})[0]


def places(term: Term, target: Term) -> tuple[Form, ...]:
    """The indices of `target`, which has a table, for each entry of a term that it
    contains.

    Of the list of the entries (0, 1), (1, 1) and (2, 0), the last two are at `1 + i`.
    """
    shape, ordered, order = _entries(target)
    place = np.searchsorted(ordered, positions(term, shape))
    place = place if order is None else order[place]
    return tuple(axis_forms(place, target.sizes, dict(enumerate(term.sizes))))


# Few, as they may be large: a sum writes one term after the other to the same list.
@lru_cache(maxsize=16)
def _entries(target: Term) -> tuple[list[int], np.ndarray, np.ndarray | None]:
    """The smallest shape of a block with the entries of a term, their positions in
    ascending order, and their numbers in this order if it is another one."""
    shape = [form.range(target.sizes.__getitem__)[1] + 1 for form in target.axes]
    flat = positions(target, shape)
    if (flat[1:] > flat[:-1]).all():
        return shape, flat, None
    order = np.argsort(flat, kind="stable")
    return shape, flat[order], order


def union(terms: Sequence[Term], shape: Sequence[int]) -> np.ndarray:
    """The positions that any of the terms has, ascending."""
    if math.prod(shape) <= 4 * sum(term.num_nonzeros for term in terms):
        marked = np.zeros(math.prod(shape), bool)
        for term in terms:
            marked[positions(term, shape)] = True
        return np.flatnonzero(marked)
    return distinct(np.concatenate([positions(term, shape) for term in terms]))


#
# The smallest structure
#


@dataclass(frozen=True)
class _Line:
    """Axes that advance together: position `offset + stride * k`, `k < size`.

    `constant`: no term's value varies along the line, and all cover it whole.
    """

    axes: dict[int, tuple[int, int]]
    size: int
    constant: bool


def join_within(
    terms: Sequence[Term], shape: tuple[int, ...], most: int
) -> Term | None:
    """The smallest structure with single-index axes that contains all `terms`, or
    `None` if it stores more than `most` numbers.

    Of the partial diagonals `(1 + i, 1 + i)`, `i < 2`, and `(3 + i, 3 + i)`, `i < 3`:
    the diagonal `(1 + i, 1 + i)`, `i < 5`. Of a diagonal and a band: the full matrix.
    """
    num_out, conj = len(terms[0].out), terms[0].conj
    if any(_is_irregular(form) for term in terms for form in term.axes):
        is_large = math.prod(shape) > most
        return None if is_large else dense_term(shape[:num_out], shape[num_out:], conj)
    lines = _lines(terms, len(shape))
    if math.prod(line.size for line in lines if not line.constant) > most:
        return None
    forms = [Affine(0)] * len(shape)
    for index, line in enumerate(lines):
        for axis, (offset, stride) in line.axes.items():
            forms[axis] = Affine(offset, ((index, stride),))
    value = tuple(index for index, line in enumerate(lines) if not line.constant)
    term = Term(tuple(forms[:num_out]), tuple(forms[num_out:]), (), value, conj=conj)
    return normalise(term, {i: line.size for i, line in enumerate(lines)})[0]


def _is_irregular(form: Form) -> bool:
    """True if positions along an axis are a table, or a sum of several indices."""
    return isinstance(form, Table) or len(form.strides) > 1


def _lines(terms: Sequence[Term], num_axes: int) -> list[_Line]:
    """The ties that all terms have in common, and the other axes on their own."""
    reference = max(terms, key=lambda term: len(term.sizes))
    free, lines = set(range(num_axes)), []
    for axes in _ties(reference):
        line = _line(terms, axes)
        if line is not None:
            lines.append(line)
            free -= set(axes)
    for axis in sorted(free):
        line = _line(terms, {axis: (0, 1)})
        assert line is not None
        lines.append(replace(line, constant=False))
    return lines


def _ties(term: Term) -> list[dict[int, tuple[int, int]]]:
    """The axes that share an index, for each index, with offsets and strides.

    `out (i,) inp (2 + i, j)` has `{0: (0, 1), 1: (2, 1)}` and `{2: (0, 1)}`.
    """
    ties: dict[int, dict[int, tuple[int, int]]] = {}
    for axis, form in enumerate(term.axes):
        assert isinstance(form, Affine)
        for index, stride in form.strides:
            ties.setdefault(index, {})[axis] = form.offset, stride
    return list(ties.values())


def _line(terms: Sequence[Term], axes: dict[int, tuple[int, int]]) -> _Line | None:
    """The part of a line that the terms reach, if every term advances along it."""
    forms = [form for term in terms if (form := _along(term, axes)) is not None]
    if len(forms) < len(terms):
        return None
    ranges = [f.range(t.sizes.__getitem__) for t, f in zip(terms, forms)]
    low, high = min(first for first, _ in ranges), max(last for _, last in ranges)
    constant = all(
        reached == (low, high)
        and form.is_contiguous(term.sizes.__getitem__)
        and _is_constant(term, form, axes)
        for term, form, reached in zip(terms, forms, ranges)
    )
    moved = {
        axis: (offset + stride * low, stride) for axis, (offset, stride) in axes.items()
    }
    return _Line(moved, high - low + 1, constant)


def _along(term: Term, axes: dict[int, tuple[int, int]]) -> Form | None:
    """The position of a term along a line, if it is on it.

    On the line `(k, 2 + k)`, the band `(1 + i, 3 + i)` is at `k = 1 + i`; the diagonal
    `(i, i)` is not on it.
    """
    forms = {
        term.axes[axis].divided(stride, offset)
        for axis, (offset, stride) in axes.items()
    }
    return forms.pop() if len(forms) == 1 else None


def _is_constant(term: Term, form: Form, axes: Iterable[int]) -> bool:
    """True if the value is constant along `form`, which only `axes` follow."""
    others = [f for axis, f in enumerate(term.axes) if axis not in axes]
    used = set(term.value or ()).union(*(f.indices for f in others))
    return used.isdisjoint(form.indices)
