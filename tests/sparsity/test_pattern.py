"""Structured blocks: what is known of them symbolically, and their numbers, against
dense NumPy arrays.

A block of a complex function is real-linear: `J t + K conj(t)`. Here it is the pair of
arrays `(J, K)`.
"""

import dataclasses
import math
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import Partial, Pattern
from eqx_cc._blocks.add import run_sum, run_update
from eqx_cc._blocks.arrays import as_numbers, Masked, take
from eqx_cc._sparsity.entries import positions
from eqx_cc._sparsity.pattern import (
    add,
    compose,
    dense_pattern,
    identity,
    pattern,
    update,
)
from eqx_cc._sparsity.positions.affine import Affine, single
from eqx_cc._sparsity.positions.table import Form, Table, tabulated
from eqx_cc._sparsity.sum import densify
from eqx_cc._sparsity.term import normalise, Term
from eqx_cc._sparsity.within import within
from test_affine import evaluate


FLOAT, COMPLEX = np.dtype("float64"), np.dtype("complex128")

A, B, C = map(single, range(3))
MIXED = Table(np.array([2, 0, 3]), (0,))
REPEATED = Table(np.array([0, 2, 0]), (0,))


def at(offset: int, *strides: tuple[int, int]) -> Affine:
    return Affine(offset, strides)


def make(out_shape, in_shape, *terms: Term, complex_out=False, complex_in=False):
    return pattern(out_shape, in_shape, terms, complex_out, complex_in)


def valued(rng: np.random.Generator, term: Term, dtype: np.dtype):
    """Random values for a term."""
    if term.value is None:
        return None
    if term.kind == "mask":
        return jnp.asarray(rng.random(term.value_shape) < 0.5)
    if term.kind == "selection":
        return jnp.asarray(_selecting(rng, term))
    value = rng.normal(size=term.value_shape)
    if dtype.kind == "c":
        value = value + 1j * rng.normal(size=term.value_shape)
    return jnp.asarray(value, dtype)


def _selecting(rng: np.random.Generator, term: Term) -> np.ndarray:
    """A random mask, at most one entry of which is true for each output element."""
    assert term.value == tuple(range(len(term.sizes)))
    value, taken = np.zeros(term.sizes, bool), set()
    for index in rng.permutation(list(np.ndindex(*term.sizes))).tolist():
        row = tuple(_position(form, index) for form in term.out)
        value[tuple(index)] = row not in taken and rng.random() < 0.8
        taken |= {row} if value[tuple(index)] else set()
    return value


def partial(block: Pattern, seed: int = 0, dtype: np.dtype = FLOAT) -> Partial:
    rng = np.random.default_rng(seed)
    values = tuple(valued(rng, term, dtype) for term in block.terms)
    return Partial(block, values, dtype)


#
# The reference: a loop over every index of every term
#


def _position(form: Form, index) -> int:
    return evaluate(form, dict(enumerate(index)))


def numbers(block: Partial) -> tuple[np.ndarray, np.ndarray]:
    """`(J, K)`, from the definition of a pattern."""
    parts = np.zeros((2, *block.shape), COMPLEX)
    for term, value in zip(block.pattern.terms, block.values):
        value = None if value is None else np.asarray(as_numbers(value, block.dtype))
        for index in np.ndindex(*term.sizes):
            where = tuple(_position(form, index) for form in term.out + term.inp)
            stored = tuple(index[i] for i in term.value or ())
            entry = 1 if value is None else value[stored]
            parts[(int(term.conj), *where)] += term.scale * entry
    if not (block.pattern.complex_out or block.pattern.complex_in):
        parts = np.real(parts)
    return parts[0], parts[1]


def matmul(left, right, num_contracted: int):
    """`(J, K)` of `left @ right`, for `left`'s input and `right`'s output complex."""
    (a, b), (c, d) = left, right
    dot = lambda x, y: np.tensordot(x, y, num_contracted)  # noqa: E731
    return dot(a, c) + dot(b, d.conj()), dot(a, d) + dot(b, c.conj())


def assert_same(block: Partial, expected, seed: int | None = None):
    """The parts of a block are those expected, as far as its flags let them matter."""
    _assert_stored(block)
    ours, expected = np.array(numbers(block)), np.array(expected)
    flags = block.pattern
    if not flags.complex_in:
        ours, expected = ours.sum(0), expected.sum(0)
    if not (flags.complex_in or flags.complex_out):
        ours, expected = np.real(ours), np.real(expected)
    np.testing.assert_allclose(
        ours, expected, rtol=1e-12, atol=1e-12, err_msg=f"{seed}"
    )


def _assert_stored(block: Partial):
    """Values have the shapes and the types that the pattern says."""
    for term, value in zip(block.pattern.terms, block.values, strict=True):
        assert (value is None) == (term.value is None)
        if value is not None:
            assert isinstance(value, Masked) == (term.kind == "masked")
            parts = value if isinstance(value, Masked) else [value]
            assert all(part.shape == term.value_shape for part in parts)
            assert (parts[0].dtype == bool) == (term.kind != "value")


def product(left: Partial, right: Partial, old: Partial | None = None) -> Partial:
    """`old + left @ right`."""
    recipe = update(None if old is None else old.pattern, left.pattern, right.pattern)
    values = () if old is None else old.values
    values = run_update(recipe, values, left.values, right.values, left.dtype)
    return Partial(recipe.pattern, values, left.dtype)


def total(*blocks: Partial) -> Partial:
    new, recipe = add(*(block.pattern for block in blocks))
    values = tuple(value for block in blocks for value in block.values)
    return Partial(new, run_sum(recipe, values, blocks[0].dtype), blocks[0].dtype)


#
# Random blocks
#


class RandomTerm:
    """A term with random ties, windows, flattened axes, constants and known axes."""

    def __init__(self, rng: random.Random, out_shape, in_shape):
        self.rng, self.shape = rng, out_shape + in_shape
        self.sizes: dict[int, int] = {}
        self.forms: dict[int, Affine] = {}
        for axis in rng.sample(range(len(self.shape)), len(self.shape)):
            if axis not in self.forms:
                self._cover(axis)
        forms = [self.forms[axis] for axis in range(len(self.shape))]
        self.out, self.inp = forms[: len(out_shape)], forms[len(out_shape) :]

    def _free(self) -> list[int]:
        return [axis for axis in range(len(self.shape)) if axis not in self.forms]

    def _new(self, size: int) -> int:
        self.sizes[len(self.sizes)] = size
        return len(self.sizes) - 1

    def _cover(self, axis: int) -> None:
        chance, size = self.rng.random(), self.shape[axis]
        if chance < 0.1:
            self.forms[axis] = Affine(self.rng.randrange(size))
        elif chance < 0.25 and size in (4, 6):
            self._flattened(axis, size // 2)
        else:
            self._window(axis)

    def _flattened(self, axis: int, inner: int) -> None:
        """An axis that is two in a row, each of which may be tied to another."""
        rows, columns = self._new(2), self._new(inner)
        self.forms[axis] = at(0, (rows, inner), (columns, 1))
        for index, size in ((rows, 2), (columns, inner)):
            fitting = [a for a in self._free() if self.shape[a] == size]
            if fitting and self.rng.random() < 0.7:
                self.forms[self.rng.choice(fitting)] = single(index)

    def _window(self, axis: int) -> None:
        """Axes that advance together, some of them backwards or in larger steps."""
        others = [a for a in self._free() if a != axis and self.rng.random() < 0.5]
        least = min(self.shape[a] for a in [axis, *others])
        index = self._new(self.rng.randint(max(1, least - 1), least))
        for a in [axis, *others]:
            self.forms[a] = self._along(index, self.shape[a])

    def _along(self, index: int, length: int) -> Affine:
        reach = self.sizes[index] - 1
        doubles = 2 * reach < length and self.rng.random() < 0.3
        step = 2 if doubles else self.rng.choice([1, 1, 1, 1, -1])
        offset = self.rng.randint(0, length - 1 - abs(step) * reach)
        return at(offset + (reach if step < 0 else 0), (index, step))

    def term(self, complex_out: bool, complex_in: bool) -> Term:
        rng = self.rng
        indices = tuple(i for i in self.sizes if rng.random() < 0.7)
        value = None if rng.random() < 0.25 else indices
        scales = [1, 1, -1, 0.5, 2]
        if complex_out or complex_in:
            scales += [1j, 0.5 - 2j]
        raw = Term(tuple(self.out), tuple(self.inp), (), value, rng.choice(scales))
        kind = "mask" if value is not None and rng.random() < 0.3 else "value"
        raw = dataclasses.replace(
            raw, kind=kind, conj=complex_in and rng.random() < 0.4
        )
        term = normalise(raw, self.sizes)[0]
        if kind == "mask" and term.value == (*range(len(term.sizes)),):
            kind = rng.choice(["mask", "selection"])
        return dataclasses.replace(term, kind=kind)


def _random_partial(rng, out_shape, in_shape, flags=(False, False)) -> Partial:
    terms = [
        RandomTerm(rng, out_shape, in_shape).term(*flags)
        for _ in range(rng.choice([1, 1, 2, 3]))
    ]
    block = Pattern(out_shape, in_shape, tuple(terms), *flags)
    return partial(block, rng.randrange(10**6), COMPLEX if any(flags) else FLOAT)


def random_shape(rng) -> tuple[int, ...]:
    return tuple(rng.choice([1, 2, 3, 4, 6]) for _ in range(rng.randint(0, 2)))


def _random_blocks(seed: int):
    """`left`, `right` and `old`, of which `old + left @ right` can be computed."""
    rng = random.Random(seed)
    out, middle, inp = (random_shape(rng) for _ in range(3))
    flags = [False] * 3 if rng.random() < 0.6 else [rng.random() < 0.7 for _ in "omi"]
    left = _random_partial(rng, out, middle, (flags[0], flags[1]))
    right = _random_partial(rng, middle, inp, (flags[1], flags[2]))
    return left, right, _random_partial(rng, out, inp, (flags[0], flags[2]))


# Whether outputs and inputs are complex.
FLAGS = [(False, False), (False, False), (True, True), (True, False), (False, True)]
MANY = [range(first, first + 40) for first in range(40, 320, 40)]
seeded = pytest.mark.parametrize(
    "seeds",
    [range(40), *(pytest.param(seeds, marks=pytest.mark.slow) for seeds in MANY)],
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)


@seeded
def test_random_products(seeds):
    blocks = [_random_blocks(seed) for seed in seeds]
    compute = jax.jit(
        lambda blocks: [(product(a, b), product(a, b, c)) for a, b, c in blocks]
    )
    for seed, (left, right, old), results in zip(seeds, blocks, compute(blocks)):
        expected = matmul(numbers(left), numbers(right), len(left.in_shape))
        assert_same(results[0], expected, seed)
        assert_same(results[1], np.array(expected) + numbers(old), seed)


def transposed(block: Partial) -> Partial:
    new, takes = block.pattern.transpose
    values = (v if v is None else take(v, t) for v, t in zip(block.values, takes))
    return Partial(new, tuple(values), block.dtype)


def densified(block: Partial) -> Partial:
    pattern = block.pattern
    recipe = densify(pattern.terms, block.shape, len(block.out_shape))
    terms = tuple(group.target for group in recipe.groups)
    values = run_sum(recipe, block.values, block.dtype)
    return Partial(dataclasses.replace(pattern, terms=terms), values, block.dtype)


@seeded
def test_random_sums(seeds):
    rngs = [random.Random(seed) for seed in seeds]
    blocks = []
    for rng in rngs:
        out, inp, flags = random_shape(rng), random_shape(rng), rng.choice(FLAGS)
        blocks.append([_random_partial(rng, out, inp, flags) for _ in range(3)])

    @jax.jit
    def compute(blocks):
        return [(total(*b), densified(b[0]), transposed(b[1])) for b in blocks]

    for seed, summands, (sum_, dense, back) in zip(seeds, blocks, compute(blocks)):
        assert_same(sum_, sum(np.array(numbers(block)) for block in summands), seed)
        assert_same(dense, numbers(summands[0]), seed)
        assert all(
            term.num_values == math.prod(dense.shape) for term in dense.pattern.terms
        )
        rank = len(summands[1].out_shape)
        axes = (*range(rank, len(summands[1].shape)), *range(rank))
        assert_same(back, [part.transpose(axes) for part in numbers(summands[1])], seed)
        if all(term.kind != "selection" for term in summands[1].pattern.terms):
            assert back.pattern.transpose[0] == summands[1].pattern


@seeded
def test_random_outputs(seeds):
    """What users read off a block, which has real inputs."""
    rngs = [random.Random(seed) for seed in seeds]
    blocks = [
        _random_partial(
            rng, random_shape(rng), random_shape(rng), (seed % 3 == 0, False)
        )
        for seed, rng in zip(seeds, rngs)
    ]
    compute = jax.jit(
        lambda bs: [(b.materialise(), b.to_coo()[0], b.to_bcoo().todense()) for b in bs]
    )
    for seed, block, (dense, entries, sparse) in zip(seeds, blocks, compute(blocks)):
        expected = np.sum(numbers(block), 0).astype(block.dtype)
        message = f"{seed}"
        assert dense.dtype == sparse.dtype == entries.dtype == block.dtype
        np.testing.assert_allclose(dense, expected, rtol=1e-14, err_msg=message)
        _, rows, columns = block.to_coo()
        matrix = np.zeros(
            (math.prod(block.out_shape), math.prod(block.in_shape)), COMPLEX
        )
        np.add.at(matrix, (rows, columns), np.asarray(entries))
        for ours in (matrix.reshape(block.shape), sparse):
            np.testing.assert_allclose(ours, expected, 1e-13, 1e-13, err_msg=message)


#
# Named structures
#


def diagonal(*shape: int) -> Pattern:
    axes = tuple(map(single, range(len(shape))))
    return make(shape, shape, Term(axes, axes, (), tuple(range(len(shape)))))


def band(n: int, offset: int) -> Term:
    """Entries `(k, k + offset)` of an n by n matrix."""
    out, inp = at(max(-offset, 0), (0, 1)), at(max(offset, 0), (0, 1))
    return Term((out,), (inp,), (n - abs(offset),), (0,))


def banded(n: int, *offsets: int) -> Pattern:
    return make((n,), (n,), *(band(n, offset) for offset in offsets))


def block_diagonal(n: int, rows: int, columns: int) -> Pattern:
    return make((n, rows), (n, columns), Term((A, B), (A, C), (), (0, 1, 2)))


def slicing(n: int, start: int, size: int, step: int = 1) -> Pattern:
    """`x[start:][::step][:size]`"""
    term = Term((A,), (at(start, (0, step)),), (size,), None)
    return make((size,), (n,), term)


def padding(n: int, low: int, size: int, step: int = 1) -> Pattern:
    """Vectors of `size` within zeros, `n` in all."""
    return slicing(n, low, size, step).transpose[0]


def reversing(n: int) -> Pattern:
    return make((n,), (n,), Term((A,), (at(n - 1, (0, -1)),), (n,), None))


def broadcasting(rows: int, columns: int) -> Pattern:
    """A vector as every row of a matrix."""
    return make((rows, columns), (columns,), Term((A, B), (B,), (rows, columns), None))


def summing(rows: int, columns: int) -> Pattern:
    """The sum of the rows."""
    return broadcasting(rows, columns).transpose[0]


def ravelling(rows: int, columns: int) -> Pattern:
    flat = at(0, (0, columns), (1, 1))
    return make(
        (rows * columns,), (rows, columns), Term((flat,), (A, B), (rows, columns), None)
    )


def unravelling(rows: int, columns: int) -> Pattern:
    return ravelling(rows, columns).transpose[0]


def swapping(rows: int, columns: int) -> Pattern:
    return make(
        (columns, rows), (rows, columns), Term((A, B), (B, A), (columns, rows), None)
    )


def dense(rows: int, columns: int) -> Pattern:
    return dense_pattern((rows,), (columns,))


def outer(n: int) -> Pattern:
    """The outer product with a vector along the output."""
    return make((n,), (n,), Term((A,), (B,), (n, n), (0,)))


def zero(*shape: int) -> Pattern:
    return Pattern(shape, shape, ())


NAMES = {
    "zero": zero(3),
    "identity": identity((3,)),
    "known diagonal": identity((3,), 2.0),
    "diagonal": diagonal(2, 3),
    "partial diagonal": make(
        (3,), (3,), Term((at(1, (0, 1)),), (at(1, (0, 1)),), (2,), (0,))
    ),
    "selection": slicing(5, 1, 3),
    "shifted diagonal": make((2,), (3,), Term((A,), (at(1, (0, 1)),), (2,), (0,))),
    "banded (offsets -1, 0, 2)": banded(4, 2, 0, -1),
    "block-diagonal": block_diagonal(3, 2, 2),
    "constant along axes": outer(3),
    "window, constant along axes": make((3,), (3,), Term((A,), (B,), (2, 3), (0,))),
    "dense": dense(2, 3),
    "dense window": make((3,), (3,), Term((A,), (B,), (2, 3), (0, 1))),
    "scalar": make((), (), Term((), (), (), ())),
    "constant 2.0": identity((), 2.0),
    "dense + diagonal": make((3,), (3,), Term((A,), (B,), (3, 3), (0, 1)), band(3, 0)),
    "sparse": make((3,), (4,), Term((A,), (MIXED,), (3,), (0,))),
    "sparse selection": make((3,), (4,), Term((A,), (MIXED,), (3,), None)),
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    block = NAMES[name]
    assert block.name == name
    assert str(block) == f"{block.out_shape} <- {block.in_shape}: {name}"
    assert block.is_zero == (name == "zero")
    assert block.is_dense == ("dense" in name and name != "dense window")


# Two blocks, their product's name, its numbers and its multiplications.
PRODUCTS = {
    "diagonals": (diagonal(5), diagonal(5), "diagonal", 5, 5),
    "diagonals of matrices": (diagonal(2, 3), diagonal(2, 3), "diagonal", 6, 6),
    "known diagonal": (identity((5,), 3), diagonal(5), "diagonal", 5, 0),
    "identity": (identity((5,)), dense(5, 3), "dense", 15, 0),
    "two constants": (identity((5,), 3), identity((5,), -2), "known diagonal", 0, 0),
    "zero": (zero(5), dense(5, 5), "zero", 0, 0),
    "rows scaled": (diagonal(2), dense(2, 3), "dense", 6, 6),
    "columns scaled": (dense(2, 3), diagonal(3), "dense", 6, 6),
    "dense": (dense(2, 3), dense(3, 4), "dense", 8, 24),
    "inner": (dense(1, 5), dense(5, 3), "dense", 3, 15),
    "blocks": (
        block_diagonal(3, 2, 4),
        block_diagonal(3, 4, 5),
        "block-diagonal",
        30,
        120,
    ),
    "slice of a slice": (slicing(6, 1, 3), slicing(9, 2, 6), "selection", 0, 0),
    "slice of a pad": (slicing(9, 1, 6), padding(9, 2, 4), "selection", 0, 0),
    "pad of a slice": (padding(9, 2, 3), slicing(9, 4, 3), "selection", 0, 0),
    "pad of what it cut": (
        padding(9, 2, 3),
        slicing(9, 2, 3),
        "known partial diagonal",
        0,
        0,
    ),
    "slice beside the pad": (slicing(9, 0, 2), padding(9, 2, 4), "zero", 0, 0),
    "every other of every third": (
        *(slicing(9, 1, 2, 4), slicing(27, 0, 9, 3)),
        *("selection", 0, 0),
    ),
    "even of odd": (slicing(8, 0, 4, 2), padding(8, 1, 4, 2), "zero", 0, 0),
    "diagonal of a slice": (diagonal(3), slicing(9, 2, 3), "shifted diagonal", 3, 0),
    "reversed twice": (reversing(4), reversing(4), "identity", 0, 0),
    "reversed diagonal": (reversing(4), diagonal(4), "shifted diagonal", 4, 0),
    "swapped twice": (swapping(2, 3), swapping(3, 2), "identity", 0, 0),
    "reshaped back": (unravelling(4, 6), ravelling(4, 6), "identity", 0, 0),
    "reshaped there": (ravelling(4, 6), unravelling(4, 6), "identity", 0, 0),
    "broadcast and summed": (summing(7, 3), broadcasting(7, 3), "known diagonal", 0, 0),
    "diagonal before a sum": (summing(7, 3), diagonal(7, 3), "block-diagonal", 21, 0),
    "diagonal after a broadcast": (
        *(diagonal(7, 3), broadcasting(7, 3)),
        *("block-diagonal", 21, 0),
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name):
    left, right, expected, num_values, num_multiplications = PRODUCTS[name]
    recipe = update(None, left, right)
    assert recipe.pattern.name == expected
    assert recipe.pattern.num_values == num_values
    assert recipe.num_multiplications == num_multiplications
    assert recipe.num_scalings == 0


def test_products_have_the_right_numbers():
    blocks = [(partial(p[0], 1), partial(p[1], 2)) for p in PRODUCTS.values()]
    results = jax.jit(lambda blocks: [product(*pair) for pair in blocks])(blocks)
    for (left, right), result in zip(blocks, results):
        assert_same(result, matmul(numbers(left), numbers(right), len(left.in_shape)))


def test_broadcast_then_reduce_is_a_known_coefficient():
    (term,) = update(None, summing(7, 3), broadcasting(7, 3)).pattern.terms
    assert term.value is None
    assert term.scale == 7


@pytest.mark.parametrize("scales", [(2, 3), (-1, -1), (0.5, 2), (1j, 1j)])
def test_known_coefficients_multiply(scales):
    blocks = [identity((4,), scale, complex=True) for scale in scales]
    (term,) = update(None, *blocks).pattern.terms
    assert term.scale == scales[0] * scales[1]


@pytest.mark.parametrize("n", [12, 20])
@pytest.mark.parametrize(
    "left, right",
    [((0, 1), (0, 1)), ((-1, 0, 1), (-1, 0, 1)), ((-2,), (1, 3)), ((7,), (7,))],
)
def test_banded_products(left, right, n):
    offsets = {a + b for a in left for b in right if abs(a + b) < n}
    new = update(None, banded(n, *left), banded(n, *right)).pattern
    ends = [(term.out[0], term.inp[0]) for term in new.terms]
    affine = [
        (o, i) for o, i in ends if isinstance(o, Affine) and isinstance(i, Affine)
    ]
    assert len(affine) == len(new.terms)
    assert {inp.offset - out.offset for out, inp in affine} == offsets
    assert new.num_values <= n * len(offsets)
    if len(offsets) > 1:
        assert new.name == f"banded (offsets {', '.join(map(str, sorted(offsets)))})"
    assert (not offsets) == new.is_zero


# A reshape cuts these ties only where it must.
RESHAPED = {
    "block-diagonal through a reshape": (
        *(ravelling(4, 6), block_diagonal(4, 6, 2)),
        *(48, 48),
    ),
    "(4, 6) -> (8, 3)": (unravelling(8, 3), ravelling(4, 6), 0, 24),
    "(6, 4) -> (8, 3), no common refinement": (
        unravelling(8, 3),
        ravelling(6, 4),
        0,
        24,
    ),
    "the last 3 of a (4, 6)": (slicing(24, 21, 3), ravelling(4, 6), 0, 3),
    "7 of a (4, 6), across rows": (slicing(24, 3, 7), ravelling(4, 6), 0, 7),
}


@pytest.mark.parametrize("name", RESHAPED)
def test_reshaped(name):
    left, right, num_values, num_nonzeros = RESHAPED[name]
    new = update(None, left, right).pattern
    assert (new.num_values, new.num_nonzeros) == (num_values, num_nonzeros)
    blocks = partial(left), partial(right)
    rank = len(left.in_shape)
    expected = matmul(numbers(blocks[0]), numbers(blocks[1]), rank)
    assert_same(jax.jit(product)(*blocks), expected)


def test_a_reshape_without_common_refinement_is_a_table():
    """(11, 13) and (13, 11) have too many rows to split."""
    recipe = compose(unravelling(11, 13), ravelling(13, 11))
    assert not recipe.sums
    ((_, _, product),) = recipe.products
    assert product.term.has_table and product.term.num_nonzeros == 143
    assert recipe.num_multiplications == 0


#
# Sums
#

SUMS = {
    "same structure": ([diagonal(4), diagonal(4)], "diagonal", 4, 4),
    "known and stored": ([identity((4,)), diagonal(4)], "diagonal", 4, 4),
    "known": ([identity((4,)), identity((4,), 2)], "known diagonal", 0, 0),
    "cancelling": ([identity((4,)), identity((4,), -1)], "zero", 0, 0),
    "zero": ([zero(4), diagonal(4)], "diagonal", 4, 0),
    "bands": ([banded(4, 0, 1), banded(4, 1)], "banded (offsets 0, 1)", 7, 3),
    "diagonal and dense": ([diagonal(4), dense(4, 4)], "dense", 16, 16),
    "diagonal and outer": (
        [diagonal(5), outer(5)],
        "diagonal + constant along axes",
        *(10, 0),
    ),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums(name):
    blocks, expected, num_values, num_additions = SUMS[name]
    new, recipe = add(*blocks)
    assert new.name == expected
    assert new.num_values == num_values
    assert recipe.num_additions == num_additions


def test_sums_have_the_right_numbers():
    blocks = [[partial(b, i) for i, b in enumerate(s[0])] for s in SUMS.values()]
    results = jax.jit(lambda blocks: [total(*summands) for summands in blocks])(blocks)
    for summands, result in zip(blocks, results):
        assert_same(result, sum(np.array(numbers(block)) for block in summands))


def test_a_common_coefficient_is_pulled_out():
    blocks = [
        make((3,), (3,), Term((A,), (A,), (), (0,), scale=s)) for s in (2.0, -2.0)
    ]
    new, recipe = add(*blocks)
    assert new.terms[0].scale == 2.0
    assert recipe.num_scalings == 0
    _, recipe = add(blocks[0], diagonal(3))
    assert recipe.num_scalings == 3


#
# Complex numbers, masks, empty axes, hashing
#


def _complex(*terms: Term, out: bool = True, inp: bool = True) -> Pattern:
    return make((2,), (2,), *terms, complex_out=out, complex_in=inp)


CONJUGATE = Term((A,), (A,), (), None, conj=True)
REAL_PART = [Term((A,), (A,), (), None, 0.5, conj=conj) for conj in (False, True)]


def test_conjugation_twice_is_the_identity():
    new = update(None, _complex(CONJUGATE), _complex(CONJUGATE)).pattern
    assert new.name == "identity"
    assert not new.terms[0].conj


def test_the_real_part_of_a_conjugate_is_the_real_part():
    real = _complex(*REAL_PART, out=False)
    new = update(None, real, _complex(CONJUGATE)).pattern
    assert set(new.terms) == set(real.terms)


def test_the_real_part_of_a_real_number_is_that_number():
    widened = _complex(Term((A,), (A,), (), None), inp=False)
    new = update(None, _complex(*REAL_PART, out=False), widened).pattern
    assert new.name == "identity"


@pytest.mark.parametrize("scale", [1j, -2.0j])
def test_the_real_part_of_an_imaginary_number_is_zero(scale):
    widened = _complex(Term((A,), (A,), (), None, scale), inp=False)
    assert update(None, _complex(*REAL_PART, out=False), widened).pattern.is_zero


@pytest.mark.parametrize("kind", ["value", "mask"])
def test_the_real_part_of_real_values_turned_by_90_degrees_is_zero(kind):
    """The values are real here, though the block has complex outputs."""
    turned = _complex(Term((A,), (A,), (), (0,), 1j, kind), inp=False)
    new = product(
        Partial(_complex(*REAL_PART, out=False), (None, None), FLOAT), partial(turned)
    )
    assert not np.any(sum(numbers(new)))


def masking(n: int) -> Pattern:
    return make((n,), (n,), Term((A,), (A,), (), (0,), kind="mask"))


@pytest.mark.parametrize(
    "other", [masking(3), diagonal(3), identity((3,)), dense(3, 2)]
)
def test_masks_multiply_nothing(other):
    recipe = update(None, masking(3), other)
    assert recipe.num_multiplications == 0
    assert recipe.pattern.terms[0].is_mask == (
        not other.num_values or other == masking(3)
    )
    left, right = partial(masking(3), 1), partial(other, 2)
    assert_same(product(left, right), matmul(numbers(left), numbers(right), 1))


def test_a_mask_hides_what_is_not_finite():
    left = Partial(masking(2), (jnp.array([True, False]),), FLOAT)
    right = Partial(diagonal(2), (jnp.array([2.0, np.inf]),), FLOAT)
    assert np.array_equal(product(left, right).materialise(), [[2.0, 0.0], [0.0, 0.0]])


def test_a_constant_on_every_other_element_is_not_one_on_all():
    all_ = Partial(make((3,), (), Term((A,), (), (3,), ())), (jnp.array(2.0),), FLOAT)
    some = Term((Affine(0, ((0, 2),)),), (), (2,), None, 0.5)
    other = Partial(make((3,), (), some), (None,), FLOAT)
    assert np.array_equal(total(all_, other).materialise(), [2.5, 2.0, 2.5])


@pytest.mark.parametrize("kind", ["mask", "selection"])
def test_what_a_mask_leaves_out_of_a_sum_may_be_infinite(kind):
    matrix = Term((A,), (B,), (2, 3), (0, 1), kind=kind)
    mask = jnp.array([[False, True, False], [False, False, False]])
    left = Partial(make((2,), (3,), matrix), (mask,), FLOAT)
    values = (jnp.array([[np.inf, np.nan], [2.0, 3.0], [-np.inf, 1.0]]),)
    right = Partial(dense(3, 2), values, FLOAT)
    recipe = update(None, left.pattern, right.pattern)
    assert recipe.num_multiplications == 0
    assert np.array_equal(product(left, right).materialise(), [[2.0, 3.0], [0.0, 0.0]])


@pytest.mark.parametrize("kind", ["mask", "selection"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_mask_that_is_summed_on_its_own(kind, tied):
    """Along an axis that the right factor is constant on, and over another or none."""
    a = Term((A,), (B, C), (3, 2, 4), (0, 1, 2), kind=kind)
    left = partial(make((3,), (2, 4), a))
    b = Term((A, B), (C,) if not tied else (A,), (2, 4, 3)[: 2 if tied else 3], ())
    b = dataclasses.replace(b, value=(0,) if tied else (0, 2))
    right = partial(make((2, 4), (2,) if tied else (3,), b))
    recipe = update(None, left.pattern, right.pattern)
    assert recipe.composition.products
    assert_same(product(left, right), matmul(numbers(left), numbers(right), 2))


def test_selections_that_follow_each_other_are_one():
    matrix = Term((A,), (B,), (3, 3), (0, 1), kind="selection")
    block = make((3,), (3,), matrix)
    (term,) = update(None, block, block).pattern.terms
    assert term.kind == "selection"
    (term,) = update(None, block, identity((3,), 2)).pattern.terms
    assert (term.kind, term.scale) == ("selection", 2)
    (turned,) = block.transpose[0].terms
    assert turned.kind == "mask"
    (term,) = update(None, make((3,), (3,), turned), block).pattern.terms
    assert term.kind == "value"


@pytest.mark.parametrize("shape", [(0,), (0, 2), (2, 0)])
def test_empty_axes(shape):
    axes = tuple(map(single, range(len(shape))))
    for block in (
        make(shape, shape, Term(axes, axes, (), None)),
        dense_pattern(shape, (2,)),
        identity(shape),
    ):
        assert block.is_zero
        assert block.num_values == block.num_nonzeros == 0
        assert block.name == "zero"
        assert block.transpose[0].is_zero
    empty = Partial(identity(shape), (), FLOAT)
    assert empty.materialise().shape == shape + shape
    assert [part.shape for part in empty.to_coo()] == [(0,)] * 3
    assert empty.to_bcoo().shape == shape + shape


def test_through_an_empty_axis():
    new = update(None, dense_pattern((2,), (0,)), dense_pattern((0,), (3,))).pattern
    assert new.is_zero
    assert new.shape == (2, 3)


def test_equal_patterns_are_one_key():
    first, second = banded(5, 0, 1), banded(5, 0, 1)
    assert first == second
    assert hash(first) == hash(second)
    assert first != banded(5, 0, 2)
    assert first != "banded"
    assert diagonal(3) != masking(3)
    assert compose(first, second) is compose(second, first)


def test_equal_terms_have_equal_hashes():
    terms = [Term((A,), (A,), (3,), None, scale) for scale in (1, 1.0, 1 + 0j)]
    assert all((t == terms[0]) <= (hash(t) == hash(terms[0])) for t in terms)


def test_normal_form():
    """Indices are numbered by first appearance; there they run forwards."""
    raw = Term((C,), (at(3, (2, -1)), B), (), (1, 2))
    term, recipe = normalise(raw, {1: 2, 2: 4})
    assert term.out == (A,)
    assert term.inp == (at(3, (0, -1)), B)
    assert term.value == (0, 1)
    value = jnp.arange(8.0).reshape(2, 4)
    assert np.array_equal(take(value, recipe), value.T)


def test_axes_of_size_one_are_not_stored():
    (term,) = dense_pattern((1, 3), (1,)).terms
    assert term.sizes == (3,)
    assert term.out == (at(0), A)


def test_a_block_of_two_entries_may_be_dense():
    assert dense(1, 2).is_dense and dense(2, 1).is_dense
    assert not dense(1, 1).is_dense


def test_positions_that_follow_a_rule_are_no_table():
    assert tabulated(np.array([5, 3, 1]), [0]) == Affine(5, ((0, -2),))
    assert tabulated(np.array([[4, 7], [14, 17]]), [0, 2]) == Affine(
        4, ((0, 10), (2, 3))
    )
    assert isinstance(tabulated(np.array([[4, 7], [14, 18]]), [0, 2]), Table)


def _entries_within(term, shape, flat):
    """The entries of the parts, by their positions; how many parts there are."""
    values = 1.0 + np.arange(math.prod(term.value_shape)).reshape(term.value_shape)
    parts, entries = within(term, shape, np.asarray(flat)), []
    for part, recipe in parts:
        if term.value is None:
            read = np.full(part.num_nonzeros, part.scale)
        elif recipe is None:
            read = values.ravel()
        else:
            read = np.ravel(take(jnp.asarray(values), recipe))
        entries += zip(positions(part, shape).tolist(), read.tolist(), strict=True)
    return sorted(entries), len(parts)


def test_the_part_of_a_term_at_given_positions():
    diagonal = band(4, 0)
    assert _entries_within(diagonal, (4, 4), [0, 10]) == ([(0, 1.0), (10, 3.0)], 1)
    assert _entries_within(diagonal, (4, 4), [1, 2]) == ([], 0)
    whole, count = _entries_within(diagonal, (4, 4), range(16))
    assert (len(whole), count) == (4, 1)
    known = dataclasses.replace(diagonal, value=None, scale=2.0)
    assert _entries_within(known, (4, 4), [0, 10]) == ([(0, 2.0), (10, 2.0)], 1)


def test_entries_of_one_position_become_parts_of_their_own():
    distinct = Term((REPEATED,), (A,), (3,), (0,))
    assert _entries_within(distinct, (3, 4), [0, 3]) == ([(0, 1.0)], 1)
    repeated = Term((REPEATED,), (Affine(0),), (3,), (0,))
    assert _entries_within(repeated, (3, 4), [0]) == ([(0, 1.0), (0, 3.0)], 2)


def test_properties():
    block = banded(4, 0, 1)
    assert block.shape == (4, 4)
    assert block.num_values == block.num_nonzeros == 7
    assert not block.is_dense
    assert make((3,), (3,), Term((A,), (B,), (3, 3), (0,))).num_nonzeros == 9
