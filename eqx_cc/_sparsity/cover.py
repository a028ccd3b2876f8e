"""Covering terms: storage that fits any of several blocks, as loops and branches need.

The Jacobian of a `while` loop has another pattern after every iteration; its carry has
one, with room for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .entries import union
from .recipes import Group, Sum
from .sum import embed, entries_term, MAX_LISTED
from .term import dense_term, Term


# A pattern that covers several with more kinds of terms than this is a list of entries.
MAX_COVER = 6


def cover(
    blocks: Sequence[Sequence[Term]],
    shape: tuple[int, ...],
    num_out: int,
    masks: bool = False,
) -> tuple[tuple[Term, ...], list[Sum]]:
    """Terms with a value each that can hold any of several lists of terms.

    **Returns:** the terms, and for each list the recipe that writes its values there.
    With `masks` the values mark which entries a list has.

    A diagonal in one branch and a full matrix in the other are covered by the matrix,
    the identity and a band by a stored diagonal and a band, and more kinds of terms by
    a list of all entries.
    """
    values: dict[tuple, set[int]] = {}
    for term in (term for terms in blocks for term in terms):
        values.setdefault(term.structure, set()).update(term.value or ())
    parts = shape[:num_out], shape[num_out:]
    conjs = sorted({conj for *_, conj in values})
    dense = {dense_term(*parts, conj).structure for conj in conjs}
    if not dense.isdisjoint(values):
        targets = [dense_term(*parts, conj) for conj in conjs]
    elif len(values) > MAX_COVER:
        terms = [term for terms in blocks for term in terms]
        targets = [listed_cover(terms, *parts, conj) for conj in conjs]
    else:
        targets = [
            Term(out, inp, sizes, tuple(sorted(value)), conj=conj)
            for (out, inp, sizes, conj), value in values.items()
        ]
    if masks:
        totals = [write(terms, targets) for terms in blocks]
        targets = [
            _with_mask(target, blocks, [total.groups[n] for total in totals])
            for n, target in enumerate(targets)
        ]
    return tuple(targets), [write(terms, targets) for terms in blocks]


def listed_cover(
    terms: Sequence[Term],
    out_shape: tuple[int, ...],
    inp_shape: tuple[int, ...],
    conj: bool,
) -> Term:
    """The list of all entries of the terms of one conjugation, or the dense term."""
    terms = [term for term in terms if term.conj == conj]
    if sum(term.num_nonzeros for term in terms) > MAX_LISTED:
        return dense_term(out_shape, inp_shape, conj)
    return entries_term(union(terms, out_shape + inp_shape), out_shape, inp_shape, conj)


def _with_mask(target: Term, blocks, groups: Sequence[Group]) -> Term:
    """The target with a mask of the entries that are stored, unless all always are.

    `groups` has, for each of the blocks, the terms that the target holds. A mask alone
    is enough if each block has one term, of constants, all of the same scale.
    """
    members = [
        [terms[i] for i, _, _ in group.members] for terms, group in zip(blocks, groups)
    ]
    whole = [
        any(t.kind == "value" and t.structure == target.structure for t in terms)
        for terms in members
    ]
    if all(whole):
        return target
    stored = [term for terms in members for term in terms]
    scales = {term.scale for term in stored}
    constant = all(term.value is None or term.is_mask for term in stored)
    if not constant or len(scales) > 1 or any(len(terms) > 1 for terms in members):
        return replace(target, kind="masked")
    selects = all(term.is_selection for term in stored)
    return replace(target, kind="selection" if selects else "mask", scale=scales.pop())


def write(terms: Sequence[Term], targets: Sequence[Term]) -> Sum:
    """Writes every term to the target of its structure, or else of its conjugation."""
    structures = {target.structure for target in targets}
    groups = []
    for target in targets:
        members = tuple(
            (i, 1 if target.is_mask else term.scale, embed(term, target))
            for i, term in enumerate(terms)
            if term.structure == target.structure
            or (term.structure not in structures and term.conj == target.conj)
        )
        groups.append(Group(target, members))
    return Sum.of(terms, groups)
