"""The algebra of patterns, against dense NumPy matrices: blocks that hypothesis draws,
and shrinks to the smallest for which a law does not hold."""

import dataclasses
import itertools as it
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from eqx_cc import Partial, Pattern
from eqx_cc._blocks.arrays import as_numbers
from eqx_cc._sparsity.pattern import compose
from eqx_cc._sparsity.positions.affine import Affine, single
from eqx_cc._sparsity.positions.table import Form, tabulated
from eqx_cc._sparsity.term import normalise, Term
from hypothesis import assume, find, given, HealthCheck, Phase, settings
from test_affine import enumerated, evaluate, solutions, solve
from test_pattern import (
    assert_same,
    COMPLEX,
    densified,
    FLOAT,
    matmul,
    numbers,
    partial,
    product,
    total,
    transposed,
)


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
FEW = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=20,
    suppress_health_check=SLOW,
)
MANY = settings(FEW, max_examples=600)
# beartype picks by `random` which items of a sequence it looks at.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
repeated = pytest.mark.parametrize(
    "examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["few", "many"]
)


#
# Terms
#


@dataclasses.dataclass
class _Axes:
    """Positions along the axes of a term, drawn one after the other."""

    draw: st.DrawFn
    sizes: dict[int, int] = dataclasses.field(default_factory=dict)

    def form(self, length: int) -> Form:
        """All of an axis, a window of one index or of two in a row, one position, or a
        table of them over one or two indices."""
        kinds = ["whole", "whole", "index", "fixed", "table", "table"]
        kinds += 2 * ["flat"] * (length > 3)
        kind = self.draw(st.sampled_from(kinds))
        if kind == "whole":
            return single(self._index(length, least=length))
        if kind == "fixed":
            return Affine(self.draw(st.integers(0, length - 1)))
        if kind == "table":
            return self._table(length)
        if kind == "index":
            index = self._index(length)
            return self._placed({index: self._step(index, length)}, length)
        inner = self._index(length // 2)
        outer = self._index(length // self.sizes[inner], apart_from=inner)
        return self._placed({inner: 1, outer: self.sizes[inner]}, length)

    def _table(self, length: int) -> Form:
        labels = sorted({self._index(4) for _ in range(self.draw(st.integers(1, 2)))})
        shape = [self.sizes[label] for label in labels]
        places = st.integers(0, length - 1)
        size = math.prod(shape)
        entries = self.draw(st.lists(places, min_size=size, max_size=size))
        return tabulated(np.array(entries).reshape(shape), labels)

    def _index(self, most: int, least: int = 1, apart_from: int | None = None) -> int:
        """An index of about this size, new or one that other axes have."""
        fitting = [
            index
            for index, size in self.sizes.items()
            if least <= size <= most and index != apart_from
        ]
        index = self.draw(st.sampled_from([*fitting, len(self.sizes)]))
        if index == len(self.sizes):
            spared = self.draw(st.just(0) | st.integers(0, most - least))
            self.sizes[index] = most - spared
        return index

    def _step(self, index: int, length: int) -> int:
        reach = self.sizes[index] - 1
        steps = [s for s in (1, -1, 2, -2, 3) if abs(s) * reach < length]
        return self.draw(st.sampled_from(steps))

    def _placed(self, strides: dict[int, int], length: int) -> Affine:
        form = Affine(0, tuple(sorted(strides.items())))
        low, high = form.range(self.sizes.__getitem__)
        offset = self.draw(st.integers(0, length - 1 - (high - low)))
        return form._replace(offset=offset - low)


Flags = tuple[bool, bool]
REAL: Flags = (False, False)


@st.composite
def terms(draw: st.DrawFn, out_shape, in_shape, flags: Flags) -> Term:
    """Ties of axes on one side and across, constants, windows, steps, reversals."""
    axes = _Axes(draw)
    forms = [axes.form(length) for length in out_shape + in_shape]
    used = {index for form in forms for index in form.indices}
    sizes = {index: n for index, n in axes.sizes.items() if index in used or n == 1}
    varying = st.lists(st.sampled_from([*sizes]), unique=True).map(sorted).map(tuple)
    value = draw(
        st.sampled_from([(*sizes,), None]) | (varying if sizes else st.just(()))
    )
    scales = [1, 1, 1, -1, 2, 0.5] + [1j, 0.5 - 2j] * any(flags)
    term = Term(
        out=tuple(forms[: len(out_shape)]),
        inp=tuple(forms[len(out_shape) :]),
        sizes=(),
        value=value,
        scale=draw(st.sampled_from(scales)),
        conj=flags[1] and draw(st.booleans()),
    )
    kinds = ["value"] + ["mask"] * (value is not None)
    term = normalise(
        dataclasses.replace(term, kind=draw(st.sampled_from(kinds))), sizes
    )
    return term[0]


@st.composite
def blocks(draw: st.DrawFn, out_shape, in_shape, flags: Flags = REAL) -> Partial:
    """Up to three terms, with random values."""
    count = 0 if 0 in out_shape + in_shape else draw(st.integers(1, 3))
    drawn = tuple(draw(terms(out_shape, in_shape, flags)) for _ in range(count))
    block = Pattern(out_shape, in_shape, drawn, *flags)
    seed = draw(st.integers(0, 3))
    return partial(block, seed, COMPLEX if any(flags) else FLOAT)


SHAPES = st.lists(st.sampled_from([2, 1, 3, 4, 6, 0]), max_size=2).map(tuple)
SPACES = st.tuples(SHAPES, st.sampled_from([False, False, True]))


@st.composite
def chains(draw: st.DrawFn, length: int, is_real: bool = False) -> list[Partial]:
    """Blocks of which each can be multiplied by the next."""
    spaces = [draw(SPACES)]
    for _ in range(length):
        spaces.append(draw(st.just(spaces[-1]) | SPACES))
    if is_real:
        spaces = [(shape, False) for shape, _ in spaces]
    dtype = COMPLEX if any(is_complex for _, is_complex in spaces) else FLOAT
    chain = [
        draw(blocks(out, inp, (complex_out, complex_in)))
        for (out, complex_out), (inp, complex_in) in it.pairwise(spaces)
    ]
    return [dataclasses.replace(block, dtype=dtype) for block in chain]


@st.composite
def sums(draw: st.DrawFn, count: int) -> list[Partial]:
    """Blocks of one shape."""
    out, complex_out = draw(SPACES)
    inp, complex_in = draw(st.just((out, complex_out)) | SPACES)
    return [draw(blocks(out, inp, (complex_out, complex_in))) for _ in range(count)]


#
# What is known of a block symbolically
#


def position(form: Form, index) -> int:
    return evaluate(form, dict(enumerate(index)))


def positions(block: Pattern) -> np.ndarray:
    """How often the terms touch each entry."""
    counts = np.zeros(block.shape, int)
    for term in block.terms:
        for index in np.ndindex(*term.sizes):
            at = tuple(position(form, index) for form in term.out + term.inp)
            counts[at] += 1
    return counts


def assert_counted(block: Partial):
    """What a pattern says of its entries is what is stored."""
    pattern, counts = block.pattern, positions(block.pattern)
    stored = [as_numbers(x, block.dtype) for x in block.values if x is not None]
    assert pattern.num_nonzeros == counts.sum()
    assert pattern.num_values == sum(value.size for value in stored)
    assert pattern.is_zero == (not pattern.terms)
    assert not np.any(np.array(numbers(block))[:, counts == 0])


def pairs_that_meet(left: Pattern, right: Pattern) -> int:
    """How many pairs of entries the product of two dense matrices has to multiply."""
    rank = len(left.in_shape)
    columns = positions(left).sum(axis=tuple(range(len(left.out_shape))))
    rows = positions(right).sum(axis=tuple(range(rank, len(right.shape))))
    return int((columns * rows).sum())


#
# Laws
#


@repeated
def test_products(examples):
    @examples
    @given(chains(2), st.data())
    def check(chain, data):
        left, right = chain
        flags = left.pattern.complex_out, right.pattern.complex_in
        old = data.draw(blocks(left.out_shape, right.in_shape, flags))
        old = dataclasses.replace(old, dtype=left.dtype)
        expected = np.array(matmul(numbers(left), numbers(right), len(left.in_shape)))
        alone, updated = product(left, right), product(left, right, old)
        assert_same(alone, expected)
        assert_same(updated, expected + numbers(old))
        assert_counted(updated)

    check()


@repeated
def test_counts_of_products(examples):
    @examples
    @given(chains(2, is_real=True))
    def check(chain):
        left, right = (block.pattern for block in chain)
        recipe = compose(left, right)
        most = pairs_that_meet(left, right)
        if not recipe.sums:
            assert recipe.num_multiplications <= most
            nonzeros = sum(p.term.num_nonzeros for _, _, p in recipe.products)
            assert nonzeros <= most
        if left.num_values == 0 or right.num_values == 0:
            assert recipe.num_multiplications == 0

    check()


@repeated
def test_chains(examples):
    """Products of products, in both orders."""

    @examples
    @given(chains(3, is_real=True))
    def check(chain):
        a, b, c = chain
        expected = matmul(numbers(a), numbers(b), len(a.in_shape))
        expected = matmul(expected, numbers(c), len(b.in_shape))
        assert_same(product(product(a, b), c), expected)
        assert_same(product(a, product(b, c)), expected)

    check()


@repeated
def test_sums(examples):
    @examples
    @given(sums(3))
    def check(summands):
        expected = sum(np.array(numbers(block)) for block in summands)
        whole = total(*summands)
        assert_same(whole, expected)
        assert_same(total(*summands[::-1]), expected)
        assert_counted(whole)
        assert whole.pattern.num_nonzeros >= np.count_nonzero(np.any(expected, 0))
        dense = densified(summands[0])
        assert_same(dense, numbers(summands[0]))
        assert all(
            term.num_values == math.prod(dense.shape) for term in dense.pattern.terms
        )

    check()


@repeated
def test_transposes(examples):
    @examples
    @given(chains(2, is_real=True))
    def check(chain):
        for block in chain:
            back = transposed(block)
            rank = len(block.out_shape)
            axes = (*range(rank, len(block.shape)), *range(rank))
            assert_same(back, [part.transpose(axes) for part in numbers(block)])
            assert_same(transposed(back), numbers(block))
            if not any(term.has_table for term in block.pattern.terms):
                assert transposed(back).pattern == block.pattern
            assert back.pattern.num_nonzeros == block.pattern.num_nonzeros
        left, right = chain
        turned = product(transposed(right), transposed(left))
        assert_same(turned, numbers(transposed(product(left, right))))

    check()


@repeated
def test_outputs(examples):
    """What users read off a block."""

    @examples
    @given(sums(1))
    def check(summands):
        (block,) = summands
        assume(not block.pattern.complex_in)
        expected = np.sum(numbers(block), 0).astype(block.dtype)
        entries, rows, columns = block.to_coo()
        assert len(entries) == len(rows) == block.pattern.num_nonzeros
        positions = {*zip(rows.tolist(), columns.tolist())}
        assert block.to_bcoo().nse == len(positions) <= block.pattern.num_nonzeros
        matrix = np.zeros(
            (math.prod(block.out_shape), math.prod(block.in_shape)), COMPLEX
        )
        np.add.at(matrix, (rows, columns), np.asarray(entries))
        for ours in (matrix.reshape(block.shape), block.materialise()):
            np.testing.assert_allclose(ours, expected, 1e-13, 1e-13)

    check()


#
# Equations
#


@st.composite
def equations(draw: st.DrawFn):
    """Sizes of indices, and up to two equations between forms of these."""
    axes = _Axes(draw)
    lengths = draw(st.lists(st.sampled_from([4, 6, 12, 3]), min_size=1, max_size=2))
    pairs = [(axes.form(length), axes.form(length)) for length in lengths]
    return axes.sizes, pairs


@repeated
def test_equations(examples):
    @settings(examples, max_examples=15 * examples.max_examples)
    @given(equations())
    def check(case):
        sizes, pairs = case
        assert solutions(sizes, solve(sizes, pairs)) == enumerated(sizes, pairs)

    check()


STRUCTURES = [
    "banded",
    "block-diagonal",
    "constant along axes",
    "dense",
    "diagonal",
    "identity",
    "scalar",
    "selection",
    "shifted diagonal",
    "zero",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", STRUCTURES)
def test_what_is_drawn(name):
    """Blocks of every structure are."""
    named = lambda chain: chain[0].structure.split(" (")[0] == name  # noqa: E731
    unshrunk = settings(FEW, max_examples=3000, phases=[Phase.generate])
    find(chains(1, is_real=True), named, settings=unshrunk)
