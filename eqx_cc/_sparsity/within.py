"""The part of a term that lies at given positions of its block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .entries import positions
from .positions.equations import SolutionSet
from .positions.table import distinct
from .term import Renumbering, Take, Term


def within(
    term: Term, shape: tuple[int, ...], flat: np.ndarray
) -> list[tuple[Term, Take | None]]:
    """The entries at positions `flat` of the ravelled block, and how they are read.

    They are one term, if not several entries have the same position. None stands for
    the term as it is. Of the diagonal `out (i,) inp (i,) value (0,)` and the positions
    of two entries, a list of two remains, with the value at these.
    """
    places = positions(term, shape)
    inside = np.isin(places, flat)
    if inside.all():
        return [(term, None)]
    entries = np.flatnonzero(inside)
    if not len(entries):
        return []
    is_distinct = len(distinct(places[entries])) == len(entries)
    parts = [entries] if is_distinct else entries.reshape(-1, 1)
    return [_listed(term, part) for part in parts]


def _listed(term: Term, entries: np.ndarray) -> tuple[Term, Take]:
    """The entries of a term with these numbers."""
    solutions = SolutionSet(dict(enumerate(term.sizes))).listed(entries)
    normal = Renumbering(solutions, term.out, term.inp)
    take = normal.take(term.value or ())
    value = None if term.value is None else take.labels
    axes = {"out": normal.out, "inp": normal.inp, "sizes": normal.kept_sizes}
    return replace(term, value=value, **axes), take
