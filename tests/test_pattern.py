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
from eqx_cc._affine import Affine, single
from eqx_cc._combine import densify
from eqx_cc._numeric import as_numbers, Masked, run_sum, run_update, take
from eqx_cc._pattern import add, compose, dense_pattern, identity, pattern, update
from eqx_cc._term import normalise, Term


FLOAT, COMPLEX = np.dtype("float64"), np.dtype("complex128")

A, B, C, D = map(single, range(4))


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
    value = rng.normal(size=term.value_shape)
    if dtype.kind == "c":
        value = value + 1j * rng.normal(size=term.value_shape)
    return jnp.asarray(value, dtype)


def partial(block: Pattern, seed: int = 0, dtype: np.dtype = FLOAT) -> Partial:
    rng = np.random.default_rng(seed)
    values = tuple(valued(rng, term, dtype) for term in block.terms)
    return Partial(block, values, dtype)


#
# The reference: a loop over every index of every term
#


def _position(form: Affine, index) -> int:
    return form.offset + sum(stride * index[i] for i, stride in form.strides)


def numbers(block: Partial) -> tuple[np.ndarray, np.ndarray]:
    """`(J, K)`, from the definition of a pattern."""
    parts = np.zeros((2, *block.shape), COMPLEX)
    for term, value in zip(block.pattern.terms, block.values):
        value = None if value is None else np.asarray(as_numbers(value, block.dtype))
        for index in np.ndindex(*term.sizes):
            where = tuple(_position(form, index) for form in term.out + term.inp)
            entry = 1 if value is None else value[tuple(index[i] for i in term.value)]
            parts[(int(term.conj), *where)] += term.scale * entry
    if not (block.pattern.complex_out or block.pattern.complex_in):
        parts = parts.real
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
        ours, expected = ours.real, expected.real
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12, err_msg=f"{seed}")


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


class _RandomTerm:
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
        kind = "mask" if value is not None and rng.random() < 0.2 else "value"
        raw = dataclasses.replace(raw, kind=kind, conj=complex_in and rng.random() < 0.4)
        return normalise(raw, self.sizes)[0]


def _random_partial(rng, out_shape, in_shape, flags=(False, False)) -> Partial:
    terms = [
        _RandomTerm(rng, out_shape, in_shape).term(*flags)
        for _ in range(rng.choice([1, 1, 2, 3]))
    ]
    block = Pattern(out_shape, in_shape, tuple(terms), *flags)
    return partial(block, rng.randrange(10**6), COMPLEX if any(flags) else FLOAT)


def _random_shape(rng) -> tuple[int, ...]:
    return tuple(rng.choice([1, 2, 3, 4, 6]) for _ in range(rng.randint(0, 2)))


def _random_blocks(seed: int):
    """`left`, `right` and `old`, of which `old + left @ right` can be computed."""
    rng = random.Random(seed)
    out, middle, inp = (_random_shape(rng) for _ in range(3))
    flags = [False] * 3 if rng.random() < 0.6 else [rng.random() < 0.7 for _ in "omi"]
    left = _random_partial(rng, out, middle, (flags[0], flags[1]))
    right = _random_partial(rng, middle, inp, (flags[1], flags[2]))
    return left, right, _random_partial(rng, out, inp, (flags[0], flags[2]))


def product_and_sum(left: Partial, right: Partial, old: Partial):
    return product(left, right), product(left, right, old)


MANY = [pytest.param(range(n, n + 40), marks=pytest.mark.slow) for n in range(40, 320, 40)]
SEEDS = pytest.mark.parametrize(
    "seeds", [range(0, 40), *MANY], ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}"
)


@SEEDS
def test_random_products(seeds):
    blocks = [_random_blocks(seed) for seed in seeds]
    compute = jax.jit(lambda blocks: [product_and_sum(*each) for each in blocks])
    for seed, (left, right, old), (new, sum_) in zip(seeds, blocks, compute(blocks)):
        expected = matmul(numbers(left), numbers(right), len(left.in_shape))
        assert_same(new, expected, seed)
        assert_same(sum_, np.array(expected) + numbers(old), seed)
