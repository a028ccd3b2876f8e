"""The structure of one Jacobian block, before any number is computed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from .keyed import keyed
from .positions.affine import Affine, single
from .positions.matching import TooManyPairs
from .positions.table import Table
from .product import multiply, Product
from .recipes import Sum
from .sum import add_terms, densify
from .term import dense_term, normalise, Scalar, Take, Term


T = TypeVar("T")

# Products and sums of patterns are kept: a search asks for the same ones again.
_MEMO = 1 << 16
# Of tables with more entries than this, only the last recipes are kept: they are large.
_LARGE, _MEMO_LARGE = 1 << 12, 256
# Products of terms without tables: patterns of one function have many in common.
_MEMO_TERMS = 1 << 14


def _remembered(function: Callable[..., T]) -> Callable[..., T]:
    """Keeps the results of a function of patterns."""
    results = functools.lru_cache(maxsize=_MEMO)(function)
    large = functools.lru_cache(maxsize=_MEMO_LARGE)(function)

    @functools.wraps(function)
    def remembered(*patterns: Any) -> T:
        for block in patterns:
            if block is not None and block._has_large_table:
                return large(*patterns)
        return results(*patterns)

    return remembered


@keyed("out_shape", "in_shape", "terms", "complex_out", "complex_in")
@dataclass(frozen=True, eq=False)
class Pattern:
    r"""The sparsity structure of one block of a Jacobian: a sum of terms

    $$J_{oi} = \sum_t \text{scale}_t \sum_k v_t[k]
      \prod_a \delta(o_a, \text{out}_{ta}(k)) \prod_b \delta(i_b, \text{inp}_{tb}(k))$$

    in which every position is an affine form of the indices $k$, or a table of them.
    Identity, diagonal, band, broadcast, reduction, permutation, outer product, the
    assembly of a mesh and a dense block are all patterns; composing them is
    unify-then-einsum. Patterns are static and hashable.

    !!! Example

        ```python
        block = eqx_cc.cc_jacobian(jnp.sin, structured=True)(jnp.ones(3))
        print(block.pattern.name, block.pattern.num_values)
        ```

        ```text
        diagonal 3
        ```
    """

    out_shape: tuple[int, ...]
    in_shape: tuple[int, ...]
    terms: tuple[Term, ...]
    complex_out: bool = False
    complex_in: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions of the block: those of the output, then of the input."""
        return self.out_shape + self.in_shape

    @property
    def is_zero(self) -> bool:
        """True if the block is zero for all values."""
        return not self.terms

    @property
    def is_dense(self) -> bool:
        """True if every entry of the block is stored."""
        return any(term.num_values == math.prod(self.shape) > 1 for term in self.terms)

    @cached_property
    def _has_large_table(self) -> bool:
        """True if a position is a table of thousands of entries."""
        forms = (form for term in self.terms for form in term.axes)
        return any(isinstance(f, Table) and f.array.size > _LARGE for f in forms)

    @property
    def num_values(self) -> int:
        """Number of values that a `Partial` of this pattern stores."""
        return sum(term.num_values for term in self.terms)

    @property
    def num_nonzeros(self) -> int:
        """Number of entries that its terms touch; those of several count again."""
        return sum(term.num_nonzeros for term in self.terms)

    @cached_property
    def num_listed(self) -> int:
        """Number of entries of the terms whose positions are tables."""
        return sum(term.num_nonzeros for term in self.terms if term.has_table)

    @property
    def transpose(self) -> tuple[Pattern, tuple[Take, ...]]:
        """The transposed pattern, and how its values are read from this one's."""
        pairs = [term.transpose() for term in self.terms]
        terms, takes = tuple(t for t, _ in pairs), tuple(take for _, take in pairs)
        flags = self.complex_in, self.complex_out
        return Pattern(self.in_shape, self.out_shape, terms, *flags), takes

    @property
    def name(self) -> str:
        """A readable name of the structure, as `"diagonal"` or `"dense"`."""
        if self.is_zero:
            return "zero"
        if len(self.terms) == 1:
            return _term_name(self.terms[0], self)
        offsets = {_band(term) for term in self.terms}
        if None not in offsets:
            bands = sorted(offset for offset in offsets if offset is not None)
            return f"banded (offsets {', '.join(map(str, bands))})"
        return " + ".join(dict.fromkeys(_term_name(term, self) for term in self.terms))

    def __str__(self) -> str:
        return f"{self.out_shape} <- {self.in_shape}: {self.name}"


#
# Patterns from shapes and terms
#


def identity(
    shape: tuple[int, ...], scale: Scalar = 1, complex: bool = False
) -> Pattern:
    """The pattern of `scale` times the identity: `out (i, j) inp (i, j)`, no value."""
    axes = tuple(map(single, range(len(shape))))
    return pattern(shape, shape, [Term(axes, axes, (), None, scale)], complex, complex)


def dense_pattern(
    out_shape: tuple[int, ...],
    in_shape: tuple[int, ...],
    complex_out: bool = False,
    complex_in: bool = False,
    conj: bool = False,
) -> Pattern:
    """The pattern that ties no axes and stores every entry."""
    terms = (
        () if 0 in out_shape + in_shape else (dense_term(out_shape, in_shape, conj),)
    )
    return Pattern(out_shape, in_shape, terms, complex_out, complex_in)


def pattern(
    out_shape: tuple[int, ...],
    in_shape: tuple[int, ...],
    terms: Iterable[Term],
    complex_out: bool = False,
    complex_in: bool = False,
) -> Pattern:
    """A pattern from terms that may not be in normal form, for values in the order
    of `value` (ascending indices), which normalising must not change."""
    normal = []
    for term in terms:
        sizes = _index_sizes(term, out_shape + in_shape)
        new, take = normalise(term, sizes)
        assert term.value is None or take.is_identity, "value axes out of order"
        normal.append(new)
    if 0 in out_shape + in_shape:
        normal = []
    return Pattern(out_shape, in_shape, tuple(normal), complex_out, complex_in)


def _index_sizes(term: Term, shape: tuple[int, ...]) -> dict[int, int]:
    """Sizes that the term states, or else of the axes that an index runs over alone."""
    if term.sizes:
        return dict(enumerate(term.sizes))
    return {i: size for form, size in zip(term.axes, shape) for i in form.indices}


#
# Products and sums
#


@dataclass(frozen=True)
class Composition:
    """The recipe of `left @ right`: a product for each pair of terms that meet.

    `densify_left`, `densify_right`: made dense first, for want of a structured result.
    """

    products: tuple[tuple[int, int, Product], ...]
    densify_left: Sum | None = None
    densify_right: Sum | None = None

    @cached_property
    def sums(self) -> tuple[Sum, ...]:
        """The sums that make an operand dense."""
        both = self.densify_left, self.densify_right
        return tuple(total for total in both if total is not None)

    @cached_property
    def num_multiplications(self) -> int:
        """Multiplications of two numbers, neither of which is a known constant."""
        return sum(product.num_multiplications for _, _, product in self.products)

    @cached_property
    def num_additions(self) -> int:
        """Additions within the products."""
        return sum(product.num_additions for _, _, product in self.products)


@dataclass(frozen=True)
class Update:
    """The recipe of `old + left @ right`, whose pattern is `pattern`."""

    pattern: Pattern
    composition: Composition
    sum: Sum

    @property
    def num_multiplications(self) -> int:
        """Multiplications of two numbers, neither of which is a known constant."""
        return self.composition.num_multiplications

    @cached_property
    def num_scalings(self) -> int:
        """Multiplications by known constants other than 1 and -1."""
        return sum(s.num_scalings for s in (self.sum, *self.composition.sums))

    @cached_property
    def num_additions(self) -> int:
        """Additions within the products, and of their results."""
        sums = sum(s.num_additions for s in (self.sum, *self.composition.sums))
        return self.composition.num_additions + sums


@_remembered
def compose(left: Pattern, right: Pattern) -> Composition:
    """`left @ right`, symbolically.

    A diagonal times a full matrix scales its rows. A band after a band is a band:
    offsets add, so that tridiagonal times tridiagonal has the offsets -2 to 2. A sum
    of rows after a broadcast to 7 rows is 7 times the identity, without a product.
    """
    assert left.in_shape == right.out_shape
    try:
        return Composition(_products(left, right))
    except TooManyPairs:
        pass
    if left.num_values < right.num_values:
        total, left = _densified(left)
        return Composition(_products(left, right), densify_left=total)
    total, right = _densified(right)
    return Composition(_products(left, right), densify_right=total)


@_remembered
def update(old: Pattern | None, left: Pattern, right: Pattern) -> Update:
    """`old + left @ right`, symbolically; `old` may be None (zero).

    The elimination of a vertex updates the edge from each predecessor to each
    successor so. A diagonal plus a product of two diagonals stays one diagonal.
    """
    composition = compose(left, right)
    terms = () if old is None else old.terms
    products = tuple(product.term for _, _, product in composition.products)
    total = add_terms(terms + products, left.out_shape + right.in_shape)
    flags = left.complex_out, right.complex_in
    new = Pattern(left.out_shape, right.in_shape, total.terms, *flags)
    return Update(new, composition, total)


@_remembered
def add(*blocks: Pattern) -> tuple[Pattern, Sum]:
    """The sum of patterns, and the recipe that adds up their values.

    A diagonal and a band next to it are `banded (offsets 0, 1)`, two terms; a diagonal
    and a full matrix are the full matrix, one term.
    """
    first = blocks[0]
    total = add_terms([term for block in blocks for term in block.terms], first.shape)
    return replace(first, terms=total.terms), total


def _products(left: Pattern, right: Pattern) -> tuple[tuple[int, int, Product], ...]:
    flags = left.complex_out, right.complex_in
    return tuple(
        (i, j, product)
        for i, a in enumerate(left.terms)
        for j, b in enumerate(right.terms)
        for product in _multiplied(a, b, *flags)
    )


def _multiplied(
    a: Term, b: Term, complex_out: bool, complex_in: bool
) -> Sequence[Product]:
    has_table = a.has_table or b.has_table
    return (multiply if has_table else _kept)(a, b, complex_out, complex_in)


_kept = functools.lru_cache(maxsize=_MEMO_TERMS)(multiply)


def _densified(block: Pattern) -> tuple[Sum, Pattern]:
    total = densify(block.terms, block.shape, len(block.out_shape))
    return total, replace(block, terms=total.terms)


#
# Names
#


def _band(term: Term) -> int | None:
    """The offset of a (shifted) diagonal of a matrix: 2 for `out (i,) inp (2 + i,)`."""
    if len(term.out) != 1 or len(term.inp) != 1:
        return None
    (out,), (inp,) = term.out, term.inp
    if not (isinstance(out, Affine) and isinstance(inp, Affine)):
        return None
    return inp.offset - out.offset if out.strides == inp.strides else None


def _term_name(term: Term, block: Pattern) -> str:
    """The name by the ties across: all indices tied is a diagonal of some kind, none a
    dense or constant block, some a block-diagonal."""
    constant = term.value is None
    if not block.shape:
        return f"constant {term.scale}" if constant else "scalar"
    if term.has_table:
        return "sparse selection" if constant else "sparse"
    out, inp = ({i for f in side for i in f.indices} for side in (term.out, term.inp))
    tied = len(out & inp)
    if tied == len(term.sizes):
        return _diagonal_name(term, block)
    if tied:
        return "block-diagonal"
    full = term.num_nonzeros == math.prod(block.shape)
    if len(term.value or ()) < len(term.sizes):
        return "constant along axes" if full else "window, constant along axes"
    return "dense" if full else "dense window"


def _diagonal_name(term: Term, block: Pattern) -> str:
    constant = term.value is None
    if block.out_shape != block.in_shape or term.out != term.inp:
        return "selection" if constant else "shifted diagonal"
    if term.num_nonzeros < math.prod(block.out_shape):
        return "known partial diagonal" if constant else "partial diagonal"
    if constant:
        return "identity" if term.scale == 1 else "known diagonal"
    return "diagonal"
