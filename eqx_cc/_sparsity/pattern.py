"""The structure of one Jacobian block, known before any number is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

from .affine import Affine, Unsolved
from .keyed import Keyed
from .product import multiply, Product
from .recipe import Sum
from .sum import combine, dense, densify
from .term import normalise, Scalar, Take, Term


_MEMO = 1 << 16


@dataclass(frozen=True, eq=False)
class Pattern(Keyed):
    r"""The sparsity structure of one block of a Jacobian: a sum of terms

    $$J_{oi} = \sum_t \text{scale}_t \sum_k v_t[k]
      \prod_a \delta(o_a, \text{out}_{ta}(k)) \prod_b \delta(i_b, \text{inp}_{tb}(k))$$

    in which every position is an affine form of the indices $k$. Identity, diagonal,
    band, broadcast, reduction, permutation, outer product and dense block are all
    patterns; composing them is unify-then-einsum. Patterns are static and hashable.

    !!! Example

        ```python
        block = eqx_cc.cc_jacobian(jnp.sin, structured=True)(jnp.ones(3))
        block.pattern.name, block.pattern.num_values  # "diagonal", 3
        ```
    """

    out_shape: tuple[int, ...]
    in_shape: tuple[int, ...]
    terms: tuple[Term, ...]
    complex_out: bool = False
    complex_in: bool = False

    @property
    def _key(self):
        flags = self.complex_out, self.complex_in
        return self.out_shape, self.in_shape, self.terms, flags

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions of the block: those of the output, then of the input."""
        return self.out_shape + self.in_shape

    @property
    def is_zero(self) -> bool:
        """Whether the block is zero whatever the values are."""
        return not self.terms

    @property
    def is_dense(self) -> bool:
        """Whether every entry of the block is stored."""
        return any(term.num_values == math.prod(self.shape) > 1 for term in self.terms)

    @property
    def num_values(self) -> int:
        """How many numbers a `Partial` of this pattern stores."""
        return sum(term.num_values for term in self.terms)

    @property
    def num_nonzeros(self) -> int:
        """How many entries its terms touch (those of several terms count again)."""
        return sum(term.num_nonzeros for term in self.terms)

    @property
    def transpose(self) -> tuple[Pattern, tuple[Take, ...]]:
        """The transposed pattern, and how its values are read from this one's."""
        pairs = [term.transpose() for term in self.terms]
        flags = self.complex_in, self.complex_out
        terms = tuple(term for term, _ in pairs)
        return Pattern(self.in_shape, self.out_shape, terms, *flags), tuple(
            take for _, take in pairs
        )

    @property
    def name(self) -> str:
        """A readable name of the structure, as `"diagonal"` or `"dense"`."""
        return describe(self)

    def __str__(self) -> str:
        return f"{self.out_shape} <- {self.in_shape}: {self.name}"


def identity(
    shape: tuple[int, ...], scale: Scalar = 1, complex: bool = False
) -> Pattern:
    """The pattern of `scale` times the identity."""
    axes = tuple(Affine(0, ((i, 1),)) for i in range(len(shape)))
    return pattern(shape, shape, [Term(axes, axes, (), None, scale)], complex, complex)


def pattern(
    out_shape: tuple[int, ...],
    in_shape: tuple[int, ...],
    terms,
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
    """Sizes given by the term, or else by the axes that an index runs over alone."""
    if term.sizes:
        return dict(enumerate(term.sizes))
    forms = zip(term.out + term.inp, shape)
    return {i: n for form, n in forms for i in form.indices}


def dense_pattern(
    out_shape: tuple[int, ...],
    in_shape: tuple[int, ...],
    complex_out: bool = False,
    complex_in: bool = False,
    conj: bool = False,
) -> Pattern:
    """The pattern in which no axes are tied and nothing is known."""
    terms = () if 0 in out_shape + in_shape else (dense(out_shape, in_shape, conj),)
    return Pattern(out_shape, in_shape, terms, complex_out, complex_in)


@dataclass(frozen=True)
class Composition:
    """How the values of the terms of `left @ right` come from those of the two.

    `densify_left`, `densify_right`: made dense first, for want of a structured result.
    """

    products: tuple[tuple[int, int, Product], ...]
    densify_left: Sum | None = None
    densify_right: Sum | None = None

    @cached_property
    def sums(self) -> tuple[Sum, ...]:
        both = self.densify_left, self.densify_right
        return tuple(total for total in both if total is not None)

    @cached_property
    def num_multiplications(self) -> int:
        """Multiplications of two numbers, neither of which is a known constant."""
        return sum(product.num_multiplications for _, _, product in self.products)

    @cached_property
    def num_additions(self) -> int:
        return sum(product.num_additions for _, _, product in self.products)


@dataclass(frozen=True)
class Update:
    """How the values of `old + left @ right` come from those of the three blocks."""

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
        sums = sum(s.num_additions for s in (self.sum, *self.composition.sums))
        return self.composition.num_additions + sums


@lru_cache(maxsize=_MEMO)
def compose(left: Pattern, right: Pattern) -> Composition:
    """`left @ right`, symbolically."""
    assert left.in_shape == right.out_shape
    try:
        return Composition(_products(left, right))
    except Unsolved:
        pass
    if left.num_values < right.num_values:
        total, left = _made_dense(left)
        return Composition(_products(left, right), densify_left=total)
    total, right = _made_dense(right)
    return Composition(_products(left, right), densify_right=total)


@lru_cache(maxsize=_MEMO)
def update(old: Pattern | None, left: Pattern, right: Pattern) -> Update:
    """`old + left @ right`, symbolically; `old` may be None (zero)."""
    composition = compose(left, right)
    terms = [] if old is None else list(old.terms)
    terms += [product.term for _, _, product in composition.products]
    total = combine(terms, left.out_shape + right.in_shape)
    new = Pattern(
        left.out_shape,
        right.in_shape,
        tuple(group.target for group in total.groups),
        left.complex_out,
        right.complex_in,
    )
    return Update(new, composition, total)


def _products(left: Pattern, right: Pattern) -> tuple[tuple[int, int, Product], ...]:
    flags = left.complex_out, right.complex_in
    return tuple(
        (i, j, product)
        for i, a in enumerate(left.terms)
        for j, b in enumerate(right.terms)
        for product in multiply(a, b, *flags)
    )


def _made_dense(block: Pattern) -> tuple[Sum, Pattern]:
    total = densify(block.terms, block.shape, len(block.out_shape))
    terms = tuple(group.target for group in total.groups)
    flags = block.complex_out, block.complex_in
    return total, Pattern(block.out_shape, block.in_shape, terms, *flags)


@lru_cache(maxsize=_MEMO)
def add(*blocks: Pattern) -> tuple[Pattern, Sum]:
    """The sum of blocks: its pattern, and how its values come from all of theirs."""
    first = blocks[0]
    total = combine([term for block in blocks for term in block.terms], first.shape)
    terms = tuple(group.target for group in total.groups)
    flags = first.complex_out, first.complex_in
    return Pattern(first.out_shape, first.in_shape, terms, *flags), total


def describe(block: Pattern) -> str:
    """A readable name for the structure of a block."""
    if block.is_zero:
        return "zero"
    if len(block.terms) == 1:
        return _describe_term(block.terms[0], block)
    offsets = {_band(term) for term in block.terms}
    if None not in offsets:
        listed = sorted(offset for offset in offsets if offset is not None)
        return f"banded (offsets {', '.join(map(str, listed))})"
    return " + ".join(dict.fromkeys(_describe_term(t, block) for t in block.terms))


def _band(term: Term) -> int | None:
    """The offset of a (shifted) diagonal of a square matrix."""
    if len(term.out) != 1 or len(term.inp) != 1:
        return None
    (out,), (inp,) = term.out, term.inp
    return inp.offset - out.offset if out.strides == inp.strides else None


def _describe_term(term: Term, block: Pattern) -> str:
    if not block.shape:
        return "scalar" if term.value is not None else f"constant {term.scale}"
    tied = [i for i in range(len(term.sizes)) if _on_both_sides(term, i)]
    known = term.value is None
    if len(tied) == len(term.sizes):
        if block.out_shape != block.in_shape or term.out != term.inp:
            return "selection" if known else "shifted diagonal"
        if term.num_nonzeros < math.prod(block.out_shape):
            return "known partial diagonal" if known else "partial diagonal"
        if known:
            return "identity" if term.scale == 1 else "known diagonal"
        return "diagonal"
    if not tied:
        full = term.num_nonzeros == math.prod(block.shape)
        if known or len(term.value or ()) < len(term.sizes):
            return "constant along axes" if full else "window, constant along axes"
        return "dense" if full else "dense window"
    return "block-diagonal"


def _on_both_sides(term: Term, index: int) -> bool:
    return any(index in f.indices for f in term.out) and any(
        index in f.indices for f in term.inp
    )
