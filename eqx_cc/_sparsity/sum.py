"""Sums of terms: which of them share storage, and how their values are added up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .containment import are_apart
from .entries import join_within, listed, places, positions, union
from .positions.affine import Affine, single
from .positions.table import distinct, Form
from .recipes import Embedding, Group, Sum
from .term import dense_term, Term


# Several groups become one if that stores at most this many times their numbers. More
# than `MANY_TERMS` of them that would do so for `MANY_TERMS_SLACK` become a list.
SLACK = 2
MANY_TERMS = 16
MANY_TERMS_SLACK = 16

# More than `SOME_TERMS` groups become one list if they have few entries each. Groups
# take time each, and as they meet in pairs, the more of them the longer each takes to
# trace: one of `n` groups has few if it has `n * n / 4`, and at most `MOST_ENTRIES`.
SOME_TERMS = 8
MOST_ENTRIES = 1 << 12
# Lists of more entries are not merged; one that has this share of a block is dense.
MAX_LISTED = 1 << 24
DENSE_SHARE = 2 / 3


def add_terms(terms: Sequence[Term], shape: tuple[int, ...]) -> Sum:
    """Adds terms of one block whose outputs and inputs have dimensions `shape`.

    Two diagonals are one term, a diagonal and a full matrix the full matrix. Two bands
    that do not overlap stay two terms.
    """
    classes: dict[tuple, list[int]] = {}
    for source, term in enumerate(terms):
        if term.scale != 0:
            classes.setdefault(term.structure, []).append(source)
    groups = [_same_structure(terms, sources) for sources in classes.values()]
    groups = [group for group in groups if group.target.scale != 0]
    for conj in sorted({group.target.conj for group in groups}):
        some = [group for group in groups if group.target.conj == conj]
        others = [group for group in groups if group.target.conj != conj]
        if _are_listed(some):
            groups = others + _merge_lists(terms, some, shape)
        elif len(some) > 1:
            groups = others + _condense(terms, some, shape)
    return Sum.of(terms, groups)


def densify(terms: Sequence[Term], shape: tuple[int, ...], num_out: int) -> Sum:
    """Adds terms into one dense term (one for each kind of conjugation)."""
    groups = []
    for conj in sorted({term.conj for term in terms}):
        sources = [i for i, term in enumerate(terms) if term.conj == conj]
        target = dense_term(shape[:num_out], shape[num_out:], conj)
        groups.append(_group(terms, target, sources))
    return Sum.of(terms, groups, assembles=True)


def entries_term(
    flat: np.ndarray,
    out_shape: tuple[int, ...],
    inp_shape: tuple[int, ...],
    conj: bool = False,
) -> Term:
    """The term with a value for each of these positions, which ascend: a list, or the
    dense term where most of the block is listed."""
    if len(flat) >= DENSE_SHARE * math.prod(out_shape + inp_shape):
        return dense_term(out_shape, inp_shape, conj)
    return listed(flat, out_shape, inp_shape, conj=conj)


def _same_structure(terms: Sequence[Term], sources: list[int]) -> Group:
    """Adds terms that differ in the coefficient alone: `2 I + D` is a diagonal."""
    first = terms[sources[0]]
    if len(sources) == 1:
        return Group(first, ((sources[0], 1, None),))
    if all(terms[i].value is None for i in sources):
        target = replace(first, scale=sum(terms[i].scale for i in sources))
        return Group(target, tuple((i, 1, None) for i in sources))
    value = {index for i in sources for index in terms[i].value or ()}
    target = replace(first, value=tuple(sorted(value)), kind="value", scale=1)
    return _group(terms, target, sources)


def _group(terms: Sequence[Term], target: Term, sources: list[int]) -> Group:
    """Adds terms up in `target`, with a common coefficient pulled out.

    `2 A - 2 B` is `2 * (A - B)`, without a scaling; `2 A + B` scales A.
    """
    scales = [terms[i].scale for i in sources]
    if all(scale in (scales[0], -scales[0]) for scale in scales):
        target = replace(target, scale=scales[0])
        scales = [1 if scale == scales[0] else -1 for scale in scales]
    members = zip(sources, scales, (embed(terms[i], target) for i in sources))
    return Group(target, tuple(members))


def embed(term: Term, target: Term) -> Embedding | None:
    """The embedding of a term in one that contains it; None if nothing moves.

    The band `out (i,) inp (1 + i,)` in the matrix `out (i,) inp (j,)` goes to
    `(i, 1 + i)`.
    """
    same = term.structure == target.structure
    if same and term.value == target.value:
        return None
    assert target.value is not None
    if target.has_table and not same:
        forms = places(term, target)
    else:
        position = single if same else _positions(term, target).__getitem__
        forms = tuple(position(index) for index in target.value)
    return Embedding(forms, target.value_shape, term.sizes, term.value)


def _positions(term: Term, target: Term) -> dict[int, Form]:
    """Every index of the target, whose axes have one each, over those of the term.

    Where the target has `2k` and the term `4 + 2i`, `k` is `2 + i`.
    """
    forms: dict[int, Form] = {}
    for form, target_form in zip(term.axes, target.axes):
        assert isinstance(target_form, Affine)
        for index, stride in target_form.strides:
            position = form.divided(stride, target_form.offset)
            assert position is not None, "a term that the target does not contain"
            forms[index] = position
    return forms


def _condense(terms, groups: list[Group], shape: tuple[int, ...]) -> list[Group]:
    """Lets groups share storage where that needs no more numbers than they have.

    A diagonal of 4 and a full 4 by 4 matrix (20 numbers) share the matrix (16); two
    bands (7 numbers) do not.
    """
    groups, index = list(groups), 0
    while index < len(groups):
        for other in range(index):
            pair = [groups[other], groups[index]]
            apart = are_apart(*[group.target for group in pair])
            merged = None if apart else _merge(terms, pair, shape, slack=1)
            if merged is not None:
                groups[other] = merged
                del groups[index]
                index = other
                break
        else:
            index += 1
    if len(groups) < 2:
        return groups
    slack = MANY_TERMS_SLACK if len(groups) > MANY_TERMS else SLACK
    merged = _merge(terms, groups, shape, slack)
    if merged is None:
        return groups
    if merged.target.num_values > SLACK * _num_stored(groups):
        return _merge_lists(terms, groups, shape)
    return [merged]


def _merge(terms, groups: list[Group], shape, slack: int) -> Group | None:
    stored = _num_stored(groups)
    if stored == 0:
        return None
    target = join_within([group.target for group in groups], shape, slack * stored)
    if target is None:
        return None
    return _group(terms, target, [i for group in groups for i, _, _ in group.members])


def _num_stored(groups: Sequence[Group]) -> int:
    return sum(group.target.num_values for group in groups)


#
# Lists of entries
#


def _are_listed(groups: Sequence[Group]) -> bool:
    """True if entries have to be listed, or are so few each that it is better."""
    if any(group.target.has_table for group in groups):
        return True
    count = len(groups)
    entries = sum(group.target.num_nonzeros for group in groups)
    return count > SOME_TERMS and entries <= count * min(count**2 // 4, MOST_ENTRIES)


def _merge_lists(terms, groups: list[Group], shape: tuple[int, ...]) -> list[Group]:
    """Merges lists of entries, and what overlaps with them, into one.

    The lists `[(0, 1), (2, 0)]` and `[(2, 0), (2, 2)]` become one of three entries. A
    list with the same entry many times becomes one with every entry once.
    """
    known = [group for group in groups if group.target.value is None]
    stored = [group for group in groups if group.target.value is not None]
    if len(known) > MANY_TERMS:
        known = _merge_known(known, shape)
    lists = [group for group in stored if group.target.has_table]
    rest = [group for group in stored if not group.target.has_table]
    for some, others in ((stored, []), (lists, rest)):
        merged = _merge_stored(terms, some, shape)
        if merged is not None:
            return [*known, *others, merged]
    return [*known, *stored]


def _merge_known(groups: list[Group], shape: tuple[int, ...]) -> list[Group]:
    """Merges those of one number that do not overlap: nothing is stored for them."""
    merged = []
    for scale in dict.fromkeys(group.target.scale for group in groups):
        some = [group for group in groups if group.target.scale == scale]
        first = some[0].target
        flat = union([group.target for group in some], shape)
        if len(flat) == sum(group.target.num_nonzeros for group in some):
            num_out = len(first.out)
            parts = shape[:num_out], shape[num_out:]
            target = listed(flat, *parts, scale=scale, conj=first.conj)
            merged.append(Group(target, tuple(m for g in some for m in g.members)))
        else:
            merged += some
    return merged


def _whole(targets: Sequence[Term], flat: np.ndarray, shape) -> Term | None:
    """One of the terms if it has all of these positions, each of them once.

    It keeps its indices, which a list has no more: in the block of a mesh
    `out (conn[e, a],) inp (e, b) value (0, 1, 2)`, all `b` of an element are beside
    each other, to be added up where a product sums over them.
    """
    for term in targets:
        if term.has_table and term.num_values == term.num_nonzeros == len(flat):
            if len(distinct(positions(term, shape))) == len(flat):
                return replace(term, kind="value", scale=1)
    return None


def _merge_stored(terms, groups: list[Group], shape: tuple[int, ...]) -> Group | None:
    """One list with a value for each entry, if that stores no more; of a single list,
    if that stores half."""
    targets = [group.target for group in groups]
    stored = _num_stored(groups)
    entries = sum(target.num_nonzeros for target in targets)
    if not groups or entries > MAX_LISTED:
        return None
    flat = union(targets, shape)
    if len(flat) > (stored if len(groups) > 1 else stored // 2):
        return None
    num_out, conj = len(targets[0].out), targets[0].conj
    parts = shape[:num_out], shape[num_out:]
    target = entries_term(flat, *parts, conj)
    if target.has_table:
        target = _whole(targets, flat, shape) or target
    return _group(terms, target, [i for group in groups for i, _, _ in group.members])
