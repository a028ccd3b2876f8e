"""Covering terms: storage that fits any of several blocks, as loops and branches need.

The Jacobian of a `while` loop has another pattern after every iteration; its carry has
one, with room for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .sum import embed, Group, Sum
from .term import dense_term, Term


# A pattern that covers several with more kinds of terms than this is dense.
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
    the identity and a band by a stored diagonal and a band.
    """
    values: dict[tuple, set[int]] = {}
    for term in (term for terms in blocks for term in terms):
        values.setdefault(term.structure, set()).update(term.value or ())
    conjs = sorted({conj for *_, conj in values})
    targets = [dense_term(shape[:num_out], shape[num_out:], conj) for conj in conjs]
    if len(values) <= MAX_COVER and all(t.structure not in values for t in targets):
        targets = [
            Term(out, inp, sizes, tuple(sorted(value)), conj=conj)
            for (out, inp, sizes, conj), value in values.items()
        ]
    if masks:
        totals = [_write(terms, targets) for terms in blocks]
        targets = [
            _with_mask(target, blocks, [total.groups[n] for total in totals])
            for n, target in enumerate(targets)
        ]
    return tuple(targets), [_write(terms, targets) for terms in blocks]


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


def _write(terms: Sequence[Term], targets: Sequence[Term]) -> Sum:
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
