"""One structured term of a Jacobian block.

A term is an einsum with Kronecker deltas,

    J[o, i] = scale * sum_k value[k] prod_a (o_a == out_a(k)) prod_b (i_b == inp_b(k))

with every `out_a` and `inp_b` an affine form of the indices `k`. An index shared by
several axes ties them (diagonal); one that the value lacks is constant along its axes
(broadcast, reduction); sizes, strides and offsets are windows (slice, pad, shift).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from .affine import Affine, single, System
from .keyed import Keyed


Scalar = int | float | complex
Kind = Literal["value", "mask", "selection", "masked"]


@dataclass(frozen=True, eq=False)
class Term(Keyed):
    """One term of a block; see the module's docstring.

    `value` lists the indices that the value's axes run over, ascending; `None` says
    that the value is known to be one. The `kind` of a value that is stored is an array
    of numbers ("value"), of booleans that choose between `scale` and zero ("mask"; a
    "selection" if no output element reads more than one element of the input), or
    both, numbers of which a mask chooses some ("masked"). `conj` says that the term
    acts on the conjugate of its (complex) input.
    """

    out: tuple[Affine, ...]
    inp: tuple[Affine, ...]
    sizes: tuple[int, ...]
    value: tuple[int, ...] | None
    scale: Scalar = 1
    kind: Kind = "value"
    conj: bool = False

    @property
    def _key(self):
        coefficient = self.value, self.scale, type(self.scale), self.kind
        return self.out, self.inp, self.sizes, self.conj, coefficient

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

    @property
    def is_mask(self) -> bool:
        """Whether the value is an array of booleans."""
        return self.value is not None and self.kind in ("mask", "selection")

    @cached_property
    def is_selection(self) -> bool:
        """Whether no output element reads more than one element of the input, with a
        coefficient that is the same for all."""
        if self.value is not None and not self.is_mask:
            return False
        if self.value is not None and self.kind == "selection":
            return True
        forms = [form for form in self.out if _is_injective(form, self.sizes)]
        return {i for form in forms for i in form.indices} == {*range(len(self.sizes))}

    def transpose(self) -> tuple[Term, Take]:
        """The transposed term, and how its value is taken from this one's."""
        indices = dict(enumerate(self.sizes))
        kind = "mask" if self.kind == "selection" else self.kind
        turned = replace(self, out=self.inp, inp=self.out, kind=kind)
        return normalise(turned, indices)


def _is_injective(form: Affine, sizes: tuple[int, ...]) -> bool:
    """Whether the position tells every index, as that of mixed radices does."""
    reach = 0
    for index, stride in sorted(form.strides, key=lambda pair: abs(pair[1])):
        if abs(stride) <= reach:
            return False
        reach += abs(stride) * (sizes[index] - 1)
    return True


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


def take_of(forms: tuple[Affine, ...], sizes: dict[int, int]) -> Take:
    labels = tuple(sorted({i for form in forms for i in form.indices}))
    return Take(forms, labels, tuple(sizes[i] for i in labels))


class Renumbering:
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
    new = Renumbering(out + inp, system.sizes)
    assert new.num_kept == len(system.sizes), "an index that no axis has"
    forms = tuple(new(system.resolve(single(i))) for i in term.value or ())
    take = take_of(forms, new.sizes)
    value = None if term.value is None else take.labels
    normal = replace(
        term,
        out=tuple(map(new, out)),
        inp=tuple(map(new, inp)),
        sizes=tuple(new.sizes[i] for i in range(new.num_kept)),
        value=value,
    )
    return normal, take
