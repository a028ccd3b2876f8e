"""Linear solvers by the name of a structure."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import pytest
from eqx_cc import (
    Arrowhead,
    Banded,
    BlockDiagonal,
    BlockTridiagonal,
    KLU,
    SmallInverse,
    SuperLU,
    Woodbury,
)
from eqx_cc._solve.factorisations import klu
from eqx_cc._solve.factorisations.banded import _factor, BandedLU
from eqx_cc._solve.factorisations.klu import is_installed


class Case(NamedTuple):
    """A solver that looks for the structure, one to which it is stated (None if that
    cannot be), which entries there are, and products of which elimination is to find
    that again."""

    open: Any
    stated: Any
    keep: Callable
    product: Callable

    def pattern(self, size):
        i, j = np.indices((size, size))
        return np.broadcast_to(self.keep(i, j, size), (size, size))


def _bands(lower, upper):
    return lambda i, j, size: (i - j <= lower) & (j - i <= upper)


def _blocks(width):
    return lambda i, j, size: i // width == j // width


def _wide(i, j, size):
    return np.isin(abs(i - j), [0, 9])


def _arrow(width, lower=0, upper=0):
    bands = _bands(lower, upper)
    return lambda i, j, n: bands(i, j, n) | (np.maximum(i, j) >= n - width)


def _grid(i, j, size):
    return np.isin(abs(i - j), [0, 1, 7])


def _by_diagonals(*offsets):
    def product(entries, x):
        size, actual = len(x), jnp.zeros_like(x)
        for k in offsets:
            rows = np.arange(max(0, -k), min(size, size - k))
            if len(rows) > 0:
                terms = entries[rows, rows + k] * x[rows[0] + k : rows[-1] + 1 + k]
                actual = actual + jnp.pad(terms, (rows[0], size - 1 - rows[-1]))
        return actual

    return product


def _by_blocks(width):
    def product(entries, x):
        """The last block by itself, as it may be smaller."""
        count = len(x) // width
        inside = count * width
        where = np.arange(count)
        whole = entries[:inside, :inside].reshape(count, width, count, width)
        first = jnp.einsum(
            "kij,kj->ki", whole[where, :, where, :], x[:inside].reshape(count, width)
        )
        last = entries[inside:, inside:] @ x[inside:]
        return jnp.concatenate([first.reshape(-1), last])

    return product


def _with_border(width, core):
    def product(entries, x):
        width_ = min(width, len(x))
        inside = len(x) - width_
        first = core(entries[:inside, :inside], x[:inside])
        first = first + entries[:inside, inside:] @ x[inside:]
        return jnp.concatenate([first, entries[inside:] @ x])

    return product


def _with_mean(core):
    def product(entries, x):
        weights = jnp.sin(jnp.arange(len(x), dtype=x.dtype))
        return core(entries, x) + weights * jnp.mean(x)

    return product


CASES = {
    "banded": Case(Banded(), Banded(2, 1), _bands(2, 1), _by_diagonals(-2, -1, 0, 1)),
    "upper": Case(Banded(), Banded(0, 2), _bands(0, 2), _by_diagonals(0, 1, 2)),
    "many bands": Case(Banded(), Banded(9, 9), _wide, _by_diagonals(-9, 0, 9)),
    "bands of blocks": Case(Banded(), Banded(3, 3), _blocks(4), _by_blocks(4)),
    "block-tridiagonal": Case(
        BlockTridiagonal(),
        BlockTridiagonal(width=3),
        _bands(2, 2),
        _by_diagonals(*range(-2, 3)),
    ),
    "block-diagonal": Case(
        BlockDiagonal(), BlockDiagonal(width=3), _blocks(3), _by_blocks(3)
    ),
    "diagonal": Case(
        BlockDiagonal(), BlockDiagonal(width=1), _blocks(1), _by_diagonals(0)
    ),
    "arrowhead": Case(
        Arrowhead(width=2),
        Arrowhead(width=2),
        _arrow(2),
        _with_border(2, _by_diagonals(0)),
    ),
    "banded arrowhead": Case(
        Arrowhead(width=2, core=Banded()),
        Arrowhead(width=2, core=Banded(1, 1)),
        _arrow(2, 1, 1),
        _with_border(2, _by_diagonals(-1, 0, 1)),
    ),
    "low rank": Case(Woodbury(), None, _bands(0, 0), _with_mean(_by_diagonals(0))),
    "low rank and bands": Case(
        Woodbury(Banded()), None, _bands(1, 1), _with_mean(_by_diagonals(-1, 0, 1))
    ),
    "sparse": Case(SuperLU(), None, _grid, _by_diagonals(-7, -1, 0, 1, 7)),
    **(
        {"KLU": Case(KLU(), None, _grid, _by_diagonals(-7, -1, 0, 1, 7))}
        if is_installed()
        else {}
    ),
    "small": Case(
        SmallInverse(), SmallInverse(), lambda i, j, n: i == i, lambda a, x: a @ x
    ),
}
if is_installed():
    CASES["KLU"] = CASES["sparse"]._replace(open=KLU())
# One for each solver; the others are about its structures.
NAMED = {
    "banded",
    "block-tridiagonal",
    "block-diagonal",
    "arrowhead",
    "low rank",
    "sparse",
    "small",
}
# Whose pivots are sought in the whole matrix.
PIVOTED = "banded", "sparse", "small"


def _entries(name, size, dtype=jnp.float64):
    """Normal entries: no diagonal is dominant where pivots are sought."""
    dense = np.asarray(jr.normal(jr.key(3), (size, size)))
    dense = dense + (0 if name in PIVOTED else 4) * np.eye(size)
    return jnp.asarray(np.where(CASES[name].pattern(size), dense, 0), dtype)


def _as_function(name, entries):
    struct = jax.ShapeDtypeStruct(entries.shape[:1], entries.dtype)
    product = CASES[name].product
    return lx.FunctionLinearOperator(lambda x: product(entries, x), struct)


def _dense(name, entries):
    actual = np.asarray(entries, np.float64)
    if name.startswith("low rank"):
        size = len(actual)
        actual = actual + np.outer(np.sin(np.arange(size)), np.full(size, 1 / size))
    return actual


def _vector(size, dtype=jnp.float64):
    return jnp.asarray(np.cos(1.7 * np.arange(size)), dtype)


def _assert_solves(dense, actual, vector, tol=1e-13):
    actual = np.asarray(actual, np.float64)
    size = np.abs(dense).sum(1).max() * np.abs(actual).max(initial=0)
    atol = tol * (size + np.abs(vector).max(initial=0))
    np.testing.assert_allclose(dense @ actual, vector, rtol=0, atol=atol)


def _params(often):
    """Every case, as a function and as a matrix; `slow` but for those named in `often`
    as the former, as matrices differ in how they are built alone."""
    for name, case in CASES.items():
        marks = () if name in often else pytest.mark.slow
        yield pytest.param(name, False, id=f"{name}-function", marks=marks)
        if case.stated is not None:
            yield pytest.param(name, True, id=f"{name}-matrix", marks=pytest.mark.slow)


# Which differ from a case that is named in numbers alone.
ALIKE = {"upper", "bands of blocks", "diagonal"}


def _often(name, as_matrix):
    if name in NAMED:
        return {25, 2 if as_matrix else 1}
    return set() if as_matrix or name in ALIKE else {25}


def _with_sizes():
    """Most cases; as matrices, and at sizes that are next to nothing, one of each
    solver. 25 and 50 are divisible by hardly any of the widths above."""
    for name, case in CASES.items():
        for as_matrix in (False, True)[: 1 + (case.stated is not None)]:
            often = _often(name, as_matrix)
            for size in (1, 2, 25, 50):
                marks = () if size in often else pytest.mark.slow
                label = f"{name}-{'matrix' if as_matrix else 'function'}-{size}"
                yield pytest.param(name, as_matrix, size, id=label, marks=marks)


def _case(name, as_matrix, entries):
    if as_matrix:
        return CASES[name].stated, lx.MatrixLinearOperator(entries)
    return CASES[name].open, _as_function(name, entries)


@pytest.mark.parametrize("name, as_matrix, size", list(_with_sizes()))
def test_solutions(name, as_matrix, size):
    """Against dense products: solved, transposed, through `lx.linear_solve`."""
    entries, vector = _entries(name, size), _vector(size)

    @jax.jit
    def run(entries, vector):
        solver, operator = _case(name, as_matrix, entries)
        state = solver.init(operator, {})
        turned, _ = solver.transpose(state, {})
        same, _ = solver.conj(state, {})
        actual = [
            solver.compute(state, vector, {})[0],
            solver.compute(same, vector, {})[0],
            lx.linear_solve(operator, vector, solver).value,
            solver.compute(turned, vector, {})[0],
        ]
        if not as_matrix:  # What is stated is not for the transposed operator.
            actual.append(lx.linear_solve(operator.T, vector, solver).value)
        return actual

    dense = _dense(name, entries)
    actual = run(entries, vector)
    for solution in actual[:3]:
        _assert_solves(dense, solution, vector)
    for solution in actual[3:]:
        _assert_solves(dense.T, solution, vector)


@pytest.mark.parametrize("name, as_matrix", list(_params(NAMED)))
def test_batches_derivatives_and_single_precision(name, as_matrix):
    """Through `lx.linear_solve`, with respect to the matrix and the right-hand side."""
    size = 25
    entries, vector = _entries(name, size), _vector(size)
    scales = jnp.array([1.0, 2.0, -0.5])

    def solve(scale, vector, entries=entries):
        solver, operator = _case(name, as_matrix, entries * scale)
        return lx.linear_solve(operator, vector, solver).value

    def total(scale, vector):
        return jnp.sum(solve(scale, vector) * jnp.arange(1.0, size + 1))

    @jax.jit
    def run(scales, vector):
        both = scales[1], vector
        single = entries.astype(jnp.float32)
        return (
            jax.vmap(solve, (0, None))(scales, vector),
            jax.grad(total, (0, 1))(*both),
            jax.jvp(total, both, (1.0, jnp.cos(vector)))[1],
            solve(scales[1].astype(jnp.float32), vector.astype(jnp.float32), single),
        )

    actual, gradients, moved, single = run(scales, vector)
    plain = np.asarray(entries)
    rest = _dense(name, plain) - plain
    for scale, solution in zip(np.asarray(scales), actual):
        _assert_solves(scale * plain + rest, solution, vector)
    dense, expected = 2 * plain + rest, np.asarray(actual[1])
    left = np.linalg.solve(dense.T, np.arange(1.0, size + 1))
    np.testing.assert_allclose(gradients[0], -left @ plain @ expected, rtol=1e-8)
    np.testing.assert_allclose(gradients[1], left, rtol=1e-8, atol=1e-12)
    change = gradients[0] + left @ np.cos(vector)
    np.testing.assert_allclose(moved, change, rtol=1e-8)
    assert single.dtype == jnp.float32
    _assert_solves(dense, single, vector, 1e-5)


@pytest.mark.parametrize("name, as_matrix", list(_params(NAMED)))
def test_what_is_singular_is_reported(name, as_matrix):
    """A column of zeros, in a batch next to a matrix that is regular."""
    size = 25
    entries, vector = _entries(name, size), _vector(size)

    @jax.jit
    def run(entries, vector):
        solver, operator = _case(name, as_matrix, entries)
        actual = lx.linear_solve(operator, vector, solver, throw=False)
        return actual.value, actual.result == lx.RESULTS.successful

    # The mean gives one column back, but not two.
    bad = entries.at[:, np.array([4, 5])].set(0.0)
    values, good = jax.vmap(run, (0, None))(jnp.stack([entries, bad]), vector)
    np.testing.assert_array_equal(good, [True, False])
    _assert_solves(_dense(name, entries), values[0], vector)


SOLVERS = {
    "banded": (Banded(), Banded(1, 1)),
    "block-tridiagonal": (BlockTridiagonal(), BlockTridiagonal(1)),
    "block-diagonal": (BlockDiagonal(), BlockDiagonal(2)),
    "arrowhead": (Arrowhead(), Arrowhead()),
    "low rank": (Woodbury(), None),
    "sparse": (SuperLU(), None),
    **({"KLU": (KLU(), None)} if is_installed() else {}),
    "small": (SmallInverse(), SmallInverse()),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_nothing_to_solve(name):
    for solver, matrix in zip(SOLVERS[name], (jnp.zeros((0, 0)),) * 2):
        for operator in (
            lx.JacobianLinearOperator(lambda y, _: jnp.sin(y), jnp.zeros(0)),
            lx.MatrixLinearOperator(matrix),
        ):
            if solver is not None:
                state = solver.init(operator, {})
                actual, result, _ = solver.compute(state, jnp.zeros(0), {})
                assert actual.shape == (0,) and result == lx.RESULTS.successful


@pytest.mark.parametrize("name", SOLVERS)
def test_pytrees(name):
    """Two leaves of one type, and the function of one is diagonal."""

    def fun(y, _):
        return {"u": 3 * y["u"] + y["u"] ** 2, "v": jnp.exp(y["v"])}

    y = {"u": jnp.linspace(1.0, 2.0, 6).reshape(2, 3), "v": jnp.array(0.5)}
    vector = jax.tree.map(jnp.cos, y)

    @jax.jit
    def run(y, vector):
        operator = lx.JacobianLinearOperator(fun, y)
        return lx.linear_solve(operator, vector, SOLVERS[name][0]).value

    actual = run(y, vector)
    expected = {
        "u": vector["u"] / (3 + 2 * y["u"]),
        "v": vector["v"] / jnp.exp(y["v"]),
    }
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), actual, expected
    )


#
# What the operators of lineax tell
#


def test_operators_of_lineax():
    size = 9
    diagonal = lx.DiagonalLinearOperator(jnp.linspace(2.0, 3.0, size))
    three = jnp.linspace(4.0, 5.0, size), jnp.ones(size - 1), -jnp.ones(size - 1)
    bands = lx.TridiagonalLinearOperator(*three)
    matrix = bands.as_matrix()
    operators = [
        (diagonal, [Banded(0, 0), BlockDiagonal(1), SuperLU()]),
        (bands, [Banded(1, 1), BlockTridiagonal(1), Woodbury(Banded())]),
        (bands + diagonal, [Banded(1, 1), SmallInverse()]),
        (bands @ diagonal @ bands, [Banded(2, 2), BlockTridiagonal(2)]),
        (lx.MatrixLinearOperator(matrix, lx.tridiagonal_tag), [Banded(), SuperLU()]),
        (lx.TaggedLinearOperator(bands, lx.symmetric_tag), [Banded()]),
        (2 * lx.IdentityLinearOperator(bands.in_structure()) - bands, [Banded()]),
    ]
    vector = _vector(size)

    @jax.jit
    def run(vector):
        return [
            [lx.linear_solve(operator, vector, solver).value for solver in solvers]
            for operator, solvers in operators
        ]

    for (operator, _), solutions in zip(operators, run(vector)):
        for actual in solutions:
            _assert_solves(np.asarray(operator.as_matrix()), actual, vector)


def test_low_rank_of_operators():
    size = 40
    left, right = jr.normal(jr.key(0), (2, size, 2))
    diagonal = lx.DiagonalLinearOperator(jnp.linspace(2.0, 3.0, size))
    product = lx.MatrixLinearOperator(left) @ lx.MatrixLinearOperator(right.T)

    @jax.jit
    def run(vector):
        state = Woodbury().init(diagonal + product, {})
        assert type(state.factorisation).__name__ == "LowRankUpdate"
        return lx.linear_solve(diagonal + product, vector, Woodbury()).value

    vector = _vector(size)
    dense = np.asarray(diagonal.as_matrix()) + np.asarray(left @ right.T)
    _assert_solves(dense, run(vector), vector)


STATED = {
    "bands": (Banded(2, 1), lambda i, j: (i - j <= 2) & (j - i <= 1)),
    "many bands": (Banded(1, 9), lambda i, j: (i - j <= 1) & (j - i <= 9)),
    "block-tridiagonal": (BlockTridiagonal(2), lambda i, j: abs(i // 2 - j // 2) <= 1),
    "block-diagonal": (BlockDiagonal(3), lambda i, j: i // 3 == j // 3),
    "diagonal": (BlockDiagonal(1), lambda i, j: i == j),
    "arrowhead": (Arrowhead(2), lambda i, j: (i == j) | (np.maximum(i, j) >= 10)),
}


@pytest.mark.parametrize("name", STATED)
def test_entries_outside_of_what_is_stated_are_reported(name):
    """In a batch, next to a matrix that has none, and as a PyTree."""
    solver, kept = STATED[name]
    dense = _entries("small", 12) + 6 * jnp.eye(12)
    i, j = np.indices((12, 12))
    one = jnp.where(kept(i, j), dense, 0)
    outside = np.argwhere(~kept(i, j))[-1]
    other = one.at[tuple(outside)].set(1e-3)
    vector = _vector(12)
    struct = jax.ShapeDtypeStruct((12,), jnp.float64)

    def run(matrix):
        actual = []
        for operator in (
            lx.MatrixLinearOperator(matrix),
            lx.PyTreeLinearOperator(matrix, struct),
        ):
            solution = lx.linear_solve(operator, vector, solver, throw=False)
            actual.append((solution.value, solution.result == lx.RESULTS.successful))
        return actual

    for values, good in jax.jit(jax.vmap(run))(jnp.stack([one, other, dense])):
        np.testing.assert_array_equal(good, [True, False, False])
        _assert_solves(np.asarray(one), values[0], vector)
        assert not np.any(np.isfinite(values[1:]))


def test_tags_are_believed():
    """As lineax does, of operators of which the pattern is not known, or not found."""
    size = 26
    weights = jr.normal(jr.key(2), (size, size)) / size + 4 * jnp.eye(size)
    vector, struct = _vector(size), jax.ShapeDtypeStruct((size,), jnp.float64)
    tridiagonal = lambda a: jnp.triu(jnp.tril(a, 1), -1)  # noqa: E731
    unit = lambda a: jnp.fill_diagonal(jnp.tril(a), 1, inplace=False)  # noqa: E731
    last = size - 1
    ones = frozenset([lx.lower_triangular_tag, lx.unit_diagonal_tag])
    cases = (
        (Banded(1, 1), lx.tridiagonal_tag, tridiagonal),
        (Banded(), lx.tridiagonal_tag, tridiagonal),
        (BlockTridiagonal(1), lx.tridiagonal_tag, tridiagonal),
        (Woodbury(Banded()), lx.tridiagonal_tag, tridiagonal),
        (SuperLU(), lx.tridiagonal_tag, tridiagonal),
        (BlockDiagonal(1), lx.diagonal_tag, lambda a: jnp.diag(jnp.diag(a))),
        (Banded(0, last), lx.upper_triangular_tag, jnp.triu),
        (Banded(last, 0), lx.lower_triangular_tag, jnp.tril),
        (Banded(last, 0), ones, unit),
    )

    @jax.jit
    def run(vector):
        actual = []
        for solver, tags, _ in cases:
            operators = (
                lx.MatrixLinearOperator(weights, tags),
                lx.FunctionLinearOperator(lambda x: weights @ x, struct, tags),
                lx.JacobianLinearOperator(lambda x, _: weights @ x, vector, None, tags),
            )
            actual.append([lx.linear_solve(o, vector, solver).value for o in operators])
        return actual

    for (*_, part), each in zip(cases, run(vector)):
        for actual in each:
            _assert_solves(np.asarray(part(weights)), actual, vector)


@pytest.mark.parametrize(
    "solver", [Banded(), BlockDiagonal(), BlockTridiagonal(2), SmallInverse()]
)
def test_inner_solvers_for_what_is_singular(solver):
    """Such a one is asked whenever the matrix may be singular."""
    size = 12
    inner = lx.AutoLinearSolver(well_posed=False)
    solver = dataclasses.replace(solver, inner=inner)
    vector = _vector(size)

    def fun(y, _):
        pairs = y.reshape(-1, 2)
        return jnp.stack([pairs @ jnp.array([1.0, 0.3]), pairs[:, 1]], 1).reshape(-1)

    @jax.jit
    @jax.vmap
    def run(scale):
        scales = jnp.ones(size).at[3].set(scale)
        scaled = lambda y, _: scales * fun(y, None)  # noqa: E731
        operator = lx.JacobianLinearOperator(scaled, jnp.ones(size))
        dense = lx.MatrixLinearOperator(operator.as_matrix())
        return [
            lx.linear_solve(o, vector, s).value
            for o, s in ((operator, solver), (dense, inner))
        ]

    actual, expected = run(jnp.array([1.0, 0.0, 1e-18]))
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize("entry", [0.0, 1e-30])
def test_parts_that_are_singular(entry):
    """What is eliminated first is singular, or next to it; the whole is not."""
    size = 12
    weights = jnp.ones(size).at[4].set(entry)

    def arrow(y, _):
        last = jnp.sum(y)[None]
        return jnp.concatenate([weights[:-1] * y[:-1] + y[-1], last])

    def mean(y, _):
        return weights * y + jnp.mean(y)

    def swapped(y, _):
        return jnp.roll(y.reshape(-1, 2), 1, 1).reshape(-1) + entry * y

    vector = _vector(size)

    @jax.jit
    def run(vector):
        actual = []
        for fun, solver in (
            (arrow, Arrowhead()),
            (mean, Woodbury()),
            (swapped, BlockTridiagonal(1)),
            (swapped, BlockDiagonal()),
        ):
            operator = lx.JacobianLinearOperator(fun, jnp.ones(size))
            solution = lx.linear_solve(operator, vector, solver).value
            actual.append((operator.as_matrix(), solution))
        return actual

    for dense, actual in run(vector):
        _assert_solves(np.asarray(dense), actual, vector)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in NAMED else pytest.mark.slow)
        for name, case in CASES.items()
        if case.stated
    ],
)
def test_without_jit(name):
    """Operation by operation, for those who debug."""
    size = 19
    entries, vector = _entries(name, size), _vector(size)
    solver, operator = _case(name, True, entries)
    with jax.disable_jit():
        state = solver.init(operator, {})
        actual, _, _ = solver.compute(state, vector, {})
    _assert_solves(_dense(name, entries), actual, vector)


def test_loops_without_jit():
    """They stay loops, also for those who solve such systems with jit afterwards."""
    with jax.disable_jit():
        actual = _factor.__wrapped__(BandedLU(9, 2, 1), jnp.dtype(jnp.float64))
    assert str(actual.native).count("scan[") == str(actual.plain).count("scan[") == 1


#
# Orders
#


def test_reordering():
    """Two species one after the other, pairs far apart, and a hub in the middle."""
    size = 50
    x = jnp.linspace(1.0, 2.0, size)

    def species(y):
        u, v = jnp.split(y, 2)
        near = jnp.pad(u[1:], (0, 1)) - jnp.pad(v[:-1], (1, 0))
        return jnp.concatenate([4 * u + near * v, 5 * v - near])

    def pairs(y):
        u, v = jnp.split(y, 2)
        return jnp.concatenate([u * v, u - 3 * v**2])

    def hub(y):
        unit = jnp.zeros(size).at[20].set(1.0)
        total = jnp.concatenate([jnp.zeros(20), jnp.sum(y)[None], jnp.zeros(29)])
        return 3 * y + y[20] * jnp.sin(y) * (1 - unit) + total

    vector = _vector(size)
    for fun, solver, name in (
        (species, Banded(reorder=True), "BandedLU"),
        (species, BlockTridiagonal(reorder=True), "BlockTridiagonalLU"),
        (pairs, BlockDiagonal(reorder=True), "BlockInverse"),
        (hub, Arrowhead(reorder=True), "BorderedLU"),
    ):
        operator = lx.JacobianLinearOperator(lambda y, _: fun(y), x)

        @jax.jit
        def run(vector):
            state = solver.init(operator, {})
            reordered: Any = state.factorisation
            assert type(reordered.inner).__name__ == name
            turned, _ = solver.transpose(state, {})
            both = state, turned
            return [solver.compute(s, vector, {})[0] for s in both]

        actual, transposed = run(vector)
        jacobian = np.asarray(jax.jacfwd(fun)(x))
        _assert_solves(jacobian, actual, vector)
        _assert_solves(jacobian.T, transposed, vector)


#
# What does not have the structure
#


def _tridiagonal(y, _=None):
    return 4 * y + jnp.pad(y[1:], (0, 1)) - jnp.pad(y[:-1], (1, 0))


REFUSED = {
    "narrower bands": (Banded(1, 0), _tridiagonal, "1 bands below .* and 1 above"),
    "no bands": (
        Banded(),
        lambda y, _: y * jnp.roll(y, 1),
        "1 bands below .* and 39 above",
    ),
    "narrower blocks": (BlockDiagonal(2), _tridiagonal, "from a width of 40 on"),
    "one block": (BlockDiagonal(), _tridiagonal, "40 rows are connected"),
    "no blocks": (
        BlockTridiagonal(),
        lambda y, _: y + jnp.roll(y, 20) * y,
        "block-tridiagonal from a width of",
    ),
    "not tridiagonal by blocks": (
        BlockTridiagonal(1),
        lambda y, _: y + jnp.pad(y[2:], (0, 2)),
        "from a width of 2 on",
    ),
    "core": (Arrowhead(), _tridiagonal, "core does not suit"),
    "rank": (
        Banded(),
        lambda y, _: y + jnp.mean(y) * jnp.sin(jnp.arange(40.0)),
        r"39 bands below .*`eqx_cc.Woodbury\(\)`",
    ),
    "no rank": (Woodbury(), _tridiagonal, "with none of low rank"),
    "not sparse": (
        SuperLU(),
        lambda y, _: jnp.cos(jnp.outer(jnp.arange(40.0), jnp.arange(40.0))) @ y,
        "1600 of its 1600 entries",
    ),
    "not small": (SmallInverse(), lambda y, _: jnp.tile(y, 1), "up to 64 rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_does_not_have_the_structure(name):
    solver, fun, said = REFUSED[name]
    y = jnp.ones(70 if name == "not small" else 40)
    operator = lx.JacobianLinearOperator(fun, y)
    with pytest.raises(ValueError, match=said):
        lx.linear_solve(operator, y, solver)


@pytest.mark.parametrize("name", SOLVERS)
def test_refuses_what_is_complex_or_not_square(name):
    solver = SOLVERS[name][0]
    wide = lx.MatrixLinearOperator(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="2 rows and 3 columns"):
        solver.init(wide, {})
    matrix = jax.lax.complex(jnp.eye(3), jnp.eye(3))
    with pytest.raises(ValueError, match="of type complex128"):
        solver.init(lx.MatrixLinearOperator(matrix), {})


def test_refuses_matrices_of_unknown_pattern():
    operator = lx.MatrixLinearOperator(jnp.eye(30))
    for solver in (Banded(), Banded(lower=1), BlockDiagonal(), BlockTridiagonal()):
        with pytest.raises(ValueError, match="State `"):
            solver.init(operator, {})
    for solver in (
        Banded(1, 1, reorder=True),
        Arrowhead(reorder=True),
        Woodbury(),
        SuperLU(),
    ):
        with pytest.raises(ValueError, match="not known when tracing"):
            solver.init(operator, {})


def test_names_the_extra_that_is_missing(monkeypatch):
    """Before any work: where the solver is made."""
    monkeypatch.setattr(klu, "is_installed", lambda: False)
    with pytest.raises(ImportError, match=r'pip install "eqx_cc\[sparse\]"'):
        KLU()


def test_refuses_numbers_that_are_none():
    for make in (
        lambda: Banded(lower=-1),
        lambda: BlockDiagonal(width=0),
        lambda: BlockTridiagonal(width=0),
        lambda: Arrowhead(width=0),
    ):
        with pytest.raises(ValueError, match="must be at least"):
            make()


def test_refuses_cores_that_are_for_anything():
    for kind in (Arrowhead, Woodbury):
        with pytest.raises(TypeError, match="`core` of"):
            kind(core=lx.LU())
