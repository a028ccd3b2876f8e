"""One structured term of a Jacobian block.

A term is an einsum with Kronecker deltas,

    J[o, i] = scale * sum_k value[k] prod_a (o_a == out_a(k)) prod_b (i_b == inp_b(k))

with every `out_a` and `inp_b` a form of the indices `k`, affine or a table. An index
shared by several axes ties them (diagonal); one that the value lacks is constant along
its axes (broadcast, reduction); sizes, strides and offsets are windows (slice, pad,
shift).

With `i` and `j` for the indices 0 and 1, and a value where `value` is given:

    diagonal of a vector    out (i,)   inp (i,)      value (0,)
    x[2::3]                 out (i,)   inp (2 + 3i,) value None
    sum of rows             out (j,)   inp (i, j)    value None
    full matrix             out (i,)   inp (j,)      value (0, 1)
    x[[4, 0, 4]]            out (i,)   inp (t[i],)   value None

The last has a table `t` of positions. Terms may have the same position for several
indices: there the values add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

from .keyed import keyed
from .positions.affine import Affine, single
from .positions.equations import SolutionSet
from .positions.table import Form, substituted, Table


Scalar = int | float | complex
Kind = Literal["value", "mask", "selection", "masked"]


@keyed("structure", "coefficient")
@dataclass(frozen=True, eq=False)
class Term:
    """One term of a block; see the module's docstring.

    `value` lists the indices that the value's axes run over, ascending; `None` stands
    for the constant one. The `kind` of a value that is stored is an array of numbers
    ("value"), of booleans that choose between `scale` and zero ("mask"; a "selection"
    if no output element reads more than one element of the input), or both, numbers of
    which a mask chooses some ("masked"). `conj` marks a term that acts on the conjugate
    of its (complex) input.
    """

    out: tuple[Form, ...]
    inp: tuple[Form, ...]
    sizes: tuple[int, ...]
    value: tuple[int, ...] | None
    scale: Scalar = 1
    kind: Kind = "value"
    conj: bool = False

    @property
    def axes(self) -> tuple[Form, ...]:
        """Positions along the axes of the block: the output's, then the input's."""
        return self.out + self.inp

    @property
    def structure(self):
        """Everything but the coefficient: terms of one structure add elementwise."""
        return self.out, self.inp, self.sizes, self.conj

    @property
    def coefficient(self):
        """The value's axes and kind, and the scale with its type (1 is not 1.0)."""
        return self.value, self.scale, type(self.scale), self.kind

    @cached_property
    def has_table(self) -> bool:
        """True if positions along an axis are a table."""
        return any(isinstance(form, Table) for form in self.axes)

    @cached_property
    def lines(self) -> dict[tuple[int, ...], tuple] | None:
        """The lines on which axes advance together, by these axes: the strides without
        a common factor, and the place of the line. None where positions are tables or
        sums.

        Of the band `out (i,) inp (2 + i,)`: `{(0, 1): ((1, 1), (0, 2))}`, whatever the
        range of `i`.
        """
        ties: dict[int, list[tuple[int, int, int]]] = {}
        for axis, form in enumerate(self.axes):
            if isinstance(form, Table) or len(form.strides) > 1:
                return None
            for index, stride in form.strides:
                ties.setdefault(index, []).append((axis, form.offset, stride))
        return dict(_line(tie) for tie in ties.values() if len(tie) > 1)

    @cached_property
    def bounds(self) -> tuple[tuple[int, int, int], ...]:
        """The first and the last position along each axis, and the largest stride."""
        bounds = []
        for form in self.axes:
            first, last = form.range(self.sizes.__getitem__)
            strides = [] if isinstance(form, Table) else form.strides
            largest = max((abs(stride) for _, stride in strides), default=1)
            bounds.append((first, last, largest))
        return tuple(bounds)

    @property
    def num_nonzeros(self) -> int:
        """Number of entries of the block that the term touches."""
        return math.prod(self.sizes)

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of the stored array."""
        return tuple(self.sizes[i] for i in self.value or ())

    @property
    def num_values(self) -> int:
        """Number of entries of the stored array; 0 if nothing is stored."""
        return 0 if self.value is None else math.prod(self.value_shape)

    @property
    def is_mask(self) -> bool:
        """True if the value is an array of booleans."""
        return self.value is not None and self.kind in ("mask", "selection")

    @cached_property
    def is_selection(self) -> bool:
        """True if no output element reads more than one element of the input, with a
        coefficient that is the same for all."""
        # A diagonal `out (i,)` of ones is: the output determines every index. A
        # reduction `out (), inp (i,)` is not.
        if self.value is not None and not self.is_mask:
            return False
        if self.value is not None and self.kind == "selection":
            return True
        sizes = self.sizes.__getitem__
        forms = [form for form in self.out if form.is_injective(sizes)]
        return {i for form in forms for i in form.indices} == {*range(len(self.sizes))}

    def transpose(self) -> tuple[Term, Take]:
        """The transposed term, and the positions in this value that make up its own."""
        # `out (i,) inp (j,) value (0, 1)` becomes `out (j,) inp (i,)`, in normal form
        # again `out (i,) inp (j,)`, with the value's two axes swapped.
        kind = "mask" if self.kind == "selection" else self.kind
        swapped = replace(self, out=self.inp, inp=self.out, kind=kind)
        return normalise(swapped, dict(enumerate(self.sizes)))


@dataclass(frozen=True)
class Take:
    """An array read at given positions: `result[labels] = array[forms(labels)]`.

    `sizes` gives the size of every label; labels are ascending. The transpose of a
    matrix has the forms `(j, i)` for the labels `(i, j)`, its diagonal `(i, i)` for
    `(i,)`.
    """

    forms: tuple[Form, ...]
    labels: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def is_identity(self) -> bool:
        """True if the result is the array itself."""
        return self.forms == tuple(single(label) for label in self.labels)


class Renumbering:
    """The axes of a term in normal form, and the new name of every free index.

    Indices are numbered by first appearance in an output, then an input axis; there the
    stride is positive. Other indices (to be summed over) come last. So `out (5 - k,)`
    and `inp (k, m)` with `k < 6` become `out (i,)` and `inp (5 - i, j)`.
    """

    def __init__(
        self,
        solutions: SolutionSet,
        out: tuple[Form, ...],
        inp: tuple[Form, ...],
    ):
        self._values = solutions.values
        self._forms: dict[int, Affine] = {}
        axes = [solutions.resolve(axis) for axis in out + inp]
        for axis in axes:
            for index, stride in _by_stride(axis):
                if index not in self._forms:
                    new, size = len(self._forms), solutions.sizes[index]
                    reverse = Affine(size - 1, ((new, -1),))
                    self._forms[index] = single(new) if stride > 0 else reverse
        num_kept = len(self._forms)
        for index in solutions.sizes:
            if index not in self._forms:
                self._forms[index] = single(len(self._forms))
        self.sizes = tuple(solutions.sizes[index] for index in self._forms)
        self.kept_sizes = self.sizes[:num_kept]
        self.summed = range(num_kept, len(self._forms))
        renumbered = tuple(map(self._renumbered, axes))
        self.out, self.inp = renumbered[: len(out)], renumbered[len(out) :]

    def take(self, indices: Iterable[int]) -> Take:
        """The positions of an array over these original indices, in the new ones."""
        values = (self._values[index] for index in indices)
        forms = tuple(map(self._renumbered, values))
        labels = tuple(sorted({i for form in forms for i in form.indices}))
        return Take(forms, labels, tuple(self.sizes[i] for i in labels))

    def _renumbered(self, form: Form) -> Form:
        return substituted(form, self._forms.__getitem__, self.sizes.__getitem__)


def _by_stride(form: Form) -> list[tuple[int, int]]:
    """The pairs of index and stride, the longest first; those of a table as 1."""
    if isinstance(form, Table):
        return [(index, 1) for index in form.indices]
    return sorted(form.strides, key=lambda pair: -abs(pair[1]))


def _line(tie: list[tuple[int, int, int]]) -> tuple[tuple[int, ...], tuple]:
    """The axes of a tie of `(axis, offset, stride)`, and their line."""
    axes, offsets, strides = zip(*tie)
    factor = math.copysign(math.gcd(*strides), strides[0])
    slopes = [int(stride // factor) for stride in strides]
    offsets = [o * slopes[0] - offsets[0] * slope for o, slope in zip(offsets, slopes)]
    return axes, (tuple(slopes), tuple(offsets))


def normalise(term: Term, sizes: dict[int, int]) -> tuple[Term, Take]:
    """A term over any indices in normal form, and how its value is read.

    `out (j,) inp (i, j) value (0, 1)` becomes `out (i,) inp (j, i) value (0, 1)`, and
    the value is transposed.
    """
    normal = Renumbering(SolutionSet(sizes), term.out, term.inp)
    assert not normal.summed, "an index that no axis has"
    take = normal.take(term.value or ())
    value = None if term.value is None else take.labels
    out, inp, kept = normal.out, normal.inp, normal.kept_sizes
    return replace(term, out=out, inp=inp, sizes=kept, value=value), take


# Sums of many terms ask for that of their block again and again.
@lru_cache(maxsize=1024)
def dense_term(
    out_shape: tuple[int, ...], inp_shape: tuple[int, ...], conj: bool = False
) -> Term:
    """The term that ties no axes.

    For the shapes `(2,)` and `(3,)`: `out (i,) inp (j,) value (0, 1)`.
    """
    sizes = dict(enumerate(out_shape + inp_shape))
    axes, num_out = tuple(map(single, sizes)), len(out_shape)
    term = Term(axes[:num_out], axes[num_out:], (), tuple(sizes), conj=conj)
    return normalise(term, sizes)[0]
