"""Linear systems solved by the structure that elimination finds."""

import functools as ft

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import optimistix as optx
import pytest
from eqx_cc import EliminationSolver
from eqx_cc._scalarise.native.inverse import inverse
from eqx_cc._solve import select as selection
from eqx_cc._solve.factorisations.banded import BandedLU
from eqx_cc._solve.factorisations.klu import is_installed, NativeKLU
from eqx_cc._solve.factorisations.superlu import HostLU
from eqx_cc._solve.matrix.assemble import Matrix
from eqx_cc._solve.matrix.positions import merge
from eqx_cc._solve.select import select
from scipy import spatial


# Where the extra is not installed, what takes it is skipped.
NATIVE_KLU = pytest.param(
    NativeKLU, marks=pytest.mark.skipif(not is_installed(), reason="no extra `sparse`")
)
N = 36
X = jnp.linspace(0.5, 1.5, N)
B = jnp.cos(jnp.arange(float(N)) * 1.7)
SOLVER = EliminationSolver()
WEIGHTS = jr.normal(jr.key(1), (N, N)) / N


def _laplacian(u):
    padded = jnp.pad(u, 1)
    return padded[2:] - 2 * u + padded[:-2]


def _brusselator(y):
    u, v = jnp.split(y, 2)
    reaction = u**2 * v
    return y + 0.1 * jnp.concatenate(
        [reaction + _laplacian(u), _laplacian(v) - reaction]
    )


def _arrow(y):
    return jnp.concatenate([3 * y[:-1] + y[-1] * y[:-1] ** 2, jnp.sum(y**2)[None]])


def _hub(y):
    """A band, with two full rows and columns in the middle."""
    hubs = jnp.zeros(N, y.dtype).at[np.array([5, 20])].set(1.0)
    return _tridiagonal(y) + hubs * jnp.sum(jnp.sin(y)) + y * y[5] + y[20] ** 2


def _tridiagonal(y):
    return 4 * y + jnp.pad(y[1:] ** 2, (0, 1)) - jnp.pad(y[:-1], (1, 0))


def _blocks(y):
    y = y.reshape(N // 2, 2)
    return jnp.stack([y[:, 0] * y[:, 1], y[:, 0] - 3 * y[:, 1] ** 2], 1).reshape(N)


def _apart(y):
    """Pairs that are far from each other."""
    u, v = jnp.split(y, 2)
    return jnp.concatenate([u * v, u - 3 * v**2])


def _wide(y):
    return 5 * y + sum(0.1 * jnp.pad(y[k:], (0, k)) * y for k in range(1, 7))


def _grid(y):
    y = y.reshape(6, 6)
    return (
        5 * y + jnp.roll(y, 1, 0) * y - 0.5 * jnp.pad(y[:, 1:], ((0, 0), (0, 1)))
    ).reshape(N)


# A function, and the names of the factors, from the outside in.
ZOO = {
    "diagonal": (lambda y: jnp.sin(y) + 2 * y, "DiagonalInverse"),
    "tridiagonal": (_tridiagonal, "BandedLU"),
    "upper": (lambda y: 3 * y + jnp.pad(y[2:] ** 2, (0, 2)), "BandedLU"),
    "shift": (lambda y: jnp.roll(y, 1) ** 2, "Reordered BandedLU"),
    "two species": (_brusselator, "Reordered BandedLU"),
    "ring": (
        lambda y: 3 * y + jnp.roll(y, 1) * y - jnp.roll(y, -1),
        "Reordered BandedLU",
    ),
    "pivots": (lambda y: jnp.roll(y, 1) + 1e-9 * y, "Reordered BandedLU"),
    "blocks": (_blocks, "BandedLU"),
    "apart": (_apart, "Reordered BlockInverse"),
    "arrow": (_arrow, "BorderedLU DiagonalInverse"),
    "hubs": (_hub, "LowRankUpdate Reordered BorderedLU BandedLU"),
    "mean": (lambda y: 3 * y + y * jnp.mean(y**2), "LowRankUpdate DiagonalInverse"),
    "band and mean": (
        lambda y: _tridiagonal(y) + jnp.mean(y**2) * y,
        "LowRankUpdate BandedLU",
    ),
    "wide band": (_wide, "BlockTridiagonalLU"),
    "dense": (lambda y: 3 * y + WEIGHTS @ y**2, ""),
    "zero diagonal": (
        lambda y: jnp.mean(y) + jnp.roll(y, 1) ** 2,
        "LowRankUpdate Reordered BandedLU",
    ),
    "no sparse part": (lambda y: jnp.sum(y) * jnp.ones(N) + WEIGHTS @ y, ""),
}


def _names(factorisation) -> str:
    names = []
    while factorisation is not None:
        names.append(type(factorisation).__name__)
        inner = [getattr(factorisation, k, None) for k in ("inner", "core", "sparse")]
        factorisation = next((f for f in inner if f is not None), None)
    return " ".join(names)


@pytest.mark.parametrize("name", ZOO)
def test_structure_and_solutions(name):
    fun, expected = ZOO[name]
    operator = lx.JacobianLinearOperator(lambda y, _: fun(y), X)

    @eqx.filter_jit
    def run(operator, vector):
        state = SOLVER.init(operator, {})
        transposed, _ = SOLVER.transpose(state, {})
        linear = lx.linear_solve(lx.linearise(operator), vector, SOLVER)
        return state, [
            SOLVER.compute(state, vector, {})[0],
            SOLVER.compute(transposed, vector, {})[0],
            linear.value,
            jax.jacfwd(fun)(X),
        ]

    state, (ours, transposed, linear, jacobian) = run(operator, B)
    assert _names(state.factorisation) == expected
    scale = np.abs(jacobian).max() * np.abs(ours).max()
    np.testing.assert_allclose(jacobian @ ours, B, atol=1e-13 * scale)
    np.testing.assert_allclose(jacobian @ linear, B, atol=1e-13 * scale)
    scale = np.abs(jacobian).max() * np.abs(transposed).max()
    np.testing.assert_allclose(jacobian.T @ transposed, B, atol=1e-13 * scale)


@pytest.mark.parametrize("name", ["two species", "mean", "apart"])
@pytest.mark.parametrize("batch", [3, 40])
def test_batches(name, batch):
    fun, _ = ZOO[name]
    points = X[None] + 0.01 * jnp.arange(float(batch))[:, None]

    def ours(y):
        operator = lx.JacobianLinearOperator(lambda y, _: fun(y), y)
        return lx.linear_solve(operator, B, SOLVER).value

    expected = jax.vmap(lambda y: jnp.linalg.solve(jax.jacfwd(fun)(y), B))
    np.testing.assert_allclose(
        jax.jit(jax.vmap(ours))(points),
        jax.jit(expected)(points),
        rtol=1e-9,
        atol=1e-11,
    )


@pytest.mark.parametrize("name", ["two species", "mean", "dense"])
def test_derivatives(name):
    fun, _ = ZOO[name]

    def ours(y):
        operator = lx.JacobianLinearOperator(lambda y, _: fun(y), y)
        return jnp.sum(lx.linear_solve(operator, B * y, SOLVER).value ** 2)

    def theirs(y):
        return jnp.sum(jnp.linalg.solve(jax.jacfwd(fun)(y), B * y) ** 2)

    @jax.jit
    def run(y):
        both = ours, theirs
        gradients = [jax.grad(f)(y) for f in both]
        return gradients, [jax.jvp(f, (y,), (jnp.cos(y),))[1] for f in both]

    for actual, expected in run(X):
        np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_single_precision():
    @jax.jit
    def run(y, vector):
        operator = lx.JacobianLinearOperator(lambda y, _: _hub(y), y)
        actual = lx.linear_solve(operator, vector, SOLVER).value
        return actual, jnp.linalg.solve(jax.jacfwd(_hub)(y), vector)

    actual, expected = run(X.astype(jnp.float32), B.astype(jnp.float32))
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("native", ["on", "off"])
def test_without_native_calls(native, monkeypatch):
    monkeypatch.setenv("EQX_CC_NATIVE", native)
    y = X + (0.5 if native == "on" else 0.25)

    def solve(y):
        operator = lx.JacobianLinearOperator(lambda y, _: _brusselator(y), y)
        return lx.linear_solve(operator, B, SOLVER).value

    text = jax.jit(solve).lower(y).as_text()
    assert ("xla_cpu_small_call" in text) == (native == "on")
    jacobian = jax.jacfwd(_brusselator)(y)
    np.testing.assert_allclose(jacobian @ jax.jit(solve)(y), B, atol=1e-12)


#
# Kinds of operators
#


def test_pytrees_and_mixed_shapes():
    def fun(y, _):
        u, v = y["u"], y["v"]
        return {"u": u * jnp.sum(v) + 3 * u, "v": (v**2 + jnp.mean(u)).reshape(4)}

    y = {"u": jnp.arange(1.0, 31.0).reshape(5, 6), "v": jnp.arange(1.0, 5.0)}

    @jax.jit
    def run(y, vector):
        operator = lx.JacobianLinearOperator(fun, y)
        both = operator, operator.T
        actual = [lx.linear_solve(each, vector, SOLVER).value for each in both]
        return actual[0], [each.mv(x) for each, x in zip(both, actual)]

    vector = jax.tree.map(jnp.cos, y)
    actual, products = run(y, vector)
    assert jax.tree.map(jnp.shape, actual) == jax.tree.map(jnp.shape, y)
    for back in products:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), back, vector
        )


@pytest.mark.parametrize("size", [0, 1, 2, 23, 24])
@pytest.mark.parametrize("full", [False, True])
def test_sizes(size, full):
    weights = WEIGHTS[:size, :size]
    fun = lambda y, _: 2 * y + (weights @ y if full else jnp.sin(y))  # noqa: E731
    operator = lx.JacobianLinearOperator(fun, X[:size])
    state = SOLVER.init(operator, {})
    actual, result, _ = SOLVER.compute(state, B[:size], {})
    assert actual.shape == (size,)
    assert result == lx.RESULTS.successful
    np.testing.assert_allclose(operator.mv(actual), B[:size], atol=1e-12)


def test_small_systems_are_as_good_as_with_pivots(getkey):
    """Where an inverse is not as good, the inner solver is asked."""

    @jax.jit
    def run(matrix, vector):
        operator = lx.MatrixLinearOperator(matrix)
        both = operator, operator.T
        actual = [lx.linear_solve(each, vector, SOLVER, throw=False) for each in both]
        return [x.value for x in actual]

    for reach in (0, 4, 8, 15):  # The last one is next to singular.
        keys = jr.split(getkey(), 4)
        u, v = (jnp.linalg.qr(jr.normal(k, (4, 4)))[0] for k in keys[:2])
        matrix = u @ jnp.diag(jnp.logspace(0, -reach, 4)) @ v
        matrix = jnp.diag(10.0 ** jr.uniform(keys[2], (4,), maxval=reach / 2)) @ matrix
        vector = jr.normal(keys[3], (4,))
        for dense, actual in zip((matrix, matrix.T), run(matrix, vector)):
            residual = np.abs(dense @ actual - vector).max()
            size = (
                np.abs(dense).sum(1).max() * np.abs(actual).max() + np.abs(vector).max()
            )
            assert residual <= 5e-15 * size


@pytest.mark.parametrize("shape", [(), (1,), (2, 1)])
def test_small_shapes(shape):
    operator = lx.JacobianLinearOperator(lambda y, _: y**3, jnp.full(shape, 2.0))
    actual = lx.linear_solve(operator, jnp.ones(shape), SOLVER).value
    np.testing.assert_allclose(actual, jnp.full(shape, 1 / 12))


@pytest.mark.parametrize("rows", [20, N])
def test_least_squares(rows):
    operator = lx.JacobianLinearOperator(
        lambda y, _: WEIGHTS[:rows, :24] @ jnp.sin(y), X[:24]
    )
    actual = lx.linear_solve(operator, B[:rows], SOLVER).value
    matrix = np.asarray(operator.as_matrix())
    expected, *_ = np.linalg.lstsq(matrix, B[:rows])
    np.testing.assert_allclose(actual, expected, rtol=1e-8)


def test_complex_operators_are_those_of_lineax():
    matrix = jax.lax.complex(WEIGHTS + 3 * jnp.eye(N), WEIGHTS.T)
    operator = lx.FunctionLinearOperator(
        lambda x: matrix @ x, jax.ShapeDtypeStruct((N,), jnp.complex128)
    )
    vector = jax.lax.complex(B, B[::-1])
    actual = lx.linear_solve(operator, vector, SOLVER).value
    np.testing.assert_allclose(matrix @ actual, vector, atol=1e-12)


def test_tags_reach_the_inner_solver():
    inner = EliminationSolver(lx.Cholesky())
    definite = WEIGHTS @ WEIGHTS.T + jnp.eye(N)
    operator = lx.FunctionLinearOperator(
        lambda x: definite @ x,
        jax.ShapeDtypeStruct((N,), jnp.float64),
        lx.positive_semidefinite_tag,
    )
    actual = lx.linear_solve(operator, B, inner).value
    np.testing.assert_allclose(definite @ actual, B, atol=1e-12)
    untagged = lx.FunctionLinearOperator(
        lambda x: definite @ x, jax.ShapeDtypeStruct((N,), jnp.float64)
    )
    with pytest.raises(ValueError, match="definite"):
        lx.linear_solve(untagged, B, inner)


def test_sums_and_products_of_operators():
    operator = lx.JacobianLinearOperator(lambda y, _: _brusselator(y), X)
    h = jnp.array(0.3)
    whole = lx.IdentityLinearOperator(operator.in_structure()) - h * operator
    state = SOLVER.init(whole, {})
    assert _names(state.factorisation) == "Reordered BandedLU"
    actual = lx.linear_solve(whole, B, SOLVER).value
    np.testing.assert_allclose(whole.mv(actual), B, atol=1e-12)


def test_inversion():
    operator = lx.JacobianLinearOperator(lambda y, _: _arrow(y), X)
    inverse = lx.invert(operator, SOLVER)
    np.testing.assert_allclose(operator.mv(inverse.mv(B)), B, atol=1e-12)


#
# Failure
#


SINGULAR = {
    "diagonal": lambda y: y**2,
    "band": lambda y: (
        y * jnp.concatenate([y[1:], y[-1:]]) * (jnp.arange(N) != 7).astype(float)
    ),
    "arrow": lambda y: jnp.concatenate([y[:-1] - y[-1], jnp.sum(y[:-1] - y[-1])[None]]),
    "wide": lambda y: _wide(y) * (jnp.arange(N) != 9).astype(float),
    "dense": lambda y: jnp.ones((N, N)) @ y**2,
}


@pytest.mark.parametrize("name", SINGULAR)
def test_singular_systems_are_reported(name):
    def solve(y, throw):
        operator = lx.JacobianLinearOperator(lambda y, _: SINGULAR[name](y), y)
        return lx.linear_solve(operator, B, SOLVER, throw=throw)

    y = jnp.ones(N).at[3].set(0.0)
    actual = eqx.filter_jit(lambda y: solve(y, False))(y)
    assert actual.result == lx.RESULTS.singular
    if name == "diagonal":
        with pytest.raises(Exception, match="singular"):
            jax.block_until_ready(eqx.filter_jit(lambda y: solve(y, True))(y).value)


def _of_rank(key, size, rank):
    one, other = jr.split(key)
    matrix = jr.normal(one, (size, rank)) @ jr.normal(other, (rank, size))
    return matrix / max(1, rank)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, N])
def test_what_rounding_leaves_of_singular_matrices(size, getkey):
    """No pivot is zero, but for one row. Regular ones are solved next to them.

    One after the other: the LU of a batch waits for threads that it takes from the pool
    that it runs in, and two of them may wait for each other (with jaxlib 0.10.0).
    """

    @ft.partial(jax.jit, static_argnums=1)
    @ft.partial(jax.vmap, in_axes=(0, None))
    def run(key, rank):
        matrix_key, other = jr.split(key)
        vector = jr.normal(other, (size,))
        operator = lx.MatrixLinearOperator(_of_rank(matrix_key, size, rank))
        solution = lx.linear_solve(operator, vector, SOLVER, throw=False)
        residual = jnp.max(jnp.abs(operator.mv(solution.value) - vector))
        return solution.result == lx.RESULTS.successful, residual

    keys = jr.split(getkey(), 50)
    singular, _ = jax.block_until_ready(run(keys, size - 1))
    regular, residuals = run(keys, size)
    assert not np.any(singular)
    assert np.all(regular) and np.max(residuals) < 1e-6


# Singular, and with structure: what is in a band, or beside it, depends on the rest.
RANK_DEFICIENT = {
    "small": (lambda y: jnp.outer(y, jnp.cos(y)) @ y**2, 3),
    "one number": (lambda y: 0.0 * y, 1),
    "dense": (lambda y: jnp.outer(y, jnp.cos(y)) @ y**2, 8),
    "diagonal": (lambda y: y**2, N),
    "band": (lambda y: jnp.arange(1.0, N + 1) * _graph_laplacian(y), N),
    "arrow": (SINGULAR["arrow"], N),
    "wide": (SINGULAR["wide"], N),
    "not square": (lambda y: jnp.concatenate([jnp.sum(y)[None], jnp.sum(y)[None]]), 5),
}


def _graph_laplacian(y):
    flow = jnp.sin(jnp.arange(1.0, N)) ** 2 * (y[1:] - y[:-1])
    return jnp.pad(flow, (0, 1)) - jnp.pad(flow, (1, 0))


@pytest.mark.parametrize("name", RANK_DEFICIENT)
def test_least_squares_by_an_inner_solver(name):
    """`well_posed=False` is kept at every size, in batches, and in derivatives."""
    fun, size = RANK_DEFICIENT[name]
    inner = lx.AutoLinearSolver(well_posed=False)
    start = jnp.where(jnp.arange(size) == 3, 0.0, jnp.linspace(1.0, 2.0, size))
    points = jnp.stack([start, jnp.roll(start, 1)])

    def solve(y, solver):
        operator = lx.JacobianLinearOperator(lambda y, _: fun(y), y)
        if solver is inner:
            operator = lx.MatrixLinearOperator(operator.as_matrix())
        vector = jnp.cos(1.7 * jnp.arange(float(operator.out_size())))
        actual = lx.linear_solve(operator, vector, solver)
        return jnp.sum(actual.value**2), actual.value

    def both(solver):
        return jax.vmap(jax.value_and_grad(lambda y: solve(y, solver), has_aux=True))

    solver = EliminationSolver(inner)
    ours, theirs = jax.jit(lambda y: (both(solver)(y), both(inner)(y)))(points)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a, b, rtol=1e-8, atol=1e-8 * (1 + np.abs(b).max())
        ),
        ours,
        theirs,
    )


@pytest.mark.parametrize("kind", [optx.GaussNewton, optx.Dogleg])
def test_least_squares_from_where_the_jacobian_is_singular(kind):
    """Two equations that are one."""
    fun = lambda y, _: jnp.sum(y**2) * jnp.array([1.0, 2.0]) - 2.0  # noqa: E731
    inner = lx.AutoLinearSolver(well_posed=False)

    def run(linear):
        solver = kind(1e-8, 1e-8, linear_solver=linear)
        return optx.least_squares(fun, solver, jnp.array([1.0, 0.5]), throw=False).value

    actual, expected = jax.jit(lambda: (run(EliminationSolver(inner)), run(inner)))()
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    np.testing.assert_allclose(jnp.sum(actual**2), 1.2, rtol=1e-4)


def _weighted(y, entry):
    """A diagonal with one entry that is next to nothing, and rank one."""
    weights = jnp.ones(N).at[4].set(entry)
    return weights * y + jnp.mean(y) * jnp.sin(jnp.arange(1.0, N + 1))


@pytest.mark.parametrize("entry", [0.0, 1e-30, 1e-14])
def test_parts_that_are_singular(entry):
    """The whole is as good as any: it is solved as dense."""
    fun = lambda y: _weighted(y, entry)  # noqa: E731
    operator = lx.JacobianLinearOperator(lambda y, _: fun(y), X)
    matrix = jax.jacfwd(fun)(X)

    @jax.jit
    def run(vector):
        assert (
            _names(SOLVER.init(operator, {}).factorisation)
            == "LowRankUpdate DiagonalInverse"
        )
        both = operator, operator.T
        return [lx.linear_solve(each, vector, SOLVER).value for each in both]

    for actual, dense in zip(run(B), (matrix, matrix.T)):
        np.testing.assert_allclose(actual, np.linalg.solve(dense, B), rtol=1e-8)


def test_batches_in_which_some_parts_are_singular():
    entries = jnp.asarray([1.0, 0.0, 0.5])

    def solve(entry, solver):
        operator = lx.JacobianLinearOperator(lambda y, _: _weighted(y, entry), X)
        return jnp.sum(lx.linear_solve(operator, B, solver).value ** 2)

    @jax.jit
    def run(entries):
        return [
            jax.vmap(jax.value_and_grad(lambda e, solver=solver: solve(e, solver)))(
                entries
            )
            for solver in (SOLVER, lx.LU())
        ]

    for ours, theirs in zip(*run(entries)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7)


def test_newton_from_where_a_part_is_singular():
    fun = lambda y, a: y**2 + jnp.sum(y) - a  # noqa: E731
    a, start = jnp.linspace(1.0, 3.0, N), jnp.linspace(0.0, 1.0, N)
    newton = optx.Newton(1e-8, 1e-8, linear_solver=SOLVER)
    actual = jax.jit(lambda a: optx.root_find(fun, newton, start, a).value)(a)
    np.testing.assert_allclose(fun(actual, a), 0.0, atol=1e-7)


def test_input_that_is_not_finite():
    operator = lx.JacobianLinearOperator(lambda y, _: _brusselator(y), X)
    actual = lx.linear_solve(operator, B.at[2].set(jnp.nan), SOLVER, throw=False)
    assert actual.result == lx.RESULTS.nonfinite_input


#
# Factorisations by themselves
#


def _matrix(key, size, lower, upper):
    dense = jr.normal(key, (size, size))
    i, j = np.indices((size, size))
    rows, columns = np.nonzero((j - i >= -lower) & (j - i <= upper))
    positions, _ = merge(rows, columns, (size, size))
    return Matrix.of_entries(dense[rows, columns], positions)


BANDS = [(1, 1, 0), (7, 2, 1), (9, 1, 3), (3, 2, 2)]


@pytest.mark.parametrize("size, lower, upper", BANDS)
def test_bands_with_pivots(size, lower, upper, getkey):
    """Normal entries: no diagonal is dominant."""
    matrix = _matrix(getkey(), size, lower, upper)
    vector, dense = jr.normal(getkey(), (size,)), matrix.dense()
    plan = BandedLU(size, lower, upper)

    @jax.jit
    def run(matrix, vector):
        factors = plan.factor(matrix)
        return [plan.solve(factors, vector, transposed=t) for t in (False, True)]

    actual, transposed = run(matrix, vector)
    condition = np.linalg.cond(dense)
    expected = np.linalg.solve(dense, vector)
    np.testing.assert_allclose(actual, expected, rtol=1e-14 * condition, atol=1e-12)
    expected = np.linalg.solve(dense.T, vector)
    np.testing.assert_allclose(transposed, expected, rtol=1e-14 * condition, atol=1e-12)


def _scattered(key, size):
    """A diagonal, and three entries in every row, anywhere."""
    i = np.repeat(np.arange(size), 4)
    j = (i + np.tile([0, 7, 19, 40], size) * (1 + i % 3)) % size
    dense = np.asarray(jr.normal(key, (size, size))) + 3 * np.eye(size)
    rows, columns = np.unique([i, j], axis=1)
    positions, _ = merge(rows, columns, (size, size))
    entries = dense[positions.rows, positions.columns]
    return Matrix.of_entries(jnp.asarray(entries), positions)


@pytest.mark.parametrize("kind", [HostLU, NATIVE_KLU])
def test_general_sparse_matrices(kind, getkey):
    """In batches, transposed, differentiated, in single precision."""
    matrix = _scattered(getkey(), 60)
    plan = kind.of(matrix.positions)
    assert plan.nanoseconds() < np.inf
    vector = jr.normal(getkey(), (60,))

    def solve(scale, vector, transposed, dtype=jnp.float64):
        entries = (matrix.entries * scale).astype(dtype)
        scaled = eqx.tree_at(lambda m: m.entries, matrix, entries)
        factors = plan.factor(scaled)
        return plan.solve(factors, vector.astype(dtype), transposed=transposed)

    @jax.jit
    def run(vector):
        total = lambda b: jnp.sum(solve(1.0, b, False) ** 2)  # noqa: E731
        return (
            solve(1.0, vector, False),
            solve(1.0, vector, True),
            jax.vmap(solve, (0, None, None))(jnp.array([1.0, 2.0]), vector, False),
            jax.grad(total)(vector),
            jax.jvp(lambda b: solve(1.0, b, True), (vector,), (2 * vector,))[1],
            solve(1.0, vector, False, jnp.float32),
            plan.solve(plan.identity(vector.dtype), vector, transposed=True),
            solve(jnp.nan, vector, False),
            solve(0.0, vector, False),
            # Matrices in a batch, and right-hand sides in a batch for each of them.
            jax.vmap(
                lambda scale: jax.vmap(lambda c: solve(scale, c * vector, False))(
                    jnp.array([1.0, -1.0])
                )
            )(jnp.array([1.0, 2.0, 4.0])),
            plan.solve_columns(plan.factor(matrix), jnp.stack([vector] * 3, 1)),
            jax.grad(lambda scale: jnp.sum(solve(scale, vector, False)))(1.0),
        )

    dense = np.asarray(matrix.dense())
    expected, turned = np.linalg.solve(dense, vector), np.linalg.solve(dense.T, vector)
    actual = run(vector)

    def close(a, b, tol=1e-9):
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol)

    close(actual[0], expected)
    close(actual[1], turned)
    close(actual[2], np.stack([expected, expected / 2]))
    close(actual[3], np.linalg.solve(dense.T, 2 * expected))
    close(actual[4], 2 * turned)
    assert actual[5].dtype == jnp.float32
    close(actual[5], expected, 1e-3)
    close(actual[6], vector, 0)
    assert np.all(np.isnan(actual[7])) and np.all(np.isnan(actual[8]))
    pair = np.stack([expected, -expected])
    close(actual[9], np.stack([pair, pair / 2, pair / 4]))
    close(actual[10], np.stack([expected] * 3, 1))
    close(actual[11], -np.sum(expected))


@pytest.mark.parametrize("kind", [HostLU, NATIVE_KLU])
def test_general_sparse_systems(kind, monkeypatch):
    """Chosen where bands are wide and it pays, as it does if nothing else is free."""
    monkeypatch.setattr(selection, "_BY_BLOCKS", 1e9)
    monkeypatch.setattr(selection, "is_installed", lambda: kind is NativeKLU)
    select.cache_clear()

    def fun(y, scale):
        y = jnp.pad(y.reshape(7, 7), 1)
        near = y[2:, 1:-1] + y[:-2, 1:-1] + y[1:-1, 2:] - y[1:-1, :-2]
        return scale * (5 * y[1:-1, 1:-1] ** 2 - near).reshape(49)

    @jax.jit
    def run(y, scale):
        operator = lx.JacobianLinearOperator(fun, y, scale)
        state = SOLVER.init(operator, {})
        assert _names(state.factorisation) == kind.__name__
        return lx.linear_solve(operator, y, SOLVER, throw=False)

    y = jnp.linspace(1.0, 2.0, 49)
    actual = run(y, 1.0).value
    np.testing.assert_allclose(jax.jvp(lambda y: fun(y, 1.0), (y,), (actual,))[1], y)
    assert run(y, 0.0).result == lx.RESULTS.singular
    select.cache_clear()


def _mesh(size):
    """The positions of a mesh of triangles between points anywhere."""
    points = np.random.default_rng(0).random((size, 2))
    corners = spatial.Delaunay(points).simplices
    rows, columns = np.repeat(corners, 3, 1).ravel(), np.tile(corners, (1, 3)).ravel()
    return merge(rows, columns, (size, size))[0]


@pytest.mark.parametrize(
    "is_there, size, expected",
    [
        (False, 40, ""),
        (False, 1500, "HostLU"),
        (True, 40, ""),
        (True, 600, "NativeKLU"),
    ],
)
def test_chooses_for_meshes(is_there, size, expected, monkeypatch):
    """Of the pattern alone, whether the extra is there or not."""
    monkeypatch.setattr(selection, "is_installed", lambda: is_there)
    select.cache_clear()
    assert _names(select(_mesh(size), 0)) == expected
    select.cache_clear()


def test_meshes_too_large_to_try():
    size = 30_000
    index = np.arange(size)
    rows, columns = np.tile(index, 2), np.concatenate([index, (index * 7 + 3) % size])
    plan = HostLU.of(merge(rows, columns, (size, size))[0])
    assert 1e8 < plan.nanoseconds() < 1e9


@pytest.mark.parametrize("size", [1, 3, 5, 13])
@pytest.mark.parametrize("batch", [None, 3, 40])
def test_inverses(size, batch, getkey):
    shape = (size, size) if batch is None else (batch, size, size)
    matrix = jr.normal(getkey(), shape).at[..., 0, 0].set(0.0 if size > 1 else 1.0)
    fun = inverse if batch is None else jax.vmap(inverse)
    np.testing.assert_allclose(
        jax.jit(fun)(matrix), jnp.linalg.inv(matrix), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("name", [n for n in ZOO if ZOO[n][1]])
def test_identities(name):
    """What stands for the factors of the identity where nothing is factored."""
    blocks = eqx_cc.cc_jacobian(ZOO[name][0], structured=True)(X)
    rank = blocks.rank
    _, i, j = eqx_cc.Partial(blocks.pattern, blocks.values, blocks.dtype).to_coo()
    plan = select(merge(i, j, (N, N))[0], rank)
    assert plan is not None
    identity = plan.identity(jnp.dtype(jnp.float64))
    for transposed in (False, True):
        solution = plan.solve(identity, B, transposed=transposed)
        np.testing.assert_array_equal(solution, B)


def test_large_systems_take_linear_memory():
    size = 20_000
    y = jnp.linspace(0.0, 1.0, size)

    def fun(y):
        u, v = jnp.split(y, 2)
        return jnp.concatenate([3 * u + _laplacian(v), 3 * v - u * _laplacian(u)])

    @jax.jit
    def run(y):
        operator = lx.JacobianLinearOperator(lambda y, _: fun(y), y)
        actual = lx.linear_solve(operator, y, SOLVER).value
        return jax.jvp(fun, (y,), (actual,))[1]

    compiled = run.lower(y).compile()
    np.testing.assert_allclose(compiled(y), y, atol=1e-9)
    memory = compiled.memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 1000 * size


#
# optimistix
#


@pytest.mark.slow
def test_root_finds_and_least_squares():
    def fun(y, args):
        return _brusselator(y) - args

    solvers = [
        optx.Newton(1e-9, 1e-9, linear_solver=SOLVER),
        optx.Chord(1e-9, 1e-9, linear_solver=SOLVER),
        eqx_cc.CCChord(1e-9, 1e-9),
        optx.Dogleg(1e-9, 1e-9, linear_solver=SOLVER),
        optx.LevenbergMarquardt(1e-9, 1e-9, linear_solver=SOLVER),
    ]
    adjoint = optx.ImplicitAdjoint(linear_solver=SOLVER)
    target = _brusselator(X + 0.01)

    for solver in solvers:

        def run(shift):
            actual = optx.root_find(
                fun, solver, X, target + shift, adjoint=adjoint, max_steps=100
            )
            return actual.value

        value, moved = jax.jit(lambda s: jax.jvp(run, (s,), (1.0,)))(0.0)
        np.testing.assert_allclose(value, X + 0.01, atol=1e-7)
        jacobian = jax.jacfwd(_brusselator)(X + 0.01)
        expected = jnp.linalg.solve(jacobian, jnp.ones(N))
        np.testing.assert_allclose(moved, expected, rtol=1e-5)
