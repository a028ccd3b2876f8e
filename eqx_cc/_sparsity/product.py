"""The product of two terms: unify the contracted axes, then multiply the values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .affine import Affine, single, System
from .term import Kind, Renumbering, Scalar, Take, take_of, Term


How = Literal["dot", "choose", "pick"]

# Up to this many products, choosing is as fast as multiplying by zeros and ones.
MAX_CHOSEN = 4096


@dataclass(frozen=True)
class Product:
    """`term = a @ b`: how its value comes from the values of a and b.

    `a`, `b` read the operands (`None`: known to be one); `contracted` are the labels
    summed over; `conj_b` says that b's value is conjugated, `real` that only the real
    part matters, once multiplied by `factor`. `how` the two meet: multiplied ("dot"),
    or b's numbers chosen by a's mask, which are then added up ("choose") or are one
    each ("pick").
    """

    term: Term
    a: Take | None
    b: Take | None
    contracted: tuple[int, ...]
    conj_b: bool
    real: bool
    factor: Scalar
    how: How
    num_multiplications: int
    num_additions: int


def multiply(a: Term, b: Term, complex_out: bool, complex_in: bool) -> list[Product]:
    """The products that make up `a @ b`, contracting a's input with b's output.

    Several if flattened axes cross rows; none where the terms do not meet. Raises
    `Unsolved` if the result is no small sum of terms.
    """
    shift = len(a.sizes)
    b_out, b_inp = (tuple(_shifted(x, shift) for x in axes) for axes in (b.out, b.inp))
    systems = [System(dict(enumerate(a.sizes + b.sizes)))]
    for a_axis, b_axis in zip(a.inp, b_out):
        systems = [new for s in systems for new in s.equate(a_axis, b_axis)]
    return [_product(a, b, b_inp, s, complex_out, complex_in) for s in systems]


def _shifted(form: Affine, shift: int) -> Affine:
    return Affine(form.offset, tuple((i + shift, s) for i, s in form.strides))


def _product(
    a: Term, b: Term, b_inp, system: System, complex_out: bool, complex_in: bool
) -> Product:
    out = tuple(system.resolve(axis) for axis in a.out)
    inp = tuple(system.resolve(axis) for axis in b_inp)
    new = Renumbering(out + inp, system.sizes)
    takes = _take(a, 0, system, new), _take(b, len(a.sizes), system, new)
    labels = [set() if take is None else set(take.labels) for take in takes]
    summed = range(new.num_kept, len(new.sizes))
    contracted = tuple(i for i in summed if i in labels[0] | labels[1])
    repeats = math.prod(new.sizes[i] for i in summed if i not in contracted)
    scale = a.scale * (b.scale.conjugate() if a.conj else b.scale) * repeats
    known = a.value is None and b.value is None
    real = not (complex_out or complex_in)
    meeting = _Meeting(a, b, *takes, contracted, new.sizes)
    kind = meeting.kind
    is_mask = kind in ("mask", "selection")
    # What is known to be real takes the real part of the coefficient at once.
    factor = scale if real and scale.imag and not known and not is_mask else 1
    term = Term(
        out=tuple(map(new, out)),
        inp=tuple(map(new, inp)),
        sizes=tuple(new.sizes[i] for i in range(new.num_kept)),
        value=None if known else tuple(sorted((labels[0] | labels[1]) - {*contracted})),
        scale=1 if factor != 1 else scale.real if real else scale,
        kind=kind,
        conj=complex_in and a.conj != b.conj,
    )
    conj_b = a.conj and b.value is not None
    counts = meeting.num_multiplications, meeting.num_additions
    return Product(term, *takes, contracted, conj_b, real, factor, meeting.how, *counts)


def _take(term: Term, shift: int, system: System, new: Renumbering) -> Take | None:
    """How a value is read, for indices that are numbered from `shift`."""
    if term.value is None:
        return None
    forms = (new(system.resolve(single(i + shift))) for i in term.value)
    return take_of(tuple(forms), new.sizes)


class _Meeting:
    """How the values of two terms meet, and what kind of value that gives.

    A mask of `a`, which acts after `b`, shields what it leaves out from infinities on
    the way, as the `select` of a tangent does: it stays a mask, or chooses among the
    numbers that are summed. One of `b` does not.
    """

    def __init__(self, a: Term, b: Term, take_a, take_b, contracted, sizes):
        self.a, self.b, self.sizes = a, b, sizes
        own = [() if take is None else take.labels for take in (take_a, take_b)]
        self.labels = {*own[0]}, {*own[1]}
        self.shared = {i for i in contracted if i in own[0] and i in own[1]}
        self.lone = {*contracted} - self.shared
        self.how: How = "dot"
        if a.kind == "selection" and a.value is not None and _told(take_a, contracted):
            self.how = "pick"
        elif a.kind != "value" and self.shared and self._a_is_whole:
            if self._size(self.labels[0] | self.labels[1]) <= MAX_CHOSEN:
                self.how = "choose"

    @property
    def _a_is_whole(self) -> bool:
        """Whether a is not summed on its own, to numbers that choose no more."""
        return self.labels[0].isdisjoint(self.lone)

    def _size(self, indices) -> int:
        return math.prod(self.sizes[i] for i in indices)

    @property
    def kind(self) -> Kind:
        """The kind of the product's value."""
        a, b = self.a, self.b
        a_whole = self._a_is_whole or self.how == "pick"
        b_whole = self.labels[1].isdisjoint(self.lone)
        if a.value is None:
            return self._mask_like(b.kind) if b_whole else "value"
        if b.value is None:
            return self._mask_like(a.kind) if a_whole else "value"
        if a.kind == "value" or not a_whole or (self.shared and self.how != "pick"):
            return "value"
        if self.shared:
            return self._mask_like(b.kind) if b_whole else "value"
        both = a.is_mask and b.is_mask and b_whole
        return self._mask_like("mask") if both else "masked"

    def _mask_like(self, kind: Kind) -> Kind:
        """The kind, if it is a mask by whether two selections follow each other."""
        if kind not in ("mask", "selection"):
            return kind
        both = self.a.is_selection and self.b.is_selection
        return "selection" if both else "mask"

    @property
    def num_multiplications(self) -> int:
        if self.a.value is None or self.b.value is None or self.how == "pick":
            return 0
        chooses = self.how == "choose" or not self.shared
        if self.a.is_mask and self._a_is_whole and chooses:
            return 0
        return self._size((self.labels[0] | self.labels[1]) - self.lone)

    @property
    def num_additions(self) -> int:
        """Where sums within one operand come first."""
        summed = self.labels[1:] if self.how == "pick" else self.labels
        sums = sum(self._size(own) - self._size(own - self.lone) for own in summed)
        if self.how == "pick":
            return sums
        inner = (self.labels[0] | self.labels[1]) - self.lone
        return sums + self._size(inner) - self._size(inner - self.shared)


def _told(own: Take, contracted: tuple[int, ...]) -> bool:
    """Whether each entry of a value is read at one place along what is summed over."""
    return all(
        len(form.strides) == 1
        for form in own.forms
        if any(i in contracted for i in form.indices)
    )
