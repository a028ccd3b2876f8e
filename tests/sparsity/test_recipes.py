"""The recipes of products, sums and covers, carried out by NumPy on random blocks."""

import gc
import itertools as it
import random
import weakref
from dataclasses import replace

import numpy as np
import pytest
from eqx_cc import Pattern
from eqx_cc._sparsity.cover import cover
from eqx_cc._sparsity.entries import listed
from eqx_cc._sparsity.pattern import add, update
from eqx_cc._sparsity.positions.affine import Affine, single
from eqx_cc._sparsity.positions.table import Form, on_grid
from eqx_cc._sparsity.product import multiply
from eqx_cc._sparsity.recipes import Embedding, Group, Sum, Tiling
from eqx_cc._sparsity.sum import add_terms, densify
from eqx_cc._sparsity.term import Take, Term
from test_pattern import FLAGS, matmul, random_shape, RandomTerm


SEEDS = range(150)


def positions(forms: tuple[Form, ...], indices: dict[int, int]) -> list[np.ndarray]:
    """The forms at every point of the box of the indices, whose sizes are given."""
    zero = np.zeros([*indices.values()], int)
    return [zero + on_grid(form, indices) for form in forms]


def value_of(rng: np.random.Generator, term: Term) -> np.ndarray | None:
    """Random numbers, zeros and ones if the term is a mask."""
    if term.value is None:
        return None
    if term.kind == "value":
        return rng.normal(size=term.value_shape)
    mask = (rng.random(term.value_shape) < 0.5) * 1.0
    if term.kind == "selection":
        rows = row_numbers(term)
        mask.flat[:] *= [rows.flat[k] not in rows.flat[:k] for k in range(rows.size)]
    return mask


def row_numbers(term: Term) -> np.ndarray:
    """The number of the output element that each index of a term belongs to."""
    rows = positions(term.out, dict(enumerate(term.sizes)))
    base = 100 ** np.arange(len(rows))
    return sum((b * r for b, r in zip(base, rows)), np.zeros(term.sizes, int))


def numbers(pattern: Pattern, values) -> np.ndarray:
    """The parts `(J, K)` of `J t + K conj(t)`, from the definition of a pattern."""
    parts = np.zeros((2, *pattern.shape), complex)
    for term, value in zip(pattern.terms, values, strict=True):
        sizes = dict(enumerate(term.sizes))
        where = positions(term.out + term.inp, sizes)
        stored = positions(tuple(Affine(0, ((i, 1),)) for i in term.value or ()), sizes)
        assert value is None or value.shape == term.value_shape
        entries = 1.0 if value is None else value[tuple(stored)]
        _assert_kind(term, entries)
        part = np.full(term.sizes, int(term.conj))
        np.add.at(parts, (part, *where), term.scale * entries)
    return parts


def _assert_kind(term: Term, entries) -> None:
    """Masks are of zeros and ones; a selection has one entry for each output."""
    if term.value is not None and term.is_mask:
        assert np.all((entries == 0) | (entries == 1))
    if term.value is not None and term.kind == "selection":
        used = row_numbers(term)[np.broadcast_to(entries, term.sizes) != 0]
        assert len({*used}) == used.size


def relevant(pattern: Pattern, parts: np.ndarray) -> np.ndarray:
    """The parts as far as the flags of a pattern let them matter."""
    if not pattern.complex_in:
        parts = parts.sum(0)
    return parts if pattern.complex_in or pattern.complex_out else np.real(parts)


def taken(value, take: Take | None) -> tuple[np.ndarray, tuple[int, ...]]:
    if take is None:
        return np.ones(()), ()
    where = positions(take.forms, dict(zip(take.labels, take.sizes, strict=True)))
    return value[tuple(where)], take.labels


def multiplied(recipe, a, b) -> np.ndarray | None:
    """The value of a product."""
    if recipe.term.value is None:
        return None
    (a, a_labels), (b, b_labels) = taken(a, recipe.a), taken(b, recipe.b)
    b = b.conj() if recipe.conj_b else b
    value = np.einsum(a, [*a_labels], b, [*b_labels], [*recipe.term.value])
    assert {*a_labels, *b_labels} == {*recipe.term.value, *recipe.contracted}
    return (recipe.factor * value).real if recipe.real else value


def summed(recipe: Sum, values) -> list[np.ndarray | None]:
    """The values of a sum."""
    return [_summed(group, values) for group in recipe.groups]


def _summed(group: Group, values) -> np.ndarray | None:
    target = group.target
    if target.value is None:
        return None
    total = np.zeros(target.value_shape, complex)
    for source, scale, embedding in group.members:
        value = np.asarray(1.0 if values[source] is None else values[source])
        if embedding is None:
            total += scale * value
        else:
            assert embedding.shape == target.value_shape
            where, stored = _embedded(embedding)
            entries = value if value.ndim == 0 else value[tuple(stored)]
            np.add.at(total, tuple(where), scale * entries)
    _assert_tiled(group)
    return (total != 0) * 1.0 if target.is_mask else total


def _embedded(embedding: Embedding):
    """Where each entry of a source goes, and where it is stored."""
    indices = sorted({i for form in embedding.forms for i in form.indices})
    sizes = {i: embedding.sizes[i] for i in indices}
    stored = tuple(Affine(0, ((i, 1),)) for i in embedding.value or ())
    return positions(embedding.forms, sizes), positions(stored, sizes)


def _assert_tiled(group: Group) -> None:
    """The members of a tile fill the same part; these follow each other in order."""
    tiling = group.tiling
    if tiling is None:
        return
    assert sorted(it.chain(*tiling.tiles)) == [*range(len(group.members))]
    ends = np.cumsum(tiling.lengths)
    for members, length, end in zip(tiling.tiles, tiling.lengths, ends, strict=True):
        for _, _, embedding in (group.members[n] for n in members):
            assert embedding is not None
            filled = np.zeros(group.target.value_shape, int)
            np.add.at(filled, tuple(_embedded(embedding)[0]), 1)
            tile = np.zeros_like(filled)
            np.moveaxis(tile, tiling.axis, 0)[end - length : end] = 1
            assert np.array_equal(filled, tile)
    assert ends[-1] == group.target.value_shape[tiling.axis]


def random_block(seed: int, out, inp, flags):
    rng, numpy_rng = random.Random(seed), np.random.default_rng(seed)
    count = rng.choice([1, 1, 2, 3])
    terms = tuple(RandomTerm(rng, out, inp).term(*flags) for _ in range(count))
    pattern = Pattern(out, inp, terms, *flags)
    return pattern, [value_of(numpy_rng, term) for term in terms]


@pytest.mark.parametrize("seeds", [SEEDS[::2], SEEDS[1::2]], ids=["even", "odd"])
def test_products(seeds):
    for seed in seeds:
        rng = random.Random(seed)
        out, middle, inp = (random_shape(rng) for _ in range(3))
        flags = [False] * 3 if seed % 2 else [rng.random() < 0.7 for _ in "omi"]
        left, a = random_block(seed, out, middle, (flags[0], flags[1]))
        right, b = random_block(seed + 1, middle, inp, (flags[1], flags[2]))
        old, c = random_block(seed + 2, out, inp, (flags[0], flags[2]))
        expected = matmul(numbers(left, a), numbers(right, b), len(middle))
        recipe = update(old, left, right)
        composition = recipe.composition
        if composition.densify_left is not None:
            a = summed(composition.densify_left, a)
        if composition.densify_right is not None:
            b = summed(composition.densify_right, b)
        products = [multiplied(p, a[i], b[j]) for i, j, p in composition.products]
        actual = numbers(recipe.pattern, summed(recipe.sum, [*c, *products]))
        close(recipe.pattern, actual, np.array(expected) + numbers(old, c), seed)


def close(pattern, actual, expected, seed) -> None:
    actual, expected = relevant(pattern, actual), relevant(pattern, expected)
    np.testing.assert_allclose(actual, expected, 1e-12, 1e-12, err_msg=f"{seed}")


def _summands(seed: int):
    rng = random.Random(seed)
    out, inp, flags = random_shape(rng), random_shape(rng), rng.choice(FLAGS)
    blocks = [random_block(3 * seed + k, out, inp, flags) for k in range(3)]
    return blocks, sum(numbers(*block) for block in blocks)


def test_sums():
    for seed in SEEDS:
        blocks, expected = _summands(seed)
        total, recipe = add(*(pattern for pattern, _ in blocks))
        values = [value for _, values in blocks for value in values]
        close(total, numbers(total, summed(recipe, values)), expected, seed)


def test_dense_sums():
    for seed in SEEDS:
        ((pattern, values), *_), _ = _summands(seed)
        recipe = densify(pattern.terms, pattern.shape, len(pattern.out_shape))
        terms = tuple(group.target for group in recipe.groups)
        dense = Pattern(pattern.out_shape, pattern.in_shape, terms)
        actual = numbers(dense, summed(recipe, values))
        close(pattern, actual, numbers(pattern, values), seed)


@pytest.mark.parametrize("masks", [False, True])
def test_covers(masks):
    for seed in SEEDS:
        blocks, _ = _summands(seed)
        first = blocks[0][0]
        shape, num_out = first.shape, len(first.out_shape)
        terms = [pattern.terms for pattern, _ in blocks]
        targets, recipes = cover(terms, shape, num_out, masks)
        covering = Pattern(first.out_shape, first.in_shape, targets)
        assert all(term.value is not None for term in targets)
        for (pattern, values), recipe in zip(blocks, recipes, strict=True):
            actual = numbers(covering, summed(recipe, values))
            close(pattern, actual, numbers(pattern, values), seed)


def test_transposes():
    for seed in SEEDS:
        ((pattern, values), *_), _ = _summands(seed)
        turned, takes = pattern.transpose
        values_ = [
            None if value is None else taken(value, take)[0]
            for value, take in zip(values, takes, strict=True)
        ]
        rank = len(pattern.out_shape)
        axes = (0, *range(1 + rank, 1 + len(pattern.shape)), *range(1, 1 + rank))
        expected = numbers(pattern, values).transpose(axes)
        np.testing.assert_allclose(numbers(turned, values_), expected, 1e-12)


#
# Sums whose terms lie beside each other, and covers that mark what they hold
#


def window(first_row: int, rows: int, columns: int = 3, step: int = 1) -> Term:
    """Some rows, or every other one, of a matrix of five rows and three columns."""
    out = (Affine(first_row, ((0, step),)),)
    return Term(out, (single(1),), (rows, columns), (0, 1))


LEFT, RIGHT = (
    Term((single(0),), (Affine(first, ((1, 1),)),), (5, size), (0, 1))
    for first, size in [(0, 1), (1, 2)]
)
I = Term((single(0),), (single(0),), (3,), None)  # noqa: E741
DIAGONAL = replace(I, value=(0,))
FULL = Term((single(0),), (single(1),), (3, 3), (0, 1))
# Terms, their tiling, and the additions that it needs.
TILINGS = {
    "rows": ([window(0, 2), window(2, 3)], Tiling(0, ((0,), (1,)), (2, 3)), 0),
    "in reverse": ([window(2, 3), window(0, 2)], Tiling(0, ((1,), (0,)), (2, 3)), 0),
    "columns": ([LEFT, RIGHT], Tiling(1, ((0,), (1,)), (1, 2)), 0),
    "two at one place": (
        [window(0, 2), window(2, 3), window(2, 3)],
        Tiling(0, ((0,), (1, 2)), (2, 3)),
        9,
    ),
    "overlap": ([window(0, 3), window(2, 3)], None, 15),
    "gap": ([window(0, 2), window(3, 2)], None, 15),
    "steps": ([window(0, 3, step=2), window(1, 2, step=2)], None, 15),
    "corner": ([window(0, 2, columns=2), window(2, 3)], None, 15),
    "diagonal": ([DIAGONAL, window(0, 5)], None, 15),
    "diagonal above rows": ([DIAGONAL, window(3, 2)], None, 15),
    "steps above rows": ([window(0, 2, step=2), window(3, 2)], None, 15),
}


@pytest.mark.parametrize("name", TILINGS)
def test_tilings(name):
    terms, tiling, num_additions = TILINGS[name]
    recipe = add_terms(terms, (5, 3))
    (group,) = recipe.groups
    assert group.target.value_shape == (5, 3)
    assert group.tiling == tiling
    assert recipe.num_additions == num_additions
    _assert_tiled(group)


# The terms of two blocks, and the kinds of what covers both.
COVERS = {
    "stored": ([FULL], [FULL], ["value"]),
    "stored in one": ([FULL], [DIAGONAL], ["masked"]),
    "stored or zero": ([DIAGONAL], [], ["masked"]),
    "identity or zero": ([I], [], ["selection"]),
    "twice the identity or zero": ([replace(I, scale=2)], [], ["selection"]),
    "identity or twice it": ([I], [replace(I, scale=2)], ["value"]),
    "identity or twice a mask": (
        [I],
        [replace(DIAGONAL, kind="mask", scale=2)],
        ["masked"],
    ),
    "ones or zero": ([replace(FULL, value=None)], [], ["mask"]),
    "mask": ([replace(FULL, kind="mask")], [replace(FULL, kind="mask")], ["mask"]),
    "mask or numbers": ([replace(FULL, kind="mask")], [FULL], ["masked"]),
    "selection or mask": (
        [replace(FULL, kind="selection")],
        [replace(FULL, kind="mask")],
        ["mask"],
    ),
    "identity beside a mask": ([I, replace(FULL, kind="mask")], [], ["masked"]),
    "apart": ([DIAGONAL], [replace(DIAGONAL, conj=True)], ["masked", "masked"]),
}


@pytest.mark.parametrize("name", COVERS)
def test_kinds_of_covers(name):
    first, second, kinds = COVERS[name]
    targets, recipes = cover([first, second], (3, 3), 1, masks=True)
    assert [target.kind for target in targets] == kinds
    scales = {term.scale for term in first + second}
    if kinds[0] in ("mask", "selection"):
        assert {target.scale for target in targets} == scales
        scales = {1}
    groups = [group for recipe in recipes for group in recipe.groups]
    assert {scale for group in groups for _, scale, _ in group.members} == scales
    unmarked, _ = cover([first, second], (3, 3), 1)
    assert all(target.kind == "value" for target in unmarked)


def test_many_structures_are_covered_by_a_full_matrix():
    bands = [replace(DIAGONAL, inp=(Affine(k, ((0, 1),)),)) for k in range(7)]
    blocks = [[band] for band in bands]
    assert len(cover(blocks[:6], (3, 9), 1)[0]) == 6
    (target,), _ = cover(blocks, (3, 9), 1)
    assert target.value_shape == (3, 9)


MASK, SELECTION = replace(FULL, kind="mask"), replace(FULL, kind="selection")
SPREAD = Term((single(0), single(1)), (single(0),), (3, 2), None)
# Two terms, and the kind of their product.
KINDS = {
    "identity, mask": (replace(I, scale=2), MASK, "mask"),
    "mask, identity": (MASK, replace(I, scale=2), "mask"),
    "identity, selection": (I, SELECTION, "selection"),
    "selections": (SELECTION, SELECTION, "selection"),
    "mask, selection": (MASK, SELECTION, "value"),
    "selection, mask": (SELECTION, MASK, "mask"),
    "masks elementwise": (replace(DIAGONAL, kind="mask"), MASK, "mask"),
    "mask, numbers": (replace(DIAGONAL, kind="mask"), FULL, "masked"),
    "numbers, mask": (DIAGONAL, MASK, "value"),
    "sum of a mask": (replace(SPREAD, out=SPREAD.inp, inp=SPREAD.out), SPREAD, "value"),
    "sum of the rows of a mask": (Term((), (single(0),), (3,), None), MASK, "value"),
    "mask that is spread": (SPREAD, replace(DIAGONAL, kind="mask"), "selection"),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_products(name):
    a, b, kind = KINDS[name]
    (product,) = multiply(a, b, False, False)
    assert product.term.kind == kind


def test_terms_that_select():
    reduction = replace(SPREAD, out=SPREAD.inp, inp=SPREAD.out)
    assert I.is_selection and SELECTION.is_selection and SPREAD.is_selection
    assert not any(t.is_selection for t in (DIAGONAL, FULL, MASK, reduction))


def test_one_number_is_stored_with_what_it_overlaps():
    spread = Term((single(0),), (), (2,), ())
    first = Term((Affine(0),), (), (), None)
    (group,) = add_terms([spread, first], (2,)).groups
    assert group.target.value_shape == (2,)


def test_recipes_of_large_tables_are_given_up():
    """They would fill the memory; those of short ones stay."""

    def block(size: int, seed: int) -> Pattern:
        table = np.random.default_rng(seed).permutation(size)
        term = listed(np.sort(table * size + np.arange(size)), (size,), (size,))
        return Pattern((size,), (size,), (term,))

    def is_kept(size: int) -> bool:
        first = block(size, 0)
        reference = weakref.ref(add(first)[1])
        del first
        for seed in range(1, 300):
            add(block(size, seed))
        gc.collect()
        return reference() is not None

    assert is_kept(8)
    assert not is_kept(5000)
