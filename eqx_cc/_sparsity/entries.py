"""Terms that list their positions: what is left where no rule describes them.

The entries (2, 0), (0, 1) and (1, 1) of a matrix, as one term in ascending order, are
`out (r[k],) inp (c[k],) value (0,)` with the tables `r = [0, 1, 2]`, `c = [1, 1, 0]`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .table import Form, ravelled, tabulated, unravelled
from .term import normalise, Scalar, Term


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
    forms = tuple(unravelled(flat, out_shape + inp_shape, grid))
    out, inp = forms[: len(out_shape)], forms[len(out_shape) :]
    value = None if scale is not None else (0,) if len(flat) > 1 else ()
    raw = Term(out, inp, (), value, 1 if scale is None else scale, conj=conj)
    used = {i for form in forms for i in form.indices}
    return normalise(raw, {i: n for i, n in grid.items() if i in used})[0]


def places(term: Term, target: Term) -> Form:
    """The place of each entry of a term in the list that `target` is."""
    shape = [form.range(target.sizes.__getitem__)[1] + 1 for form in target.axes]
    flat = positions(term, shape)
    place = np.searchsorted(positions(target, shape), flat)
    return tabulated(place.reshape(term.sizes), range(len(term.sizes)))


def union(terms: Sequence[Term], shape: Sequence[int]) -> np.ndarray:
    """The positions that any of the terms has, ascending."""
    if math.prod(shape) <= 4 * sum(term.num_nonzeros for term in terms):
        marked = np.zeros(math.prod(shape), bool)
        for term in terms:
            marked[positions(term, shape)] = True
        return np.flatnonzero(marked)
    return np.unique(np.concatenate([positions(term, shape) for term in terms]))
