"""Terms of the entries on one side of the diagonal of a matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from .affine import Affine, difference
from .term import normalise, Take, Term


# For each index of a term, the first value and the number of values.
Box = dict[int, tuple[int, int]]

MAX_TERMS = 1024


class TooManyTerms(Exception):
    """A triangle does not consist of a few affine terms."""


def triangle(
    term: Term, shape: Sequence[int], sign: int
) -> list[tuple[Term, tuple[Take, Take]]]:
    """The terms of the entries with `sign * (row - column) >= 0`, and how their values
    are read, in two steps.

    A matrix is from the last axes of the output, of `shape`, ravelled, to the input of
    that shape. The lower triangle of a full 2 by 2 matrix has the terms
    `out (0,) inp (0,)` and `out (1,) inp (j,)`.
    """
    start = len(term.out) - len(shape)
    ends = _ravelled(term.out[start:], shape), _ravelled(term.inp, shape)
    row, column = ends if sign > 0 else ends[::-1]
    pieces = []
    for box in _half_space(difference(row, column), dict(enumerate(term.sizes))):
        pieces.append(_restricted(term, box))
        if len(pieces) > MAX_TERMS:
            raise TooManyTerms
    return pieces


def _ravelled(forms: Sequence[Affine], shape: Sequence[int]) -> Affine:
    """The position in a ravelled array: `(i, j)` in one of 5 columns is `5i + j`."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    total = Affine(0, tuple(enumerate(strides)))
    return total.substitute(forms.__getitem__)


def _half_space(form: Affine, sizes: dict[int, int]) -> Iterator[Box]:
    """Disjoint boxes of the indices for which a form is not negative.

    For `i - j` with `i, j < 3` these are `i = 0, j = 0`; `i = 1, j < 2`; `i = 2`.
    """
    low, high = form.range(sizes.__getitem__)
    if low >= 0:
        yield {index: (0, size) for index, size in sizes.items()}
    if low >= 0 or high < 0:
        return
    index, stride = max(form.strides, key=lambda pair: abs(pair[1]))
    first: int | None = None  # Of the values with which all of the others go.
    others = {i: n for i, n in sizes.items() if i != index}
    whole = {i: (0, n) for i, n in others.items()}
    for value in range(sizes[index] + 1):
        rest = tuple(pair for pair in form.strides if pair[0] != index)
        fixed = Affine(form.offset + stride * value, rest)
        is_whole = value < sizes[index] and fixed.range(sizes.__getitem__)[0] >= 0
        if is_whole and first is None:
            first = value
        if not is_whole and first is not None:
            yield whole | {index: (first, value - first)}
            first = None
        if not is_whole and value < sizes[index]:
            for box in _half_space(fixed, others):
                yield box | {index: (value, 1)}


def _restricted(term: Term, box: Box) -> tuple[Term, tuple[Take, Take]]:
    """The term with its indices in a box, in normal form."""
    sizes = {index: size for index, (_, size) in box.items() if size > 1}
    forms = {
        index: Affine(start, ((index, 1),) if index in sizes else ())
        for index, (start, _) in box.items()
    }
    stored = term.value or ()
    kept = tuple(index for index in stored if index in sizes)
    cut = Take(
        tuple(forms[index] for index in stored),
        kept,
        tuple(sizes[index] for index in kept),
    )
    out, inp = (
        tuple(axis.substitute(forms.__getitem__) for axis in side)
        for side in (term.out, term.inp)
    )
    value = None if term.value is None else kept
    raw = Term(out, inp, (), value, term.scale, term.kind, term.conj)
    new, turn = normalise(raw, sizes)
    return new, (cut, turn)
