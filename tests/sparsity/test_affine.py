"""Equations between affine forms, against enumeration of every index."""

import itertools as it
import math
import random

import pytest
from eqx_cc._sparsity.positions.affine import Affine, difference, single
from eqx_cc._sparsity.positions.equations import SolutionSet
from eqx_cc._sparsity.positions.matching import TooManyPairs
from eqx_cc._sparsity.positions.table import Form, Table


def form(offset: int, *strides: tuple[int, int]) -> Affine:
    return Affine(offset, strides)


def evaluate(a: Form, at) -> int:
    if isinstance(a, Table):
        return int(a.array[tuple(at[index] for index in a.indices)])
    return a.offset + sum(stride * at[index] for index, stride in a.strides)


def points(sizes: dict[int, int]):
    """Every assignment of the indices."""
    for values in it.product(*map(range, sizes.values())):
        yield dict(zip(sizes, values))


def solve(sizes, equations) -> list[SolutionSet]:
    return SolutionSet(sizes).equate(equations)


def solutions(sizes, systems) -> list[tuple[int, ...]]:
    """The original indices at every point of every system, sorted."""
    return sorted(
        tuple(evaluate(system.values[i], at) for i in sizes)
        for system in systems
        for at in points(system.sizes)
    )


def enumerated(sizes, equations) -> list[tuple[int, ...]]:
    return sorted(
        tuple(at.values())
        for at in points(sizes)
        if all(evaluate(a, at) == evaluate(b, at) for a, b in equations)
    )


def row_major(sizes: dict[int, int], indices) -> Affine:
    """The position in the flattened array of the axes `indices`."""
    strides, stride = [], 1
    for index in reversed(indices):
        strides.append((index, stride))
        stride *= sizes[index]
    return Affine(0, tuple(sorted(strides)))


#
# Forms
#


def test_a_single_index():
    assert single(3) == form(0, (3, 1))
    assert single(3).indices == (3,)


def test_substitute():
    values = {0: form(1, (5, 2)), 1: form(-1, (4, 1), (5, 1))}
    assert form(7, (0, 3), (1, -2)).substitute(values.__getitem__) == form(
        12, (4, -2), (5, 4)
    )


def test_substitute_drops_what_cancels():
    assert difference(form(4, (0, 2), (1, 1)), form(1, (0, 2))) == form(3, (1, 1))
    assert difference(form(4, (0, 2)), form(4, (0, 2))) == Affine(0)


@pytest.mark.parametrize(
    "a, expected",
    [
        (form(3), (3, 3)),
        (form(0, (0, 1)), (0, 2)),
        (form(2, (0, -1)), (0, 2)),
        (form(1, (0, 4), (1, -3)), (-8, 9)),
    ],
)
def test_range(a, expected):
    assert a.range({0: 3, 1: 4}.__getitem__) == expected


#
# Equations
#


def _random_form(rng: random.Random, sizes: dict[int, int]) -> Affine:
    """A window of one or two indices, or a flattening of up to three."""
    if rng.random() < 0.4:
        indices = rng.sample(sorted(sizes), rng.randint(1, min(3, len(sizes))))
        strides = row_major(sizes, indices).strides
        offset = rng.choice([0, 0, 0, 1, -1])
    else:
        indices = rng.sample(sorted(sizes), rng.randint(1, min(2, len(sizes))))
        strides = [(i, rng.choice([1, 1, 1, -1, 2, -2, 3])) for i in sorted(indices)]
        offset = rng.randint(-1, 3)
    return Affine(offset, tuple((i, s) for i, s in strides if sizes[i] > 1))


def _random_case(seed: int):
    rng = random.Random(seed)
    sizes = {i: rng.choice([1, 2, 3, 4, 4, 6, 6]) for i in range(rng.randint(1, 5))}
    forms = [_random_form(rng, sizes) for _ in range(2 * rng.randint(1, 2))]
    return sizes, list(zip(forms[::2], forms[1::2]))


def test_random_systems():
    for seed in range(2000):
        sizes, equations = _random_case(seed)
        systems = solve(sizes, equations)
        expected = enumerated(sizes, equations)
        assert solutions(sizes, systems) == expected, (seed, sizes, equations)


# Sizes, the two sides, and into how many systems the solutions fall.
NAMED = {
    "always": ({0: 3}, form(2), form(2), 1),
    "never": ({0: 3}, form(2), form(1), 0),
    "tie": ({0: 3, 1: 3}, single(0), single(1), 1),
    "fix": ({0: 3}, single(0), form(2), 1),
    "out_of_reach": ({0: 3}, single(0), form(3), 0),
    "not_divisible": ({0: 3, 1: 3}, form(0, (0, 2)), form(1, (1, 4)), 0),
    "window": ({0: 6, 1: 3}, single(0), form(2, (1, 1)), 1),
    "window_cut_off": ({0: 6, 1: 3}, single(0), form(5, (1, 1)), 1),
    "shift": ({0: 4, 1: 4}, form(1, (0, 1)), single(1), 1),
    "reversed": ({0: 4, 1: 4}, form(3, (0, -1)), single(1), 1),
    "strides_2_and_3": ({0: 7, 1: 5}, form(0, (0, 2)), form(1, (1, 3)), 1),
    "opposite_directions": ({0: 7, 1: 5}, form(0, (0, 2)), form(9, (1, -3)), 1),
    "size_one": ({0: 1, 1: 4}, single(0), single(1), 1),
    # Solved for 2, though 0 and 1 overlap: no rows are told apart.
    "isolated": ({0: 3, 1: 6, 2: 20}, form(0, (0, 4), (1, 1)), single(2), 1),
    "isolated backwards": (
        *({0: 3, 1: 6, 2: 20}, form(13, (0, -4), (1, -1))),
        *(single(2), 1),
    ),
    "cancels": ({0: 3, 1: 3}, form(0, (0, 1), (1, 2)), form(1, (0, 1)), 0),
}


@pytest.mark.parametrize("name", NAMED)
def test_named(name):
    sizes, a, b, count = NAMED[name]
    systems = solve(sizes, [(a, b)])
    assert len(systems) == count
    assert solutions(sizes, systems) == enumerated(sizes, [(a, b)])


@pytest.mark.parametrize(
    "left, right",
    [
        ((24,), (4, 6)),
        ((4, 6), (8, 3)),
        ((4, 6), (2, 2, 6)),
        ((2, 3, 4), (6, 4)),
        ((2, 3, 4), (2, 12)),
        ((2, 6, 2), (4, 6)),
        ((4, 1, 6), (1, 24)),
        ((8, 9), (2, 2, 2, 3, 3)),
    ],
)
def test_reshape(left, right):
    """Two flattenings of one array: solved by a refinement of both, with no split."""
    sizes = dict(enumerate(left + right))
    a, b = range(len(left)), range(len(left), len(sizes))
    equation = row_major(sizes, list(a)), row_major(sizes, list(b))
    (system,) = solve(sizes, [equation])
    assert math.prod(system.sizes.values()) == math.prod(left)
    assert solutions(sizes, [system]) == enumerated(sizes, [equation])


def test_reshape_through_a_vector():
    """`(4, 6) -> (24,) -> (8, 3)`: the vector ties its axes to those of both."""
    sizes = {0: 4, 1: 6, 2: 24, 3: 8, 4: 3}
    equations = [
        (form(0, (0, 6), (1, 1)), single(2)),
        (single(2), form(0, (3, 3), (4, 1))),
    ]
    (system,) = solve(sizes, equations)
    assert math.prod(system.sizes.values()) == 24
    assert solutions(sizes, [system]) == enumerated(sizes, equations)


@pytest.mark.parametrize("shift", [-7, -4, -1, 0, 1, 3, 4, 11, 12])
def test_shift_across_rows(shift):
    """A flattened `(3, 4)` array shifted against another: the rows do not line up."""
    sizes = {0: 3, 1: 4, 2: 3, 3: 4}
    equation = form(shift, (0, 4), (1, 1)), form(0, (2, 4), (3, 1))
    systems = solve(sizes, [equation])
    assert solutions(sizes, systems) == enumerated(sizes, [equation])
    aligned, reached = shift % 4 == 0, abs(shift) < 12
    assert len(systems) <= (reached if aligned else 2)


@pytest.mark.parametrize("step", [2, 3, 4, 5, 8])
def test_strides_across_rows(step):
    """Every `step`-th element of a flattened `(3, 4)` array."""
    sizes = {0: 3, 1: 4, 2: -(-12 // step)}
    equation = form(0, (0, 4), (1, 1)), form(0, (2, step))
    systems = solve(sizes, [equation])
    assert solutions(sizes, systems) == enumerated(sizes, [equation])


def test_solutions_in_turn_are_independent():
    """Systems that one equation splits into share nothing."""
    sizes = {0: 3, 1: 4, 2: 3, 3: 4}
    equation = form(1, (0, 4), (1, 1)), form(0, (2, 4), (3, 1))
    first, second = solve(sizes, [equation])
    before = solutions(sizes, [second])
    first.equate([(single(0), form(0))])
    assert solutions(sizes, [second]) == before


LISTED = {
    # `(11, 13) -> (13, 11)`: shapes without a common refinement.
    "incommensurable": (
        {0: 11, 1: 13, 2: 13, 3: 11},
        form(0, (0, 13), (1, 1)),
        form(0, (2, 11), (3, 1)),
    ),
    "three_in_balance": ({0: 9, 1: 9, 2: 9}, form(0, (0, 1), (1, 1)), form(8, (2, -1))),
    # More rows crossed than a block should have terms.
    "many_rows": ({0: 20, 1: 7, 2: 20}, form(0, (0, 7), (1, 1)), form(0, (2, 5))),
}


@pytest.mark.parametrize("name", LISTED)
def test_equations_without_affine_solutions(name):
    """Their solutions are listed, and are one family."""
    sizes, *equation = LISTED[name]
    systems = solve(sizes, [tuple(equation)])
    assert len(systems) == 1
    assert solutions(sizes, systems) == enumerated(sizes, [tuple(equation)])


def test_too_many_solutions_to_list():
    sizes = {0: 1 << 13, 1: 1 << 13, 2: 1 << 13}
    with pytest.raises(TooManyPairs):
        solve(sizes, [(form(0, (0, 1), (1, 1)), form(1 << 13, (2, -1)))])


@pytest.mark.parametrize("width, injective", [(9, True), (10, True), (11, False)])
def test_forms_that_determine_their_indices(width, injective):
    flat = form(3, (0, -10), (1, 1))
    assert flat.is_injective({0: 3, 1: width}.__getitem__) == injective


@pytest.mark.parametrize("width, contiguous", [(9, False), (10, True), (11, True)])
def test_forms_that_skip_nothing(width, contiguous):
    flat = form(3, (0, -10), (1, 1))
    assert flat.is_contiguous({0: 3, 1: width}.__getitem__) == contiguous
    assert not form(0, (0, 2)).is_contiguous({0: 3}.__getitem__)
