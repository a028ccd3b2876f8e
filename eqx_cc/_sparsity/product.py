"""The product of two terms: unify the contracted axes, then multiply the values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .positions.affine import Affine
from .positions.equations import SolutionSet
from .positions.table import Form, shifted
from .term import Kind, Renumbering, Scalar, Take, Term


Mode = Literal["dot", "choose", "pick"]

# Up to this many products, choosing is as fast as multiplying by zeros and ones.
MAX_CHOSEN = 4096


@dataclass(frozen=True)
class Product:
    """The recipe of `term = a @ b`: its value from the values of a and b.

    `a`, `b` read the operands (`None`: the constant one); `contracted` are the labels
    summed over; `conj_b` conjugates b's value; `real` takes the real part, once
    multiplied by `factor`. `how` combines the two: they are multiplied ("dot"), or a's
    mask chooses among b's numbers, which are then added up ("choose") or are one each
    ("pick").
    """

    term: Term
    a: Take | None
    b: Take | None
    contracted: tuple[int, ...]
    conj_b: bool
    real: bool
    factor: Scalar
    how: Mode
    num_multiplications: int
    num_additions: int


def multiply(a: Term, b: Term, complex_out: bool, complex_in: bool) -> list[Product]:
    """The products that make up `a @ b`, contracting a's input with b's output.

    Several if flattened axes cross rows; none where the terms do not meet. Raises
    `TooManyPairs` if too many entries would have to be listed.

    A diagonal `out (i,) inp (i,)` times a matrix `out (j,) inp (k,)` equates `i == j`:
    `out (i,) inp (k,)`, with the value `a[i] * b[i, k]`. A slice `x[2:]`,
    `out (i,) inp (2 + i,)`, times a diagonal leaves `out (i,) inp (2 + i,)`, with the
    value `b[2 + i]`.
    """
    shift = len(a.sizes)
    b_out, b_inp = (tuple(shifted(x, shift) for x in axes) for axes in (b.out, b.inp))
    indices = SolutionSet(dict(enumerate(a.sizes + b.sizes)))
    solutions = indices.equate(list(zip(a.inp, b_out)))
    return [_product(a, b, b_inp, s, complex_out, complex_in) for s in solutions]


def _product(
    a: Term,
    b: Term,
    b_inp: tuple[Form, ...],
    solutions: SolutionSet,
    complex_out: bool,
    complex_in: bool,
) -> Product:
    normal, shift = Renumbering(solutions, a.out, b_inp), len(a.sizes)
    take_a = None if a.value is None else normal.take(a.value)
    take_b = None if b.value is None else normal.take(i + shift for i in b.value)
    pair = _Pair(a, b, take_a, take_b, normal)
    # An index that is summed, and that neither value has, counts: `ones @ ones`.
    uncounted = {*normal.summed} - pair.labels
    repeats = math.prod(normal.sizes[i] for i in uncounted)
    scale = a.scale * (b.scale.conjugate() if a.conj else b.scale) * repeats
    stores = a.value is not None or b.value is not None
    real = not (complex_out or complex_in)
    # A real block takes the real part of the coefficient at once.
    imaginary = real and scale.imag and stores and pair.kind in ("value", "masked")
    term = Term(
        out=normal.out,
        inp=normal.inp,
        sizes=normal.kept_sizes,
        value=tuple(sorted(pair.labels - pair.contracted)) if stores else None,
        scale=1 if imaginary else scale.real if real else scale,
        kind=pair.kind,
        conj=complex_in and a.conj != b.conj,
    )
    return Product(
        term,
        take_a,
        take_b,
        tuple(sorted(pair.contracted)),
        conj_b=a.conj and b.value is not None,
        real=real,
        factor=scale if imaginary else 1,
        how=pair.how,
        num_multiplications=pair.num_multiplications,
        num_additions=pair.num_additions,
    )


class _Pair:
    """The labels of two values that are multiplied, and the kind of the result.

    For `sum_jk a[i, j] * b[j, k, l]`, `j` is shared and contracted, and `k` lone: b is
    summed over it before it meets a.

    A mask of `a`, which acts after `b`, shields what it leaves out from infinities on
    the way, as the `select` of a tangent does: it stays a mask, or chooses among the
    numbers that are summed. One of `b` does not.
    """

    def __init__(
        self, a: Term, b: Term, take_a: Take | None, take_b: Take | None, normal
    ):
        self.a, self.b, self.sizes = a, b, normal.sizes
        self.labels_a = {*take_a.labels} if take_a else set()
        self.labels_b = {*take_b.labels} if take_b else set()
        self.labels = self.labels_a | self.labels_b
        self.contracted = {*normal.summed} & self.labels
        self.shared = self.contracted & self.labels_a & self.labels_b
        self.lone = self.contracted - self.shared
        self.sums_a = not self.labels_a.isdisjoint(self.lone)
        self.sums_b = not self.labels_b.isdisjoint(self.lone)
        self.how: Mode = "dot"
        if take_a and a.kind == "selection" and _is_row(take_a, self.contracted):
            self.how = "pick"
        elif a.kind != "value" and self.shared and not self.sums_a:
            if self._size(self.labels) <= MAX_CHOSEN:
                self.how = "choose"

    def _size(self, indices: set[int]) -> int:
        return math.prod(self.sizes[i] for i in indices)

    @property
    def kind(self) -> Kind:
        """The kind of the product's value."""
        a, b = self.a, self.b
        sums_a = self.sums_a and self.how != "pick"
        if a.value is None:
            return "value" if self.sums_b else self._mask_like(b.kind)
        if b.value is None:
            return "value" if sums_a else self._mask_like(a.kind)
        if a.kind == "value" or sums_a or (self.shared and self.how != "pick"):
            return "value"
        if self.shared:
            return "value" if self.sums_b else self._mask_like(b.kind)
        both = a.is_mask and b.is_mask and not self.sums_b
        return self._mask_like("mask") if both else "masked"

    def _mask_like(self, kind: Kind) -> Kind:
        """A mask is a selection if both terms are: selections compose."""
        if kind not in ("mask", "selection"):
            return kind
        both = self.a.is_selection and self.b.is_selection
        return "selection" if both else "mask"

    @property
    def num_multiplications(self) -> int:
        """Multiplications of two numbers: `a[i, j] @ b[j, k]` takes `i * j * k`."""
        if self.a.value is None or self.b.value is None or self.how == "pick":
            return 0
        chooses = self.how == "choose" or not self.shared
        if self.a.is_mask and not self.sums_a and chooses:
            return 0
        return self._size(self.labels - self.lone)

    @property
    def num_additions(self) -> int:
        """Additions, if sums within one operand come first.

        `sum_jk a[i, j] * b[j, k]` sums b over `k` (`j * (k - 1)` additions), then the
        product over `j` (`i * (j - 1)`).
        """
        picks = self.how == "pick"
        operands = [self.labels_b] if picks else [self.labels_a, self.labels_b]
        sums = sum(self._size(x) - self._size(x - self.lone) for x in operands)
        if picks:
            return sums
        inner = self.labels - self.lone
        return sums + self._size(inner) - self._size(inner - self.shared)


def _is_row(take: Take, contracted: set[int]) -> bool:
    """True if each entry of a value is read at one place along what is summed over.

    The position `j` determines the contracted `j`; `3j + k` is shared with another.
    """
    return all(
        isinstance(form, Affine) and len(form.strides) == 1
        for form in take.forms
        if not contracted.isdisjoint(form.indices)
    )
