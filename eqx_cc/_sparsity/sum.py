"""Sums of terms: which of them add up elementwise, and which should share storage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .affine import Affine, single
from .recipe import Embedding, Group, Sum
from .term import normalise, Term


# Above this many terms, storage that is this much larger is preferred to more terms.
MANY_TERMS = 16
MANY_TERMS_SLACK = 16


def combine(terms: Sequence[Term], shape: tuple[int, ...]) -> Sum:
    """Adds terms of one block whose outputs and inputs have dimensions `shape`."""
    classes: dict[tuple, list[int]] = {}
    for index, term in enumerate(terms):
        if term.scale != 0:
            classes.setdefault(term.structure, []).append(index)
    groups = [_same_structure(terms, members) for members in classes.values()]
    groups = [group for group in groups if group.target.scale != 0]
    for conj in (False, True) if any(t.conj for t in terms) else (False,):
        some = [group for group in groups if group.target.conj == conj]
        if len(some) > 1:
            rest = [group for group in groups if group.target.conj != conj]
            groups = rest + _condense(terms, some, shape)
    return _sum(terms, groups)


def densify(terms: Sequence[Term], shape: tuple[int, ...], num_out: int) -> Sum:
    """Adds terms into one dense term (one for each kind of conjugation)."""
    groups = []
    for conj in sorted({term.conj for term in terms}):
        indices = [i for i, term in enumerate(terms) if term.conj == conj]
        target = dense(shape[:num_out], shape[num_out:], conj)
        groups.append(_group(terms, target, indices))
    return replace(_sum(terms, groups), assembles=True)


def dense(
    out_shape: tuple[int, ...], inp_shape: tuple[int, ...], conj: bool = False
) -> Term:
    """The term that ties no axes."""
    axes = tuple(Affine(0, ((i, 1),)) for i in range(len(out_shape + inp_shape)))
    sizes = dict(enumerate(out_shape + inp_shape))
    out, inp = axes[: len(out_shape)], axes[len(out_shape) :]
    return normalise(Term(out, inp, (), tuple(sizes), conj=conj), sizes)[0]


# A pattern that covers several with more kinds of terms than this is dense.
MAX_COVER = 6


def cover(
    blocks: Sequence[Sequence[Term]],
    shape: tuple[int, ...],
    num_out: int,
    masks: bool = False,
) -> tuple[tuple[Term, ...], list[Sum]]:
    """Terms, all of them valued, that can hold any of several lists of terms; and how
    each list's values go into theirs. With `masks` they tell which entries a list has.
    """
    values: dict[tuple, set[int]] = {}
    for term in (term for terms in blocks for term in terms):
        values.setdefault(term.structure, set()).update(term.value or ())
    conjs = sorted({conj for *_, conj in values})
    targets = [dense(shape[:num_out], shape[num_out:], conj) for conj in conjs]
    if len(values) <= MAX_COVER and all(t.structure not in values for t in targets):
        targets = [
            Term(out, inp, sizes, tuple(sorted(value)), conj=conj)
            for (out, inp, sizes, conj), value in values.items()
        ]
    if masks:
        totals = [_into(terms, targets) for terms in blocks]
        targets = [
            _marked(target, blocks, [total.groups[n] for total in totals])
            for n, target in enumerate(targets)
        ]
    return tuple(targets), [_into(terms, targets) for terms in blocks]


def _marked(target: Term, blocks, groups: Sequence[Group]) -> Term:
    """A target that tells which of its entries are those of the terms that it holds,
    for the groups that these form in each of several blocks."""
    lists = [
        [terms[i] for i, _, _ in group.members] for terms, group in zip(blocks, groups)
    ]
    whole = [any(_fills(term, target) for term in terms) for terms in lists]
    if all(whole):
        return target
    scales = {term.scale for terms in lists for term in terms}
    known = all(t.value is None or t.is_mask for terms in lists for t in terms)
    if not known or len(scales) > 1 or any(len(terms) > 1 for terms in lists):
        return replace(target, kind="masked")
    selects = all(term.is_selection for terms in lists for term in terms)
    return replace(target, kind="selection" if selects else "mask", scale=scales.pop())


def _fills(term: Term, target: Term) -> bool:
    return term.kind == "value" and term.structure == target.structure


def _into(terms: Sequence[Term], targets: Sequence[Term]) -> Sum:
    """Every term in the target of its structure, or else of its conjugation."""
    groups = []
    for target in targets:
        structures = {t.structure for t in targets}
        members = tuple(
            (i, 1 if target.is_mask else term.scale, _embedding(term, target))
            for i, term in enumerate(terms)
            if term.structure == target.structure
            or (term.structure not in structures and term.conj == target.conj)
        )
        groups.append(Group(target, members))
    return _sum(terms, groups)


def _sum(terms: Sequence[Term], groups: Iterable[Group]) -> Sum:
    groups = tuple(groups)
    scalings = additions = 0
    for group in groups:
        valued = [(i, s) for i, s, _ in group.members if terms[i].value is not None]
        scalings += sum(terms[i].num_values for i, s in valued if s not in (1, -1))
        additions += group.num_additions
    return Sum(groups, scalings, additions)


def _same_structure(terms: Sequence[Term], members: list[int]) -> Group:
    first = terms[members[0]]
    if len(members) == 1:
        return Group(first, ((members[0], 1, None),))
    if all(terms[i].value is None for i in members):
        target = replace(first, scale=sum(terms[i].scale for i in members))
        return Group(target, tuple((i, 1, None) for i in members))
    value = {index for i in members for index in terms[i].value or ()}
    target = replace(first, value=tuple(sorted(value)), kind="value", scale=1)
    return _group(terms, target, members)


def _group(terms: Sequence[Term], target: Term, indices: list[int]) -> Group:
    """Terms that add up in `target`, with a common coefficient pulled out."""
    scales = [terms[i].scale for i in indices]
    if all(scale in (scales[0], -scales[0]) for scale in scales):
        target = replace(target, scale=scales[0])
        scales = [1 if scale == scales[0] else -1 for scale in scales]
    members = zip(indices, scales, (_embedding(terms[i], target) for i in indices))
    return Group(target, tuple(members))


def _embedding(term: Term, target: Term) -> Embedding | None:
    same = term.structure == target.structure
    if same and term.value == target.value:
        return None
    assert target.value is not None
    position = single if same else _positions(term, target).__getitem__
    forms = tuple(position(index) for index in target.value)
    return Embedding(forms, target.value_shape, term.sizes, term.value)


def _positions(term: Term, target: Term) -> dict[int, Affine]:
    """Every index of the target, whose axes have one each, over those of the term."""
    forms = {}
    for form, target_form in zip(term.out + term.inp, target.out + target.inp):
        for index, stride in target_form.strides:
            forms[index] = _divided(form, target_form.offset, stride)
    return forms


def _divided(form: Affine, offset: int, stride: int) -> Affine:
    """The form `(form - offset) / stride`, which must be integer."""
    assert (form.offset - offset) % stride == 0
    strides = tuple((i, s // stride) for i, s in form.strides)
    return Affine((form.offset - offset) // stride, strides)


def _condense(terms, groups: list[Group], shape: tuple[int, ...]) -> list[Group]:
    """Lets groups share storage where that needs no more numbers than they have."""
    groups, index = list(groups), 0
    while index < len(groups):
        for other in range(index):
            merged = _merge(terms, [groups[other], groups[index]], shape, slack=1)
            if merged is not None:
                groups[other] = merged
                del groups[index]
                index = other
                break
        else:
            index += 1
    if len(groups) > 1:
        slack = MANY_TERMS_SLACK if len(groups) > MANY_TERMS else 2
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


@dataclass(frozen=True)
class _Line:
    """Axes that advance together: position `offset + stride * k`, `k < size`.

    `constant`: no term's value varies along the line, and all cover it whole.
    """

    axes: dict[int, tuple[int, int]]
    size: int
    constant: bool


def join(terms: Sequence[Term], shape: tuple[int, ...]) -> Term:
    """The smallest structure with single-index axes that contains all `terms`."""
    num_out, conj = len(terms[0].out), terms[0].conj
    if any(len(form.strides) > 1 for t in terms for form in t.out + t.inp):
        return dense(shape[:num_out], shape[num_out:], conj)
    lines = _lines(terms, len(shape))
    forms = [Affine(0)] * len(shape)
    for index, line in enumerate(lines):
        for axis, (offset, stride) in line.axes.items():
            forms[axis] = Affine(offset, ((index, stride),))
    value = tuple(index for index, line in enumerate(lines) if not line.constant)
    term = Term(tuple(forms[:num_out]), tuple(forms[num_out:]), (), value, conj=conj)
    return normalise(term, {i: line.size for i, line in enumerate(lines)})[0]


def _lines(terms: Sequence[Term], num_axes: int) -> list[_Line]:
    """The ties that all terms have in common, and the other axes on their own."""
    reference = max(terms, key=lambda term: len(term.sizes))
    free, lines = set(range(num_axes)), []
    for tied in _tied(reference):
        line = _common_line(terms, reference, tied)
        if line is not None:
            lines.append(line)
            free -= set(tied)
    return lines + [_free_line(terms, axis) for axis in sorted(free)]


def _tied(term: Term) -> list[tuple[int, ...]]:
    """The axes that share an index, for each index."""
    tied: dict[int, tuple[int, ...]] = {}
    for axis, form in enumerate(term.out + term.inp):
        for index in form.indices:
            tied[index] = (*tied.get(index, ()), axis)
    return list(tied.values())


def _free_line(terms: Sequence[Term], axis: int) -> _Line:
    ranges = [_range(term, (term.out + term.inp)[axis]) for term in terms]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    return _Line({axis: (low, 1)}, high - low + 1, constant=False)


def _common_line(terms, reference: Term, tied: tuple[int, ...]) -> _Line | None:
    """The line of the reference's axes `tied`, if every term advances along it."""
    axes = {}
    for axis in tied:
        form = (reference.out + reference.inp)[axis]
        axes[axis] = (form.offset, form.strides[0][1])
    found = [_along(term, axes) for term in terms]
    along = [form for form in found if form is not None]
    if len(along) < len(found):
        return None
    ranges = [_range(term, form) for term, form in zip(terms, along)]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    constant = all(
        r == (low, high) and _skips_none(term, form) and _lacks(term, form, tied)
        for term, form, r in zip(terms, along, ranges)
    )
    moved = {
        axis: (offset + stride * low, stride) for axis, (offset, stride) in axes.items()
    }
    return _Line(moved, high - low + 1, constant)


def _along(term: Term, axes: dict[int, tuple[int, int]]) -> Affine | None:
    """Where a term is along a line, if it is on it."""
    forms = set()
    for axis, (offset, stride) in axes.items():
        form = (term.out + term.inp)[axis]
        if any(
            n % stride for n in (form.offset - offset, *(s for _, s in form.strides))
        ):
            return None
        forms.add(_divided(form, offset, stride))
    return forms.pop() if len(forms) == 1 else None


def _skips_none(term: Term, form: Affine) -> bool:
    """Whether the form reaches every position of its range."""
    reach = 0
    for index, stride in sorted(form.strides, key=lambda pair: abs(pair[1])):
        if abs(stride) > reach + 1:
            return False
        reach += abs(stride) * (term.sizes[index] - 1)
    return True


def _lacks(term: Term, form: Affine, tied: tuple[int, ...]) -> bool:
    """Whether the value is constant along `form`, which only axes `tied` follow."""
    others = [f for a, f in enumerate(term.out + term.inp) if a not in tied]
    used = set(term.value or ()).union(*(f.indices for f in others))
    return used.isdisjoint(form.indices)


def _range(term: Term, form: Affine) -> tuple[int, int]:
    return form.range(term.sizes.__getitem__)
