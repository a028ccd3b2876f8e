"""One structured term of a Jacobian block, and the product of two terms.

A term is an einsum with Kronecker deltas,

    J[o, i] = scale * sum_k value[k] * prod_a (o_a == out_a(k)) * prod_b (i_b == inp_b(k))

with every `out_a` and `inp_b` an affine form of the indices `k`. An index shared by
several axes ties them (diagonal); one that the value lacks is constant along its axes
(broadcast, reduction); sizes, strides and offsets are windows (slice, pad, shift).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from ._affine import Affine, single, System

Scalar = int | float | complex


@dataclass(frozen=True)
class Term:
    """One term of a block; see the module's docstring.

    `value` lists the indices that the value's axes run over, ascending; `None` says
    that the value is known to be one. A `mask` is a boolean value: a choice between
    the coefficient and zero. `conj` says that the term acts on the conjugate of its
    (complex) input.
    """

    out: tuple[Affine, ...]
    inp: tuple[Affine, ...]
    sizes: tuple[int, ...]
    value: tuple[int, ...] | None
    scale: Scalar = 1
    mask: bool = False
    conj: bool = False

    @cached_property
    def _hash(self) -> int:
        fields = (self.out, self.inp, self.sizes, self.value, self.scale)
        return hash((*fields, type(self.scale), self.mask, self.conj))

    def __hash__(self) -> int:
        return self._hash

    @property
    def structure(self):
        """All but the value: terms of one structure add elementwise."""
        return self.out, self.inp, self.sizes, self.conj

    @property
    def num_nonzeros(self) -> int:
        """How many entries of the block the term touches."""
        return math.prod(self.sizes)

    @property
    def value_shape(self) -> tuple[int, ...]:
        return tuple(self.sizes[i] for i in self.value or ())

    @property
    def num_values(self) -> int:
        """How many numbers the term stores."""
        return 0 if self.value is None else math.prod(self.value_shape)

    def transpose(self) -> tuple[Term, Take]:
        """The transposed term, and how its value is taken from this one's."""
        indices = dict(enumerate(self.sizes))
        return normalise(replace(self, out=self.inp, inp=self.out), indices)


@dataclass(frozen=True)
class Take:
    """An array read at affine positions: `result[labels] = array[forms(labels)]`.

    `sizes` gives the size of every label; labels are ascending.
    """

    forms: tuple[Affine, ...]
    labels: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def is_identity(self) -> bool:
        return self.forms == tuple(single(label) for label in self.labels)


def _take(forms: tuple[Affine, ...], sizes: dict[int, int]) -> Take:
    labels = tuple(sorted({i for form in forms for i in form.indices}))
    return Take(forms, labels, tuple(sizes[i] for i in labels))


class _Renumbering:
    """Numbers indices by first appearance in an output, then an input axis; there
    the stride is positive. Other indices (to be summed over) come last."""

    def __init__(self, axes: tuple[Affine, ...], sizes: dict[int, int]):
        forms: dict[int, Affine] = {}
        for axis in axes:
            for index, stride in sorted(axis.strides, key=lambda s: -abs(s[1])):
                if index not in forms:
                    forms[index] = self._oriented(len(forms), stride, sizes[index])
        self.num_kept = len(forms)
        for index in sizes:
            if index not in forms:
                forms[index] = single(len(forms))
        self.forms = forms
        self.sizes = {f.indices[0]: sizes[i] for i, f in forms.items()}

    @staticmethod
    def _oriented(new: int, stride: int, size: int) -> Affine:
        return single(new) if stride > 0 else Affine(size - 1, ((new, -1),))

    def __call__(self, form: Affine) -> Affine:
        return form.substitute(self.forms.__getitem__)


def normalise(term: Term, sizes: dict[int, int]) -> tuple[Term, Take]:
    """A term over any indices in normal form, and how its value is read."""
    system = System(sizes)
    out = tuple(system.resolve(axis) for axis in term.out)
    inp = tuple(system.resolve(axis) for axis in term.inp)
    new = _Renumbering(out + inp, system.sizes)
    assert new.num_kept == len(system.sizes), "an index that no axis has"
    forms = tuple(new(system.resolve(single(i))) for i in term.value or ())
    take = _take(forms, new.sizes)
    value = None if term.value is None else take.labels
    normal = replace(
        term,
        out=tuple(map(new, out)),
        inp=tuple(map(new, inp)),
        sizes=tuple(new.sizes[i] for i in range(new.num_kept)),
        value=value,
    )
    return normal, take


@dataclass(frozen=True)
class Product:
    """`term = a @ b`: how its value comes from the values of a and b.

    `a`, `b` read the operands (`None`: known to be one); `contracted` are the labels
    summed over; `select` says that `a` is a mask, so that no multiplication is needed;
    `conj_b` that b's value is conjugated; `real` that only the real part matters, once
    multiplied by `factor`.
    """

    term: Term
    a: Take | None
    b: Take | None
    contracted: tuple[int, ...]
    select: bool
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
    b_value = None if b.value is None else tuple(i + shift for i in b.value)
    return [
        _product(a, b, b_inp, b_value, s, not (complex_out or complex_in), complex_in)
        for s in systems
    ]


def _shifted(form: Affine, shift: int) -> Affine:
    return Affine(form.offset, tuple((i + shift, s) for i, s in form.strides))


def _product(a, b, b_inp, b_value, system, real, complex_in) -> Product:
    out = tuple(system.resolve(axis) for axis in a.out)
    inp = tuple(system.resolve(axis) for axis in b_inp)
    new = _Renumbering(out + inp, system.sizes)

    def take(value):
        if value is None:
            return None
        return _take(tuple(new(system.resolve(single(i))) for i in value), new.sizes)

    a_take, b_take = take(a.value), take(b_value)
    has = [set(t.labels) if t is not None else set() for t in (a_take, b_take)]
    labels = has[0] | has[1]
    summed = range(new.num_kept, len(new.sizes))
    contracted = tuple(i for i in summed if i in labels)
    repeats = math.prod(new.sizes[i] for i in summed if i not in labels)
    known = a.value is None and b.value is None
    dots = [i for i in contracted if i in has[0] and i in has[1]]
    both_masks = all(t.mask or t.value is None for t in (a, b)) and not known
    select = a.mask and b.value is not None and has[0].isdisjoint(contracted)
    scale = a.scale * (b.scale.conjugate() if a.conj else b.scale) * repeats
    factor = scale if real and not known and scale.imag else 1
    term = Term(
        out=tuple(map(new, out)),
        inp=tuple(map(new, inp)),
        sizes=tuple(new.sizes[i] for i in range(new.num_kept)),
        value=None if known else tuple(sorted(labels - set(contracted))),
        scale=1 if factor != 1 else scale.real if real else scale,
        mask=both_masks and not contracted,
        conj=complex_in and a.conj != b.conj,
    )
    size = lambda which: math.prod(new.sizes[i] for i in which)  # noqa: E731
    presums = [size(h) - size(h - (set(contracted) - set(dots))) for h in has]
    inner = labels - (set(contracted) - set(dots))
    multiplies = a.value is not None and b.value is not None and not select
    multiplies = multiplies and not term.mask
    return Product(
        term,
        a_take,
        b_take,
        contracted,
        select=select,
        conj_b=a.conj and b.value is not None,
        real=real,
        factor=factor,
        num_multiplications=size(inner) if multiplies else 0,
        num_additions=sum(presums) + (size(inner) - size(inner - set(dots))),
    )

