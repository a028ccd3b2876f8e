"""Sums of terms: recipes that add values, and terms that share storage."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .containment import are_apart
from .entries import join, listed, places, union
from .positions.affine import Affine, single
from .positions.table import Form, Table
from .term import dense_term, Scalar, Term


# Several groups become one if that stores at most this many times their numbers; more
# than `MANY_TERMS` of them do so more easily, as every term costs time.
SLACK = 2
MANY_TERMS = 16
MANY_TERMS_SLACK = 16

# More than `MANY_TERMS` groups of at most so many entries each become one list.
FEW_ENTRIES = 64
# Lists of more entries are not merged; one that has this share of a block is dense.
MAX_LISTED = 1 << 24
DENSE_SHARE = 2 / 3


#
# Recipes
#


@dataclass(frozen=True)
class Embedding:
    """Positions of the values of a term in the value of a term that contains it.

    `forms[axis]` is the position along each axis of the target's value, over the
    indices of the source, whose sizes and value axes are `sizes` and `value`. A
    diagonal of three in a full matrix has the forms `(i, i)` and the shape `(3, 3)`.
    """

    forms: tuple[Form, ...]
    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    value: tuple[int, ...] | None

    @property
    def has_table(self) -> bool:
        """True if positions along an axis of the target are a table."""
        return any(isinstance(form, Table) for form in self.forms)

    def box(self) -> tuple[tuple[int, int], ...] | None:
        """The range along each axis of the target, if all in these ranges is filled.

        `(2 + i, j)` with `i < 3` and `j < 4` fills `((2, 4), (0, 3))`; `(i, i)` and
        `(2 * i,)` leave gaps.
        """
        indices = [i for form in self.forms for i in form.indices]
        if len(set(indices)) < len(indices):
            return None
        strides = [f.strides for f in self.forms if isinstance(f, Affine)]
        if len(strides) < len(self.forms):
            return None
        if any(len(pairs) > 1 or abs(s) != 1 for pairs in strides for _, s in pairs):
            return None
        return tuple(form.range(self.sizes.__getitem__) for form in self.forms)


@dataclass(frozen=True)
class Tiling:
    """Members of a group that lie beside each other along one axis of the target.

    `tiles` has the numbers of the members at each place, in order, and `lengths` how
    long these places are. Rows 0 and 1 from two members each, and row 2 from another:
    `axis=0, tiles=((0, 1), (2,)), lengths=(2, 1)`.
    """

    axis: int
    tiles: tuple[tuple[int, ...], ...]
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """`target = sum(scale * embed(value))` over `members` (source, scale, embedding);
    an embedding `None` stands for equal structure."""

    target: Term
    members: tuple[tuple[int, Scalar, Embedding | None], ...]

    @cached_property
    def tiling(self) -> Tiling | None:
        """The tiling of the target, if members fill it without overlap other than of
        those at one place."""
        members: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for number, (_, _, embedding) in enumerate(self.members):
            box = None if embedding is None else embedding.box()
            if box is None:
                return None
            members.setdefault(box, []).append(number)
        shape = self.target.value_shape
        axes = [
            axis
            for axis, size in enumerate(shape)
            if any(box[axis] != (0, size - 1) for box in members)
        ]
        if len(members) < 2 or len(axes) != 1:
            return None
        (axis,) = axes
        boxes = sorted(members, key=lambda box: box[axis])
        starts = [box[axis][0] for box in boxes]
        ends = [box[axis][1] + 1 for box in boxes]
        if [*starts, shape[axis]] != [0, *ends]:
            return None
        lengths = tuple(end - start for start, end in zip(starts, ends))
        return Tiling(axis, tuple(tuple(members[box]) for box in boxes), lengths)

    @property
    def num_additions(self) -> int:
        """Additions, each of the size of the target or of its tile."""
        if self.target.value is None:
            return 0
        if self.tiling is None:
            return self.target.num_values * (len(self.members) - 1)
        tiles = zip(self.tiling.tiles, self.tiling.lengths)
        row = self.target.num_values // sum(self.tiling.lengths)
        return sum(row * length * (len(members) - 1) for members, length in tiles)


@dataclass(frozen=True)
class Sum:
    """The recipe by which the values of a list of terms add up to those of others.

    `assembles`: the targets are dense, and most of their entries may be zero.
    """

    groups: tuple[Group, ...]
    num_scalings: int
    num_additions: int
    assembles: bool = False

    @staticmethod
    def of(
        terms: Sequence[Term], groups: Iterable[Group], *, assembles: bool = False
    ) -> Sum:
        """A recipe with its costs; scaling by 1 or -1 is free."""
        groups = tuple(groups)
        scalings = sum(
            terms[source].num_values
            for group in groups
            for source, scale, _ in group.members
            if scale not in (1, -1)
        )
        additions = sum(group.num_additions for group in groups)
        return Sum(groups, scalings, additions, assembles)

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms that the values add up to."""
        return tuple(group.target for group in self.groups)


#
# Sums of terms
#


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
        forms = tuple(places(term, target) for _ in target.value)
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
    if len(groups) > 1:
        slack = MANY_TERMS_SLACK if len(groups) > MANY_TERMS else SLACK
        merged = _merge(terms, groups, shape, slack)
        if merged is not None:
            return [merged]
    return groups


def _merge(terms, groups: list[Group], shape, slack: int) -> Group | None:
    targets = [group.target for group in groups]
    stored = sum(target.num_values for target in targets)
    if stored == 0:
        return None
    target = join(targets, shape)
    if target.num_values > slack * stored:
        return None
    return _group(terms, target, [i for group in groups for i, _, _ in group.members])


#
# Lists of entries
#


def _are_listed(groups: Sequence[Group]) -> bool:
    """True if entries have to be listed, or are so few each that it is better."""
    if any(group.target.has_table for group in groups):
        return True
    entries = sum(group.target.num_nonzeros for group in groups)
    return len(groups) > MANY_TERMS and entries <= FEW_ENTRIES * len(groups)


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


def _merge_stored(terms, groups: list[Group], shape: tuple[int, ...]) -> Group | None:
    """One list with a value for each entry, if that stores no more; of a single list,
    if that stores half."""
    targets = [group.target for group in groups]
    stored = sum(target.num_values for target in targets)
    entries = sum(target.num_nonzeros for target in targets)
    if not groups or entries > MAX_LISTED:
        return None
    flat = union(targets, shape)
    if len(flat) > (stored if len(groups) > 1 else stored // 2):
        return None
    num_out, conj = len(targets[0].out), targets[0].conj
    parts = shape[:num_out], shape[num_out:]
    target = entries_term(flat, *parts, conj)
    return _group(terms, target, [i for group in groups for i, _, _ in group.members])
