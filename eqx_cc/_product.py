"""The product of two terms: unify the contracted axes, then multiply the values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ._affine import Affine, single, System
from ._term import Kind, Renumbering, Scalar, Take, take_of, Term


@dataclass(frozen=True)
class Product:
    """`term = a @ b`: how its value comes from the values of a and b.

    `a`, `b` read the operands (`None`: known to be one); `contracted` are the labels
    summed over; `conj_b` says that b's value is conjugated, `real` that only the real
    part matters, once multiplied by `factor`.
    """

    term: Term
    a: Take | None
    b: Take | None
    contracted: tuple[int, ...]
    conj_b: bool
    real: bool
    factor: Scalar
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
    kind = _kind(a, b, *(own.isdisjoint(contracted) for own in labels))
    # What is known to be real takes the real part of the coefficient at once.
    factor = scale if real and scale.imag and not known and kind != "mask" else 1
    term = Term(
        out=tuple(map(new, out)),
        inp=tuple(map(new, inp)),
        sizes=tuple(new.sizes[i] for i in range(new.num_kept)),
        value=None if known else tuple(sorted((labels[0] | labels[1]) - {*contracted})),
        scale=1 if factor != 1 else scale.real if real else scale,
        kind=kind,
        conj=complex_in and a.conj != b.conj,
    )
    multiplies = a.value is not None and b.value is not None
    if kind == "mask" or (kind == "masked" and a.kind == "mask"):
        multiplies = False
    counts = _counts(labels, contracted, new.sizes, multiplies)
    conj_b = a.conj and b.value is not None
    return Product(term, *takes, contracted, conj_b, real, factor, *counts)


def _take(term: Term, shift: int, system: System, new: Renumbering) -> Take | None:
    """How a value is read, for indices that are numbered from `shift`."""
    if term.value is None:
        return None
    forms = (new(system.resolve(single(i + shift))) for i in term.value)
    return take_of(tuple(forms), new.sizes)


def _kind(a: Term, b: Term, a_whole: bool, b_whole: bool) -> Kind:
    """The kind of a product's value; `whole`: nothing of the operand is summed over.

    A mask of `a`, which acts after `b`, stays one: then it shields what it leaves out
    from infinities on the way, as the `select` of a tangent does. One of `b` does not.
    """
    if a.value is None:
        return b.kind if b_whole else "value"
    if b.value is None:
        return a.kind if a_whole else "value"
    if a.kind == "value" or not a_whole:
        return "value"
    return "mask" if a.kind == b.kind == "mask" and b_whole else "masked"


def _counts(labels, contracted, sizes, multiplies: bool) -> tuple[int, int]:
    """Multiplications and additions, where sums within one operand come first."""
    both = labels[0] & labels[1]
    lone = {i for i in contracted if i not in both}

    def size(indices) -> int:
        return math.prod(sizes[i] for i in indices)

    sums = sum(size(own) - size(own - lone) for own in labels)
    inner = (labels[0] | labels[1]) - lone
    additions = size(inner) - size(inner - {*contracted})
    return size(inner) if multiplies else 0, sums + additions
