"""Sparse matrices that are factored by straight-line code."""

import diffrax
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._jaxpr.program import flatten
from eqx_cc._scalarise.depends import dependences
from eqx_cc._solve.factorisations.straight_line import StraightLineLU, symbolic
from eqx_cc._solve.matrix.positions import Positions
from eqx_cc._strategy.granularity import scalar_program


def sparse(n, seed=0):
    """A matrix, and where its entries are."""
    draw = np.random.default_rng(seed)
    where = draw.random((n, n)) < 3 / n
    matrix = 3 * np.eye(n) + where * draw.normal(size=(n, n))
    return matrix, positions_of(matrix != 0)


def positions_of(where):
    rows, columns = np.nonzero(where)
    return Positions(rows, columns, *where.shape)


@pytest.mark.parametrize("n", [1, 2, 7, 20])
@pytest.mark.parametrize("batch", [False, True])
def test_systems(n, batch):
    matrix, positions = sparse(n)
    scales = np.linspace(1.0, 1.2, 3).reshape(3, 1, 1)
    matrices = scales * matrix if batch else matrix
    vector = jnp.linspace(-1.0, 2.0, n)
    plan = StraightLineLU(positions)

    def both(matrix):
        factors = plan.factor(matrix)
        return [plan.solve(factors, vector, transposed=t) for t in (False, True)]

    fun = jax.vmap(both) if batch else both
    actual, transposed = jax.jit(fun)(jnp.asarray(matrices))
    expected = [
        np.linalg.solve(m, np.asarray(vector)[:, None])[..., 0]
        for m in (matrices, np.swapaxes(matrices, -1, -2))
    ]
    np.testing.assert_allclose(actual, expected[0], rtol=1e-12)
    np.testing.assert_allclose(transposed, expected[1], rtol=1e-12)


def test_identity():
    _, positions = sparse(7)
    plan = StraightLineLU(positions)
    factors = plan.identity(jnp.float32)
    vector = jnp.linspace(-1.0, 2.0, 7, dtype=jnp.float32)
    for transposed in (False, True):
        actual = plan.solve(factors, vector, transposed=transposed)
        assert actual.dtype == jnp.float32
        np.testing.assert_array_equal(actual, vector)


def test_no_entry_on_the_diagonal():
    """It is filled on the way, or the solution is not finite."""
    matrix = np.array([[1.0, 2.0], [3.0, 0.0]])
    plan = StraightLineLU(positions_of(matrix != 0))
    factors = plan.factor(jnp.asarray(matrix))
    actual = plan.solve(factors, jnp.ones(2), transposed=False)
    np.testing.assert_allclose(matrix @ actual, np.ones(2), rtol=1e-14)
    swapped = matrix[:, ::-1] * [[0.0, 1.0], [1.0, 0.0]]
    plan = StraightLineLU(positions_of(swapped != 0))
    factors = plan.factor(jnp.asarray(swapped))
    actual = plan.solve(factors, jnp.ones(2), transposed=False)
    assert not np.all(np.isfinite(actual))


def test_the_order_of_pivots():
    """An arrowhead that points up fills nothing if its tip comes last."""
    where = np.eye(6, dtype=bool)
    where[0] = where[:, 0] = True
    pivots = symbolic(positions_of(where))
    assert 0 in pivots.order[-2:]
    assert len(pivots.slots) == where.sum()
    assert pivots.multiplications == 10


def test_an_inverse_where_it_is_dense():
    assert StraightLineLU.of(positions_of(np.ones((8, 8), bool))) is None
    assert StraightLineLU.of(sparse(20)[1]) is not None


def test_dependences():
    def fun(x):
        solved = jnp.linalg.solve(jnp.diag(x[:2]) + 0 * x[3], x[1:3])
        return jnp.stack([x[0] * x[1], 0.0 * x[2] + x[0], *solved, jnp.sign(x[3])])

    closed = jax.make_jaxpr(fun)(jnp.ones(4))
    scalars = scalar_program(flatten(closed.jaxpr, closed.consts), closed.in_avals, 1)
    assert scalars is not None
    assert scalars.is_pure
    expected = [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(dependences(scalars), expected)


def chain(t, y, args):
    """A chain of reactions; the last species speeds up the first."""
    rates = 10.0 ** np.arange(len(y))
    flow = rates * y
    back = jnp.concatenate([y[-1:] * y[:1], flow[:-1]])
    return back - flow


def solved(root_finder, start):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(chain),
        diffrax.Kvaerno3(root_finder=root_finder),
        *(0.0, 1.0, None, start),
        stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-5),
    )


def test_kinetics():
    start = jnp.linspace(1.0, 0.2, 6)
    chord = diffrax.with_stepsize_controller_tols(eqx_cc.CCChord)
    inverses = eqx_cc.EliminationSolver(inner=eqx_cc.SmallInverse())
    actual = jax.jit(lambda y: solved(chord(), y))(start)
    expected = jax.jit(lambda y: solved(chord(linear_solver=inverses), y))(start)
    assert actual.stats["num_steps"] == expected.stats["num_steps"]
    np.testing.assert_allclose(actual.ys, expected.ys, rtol=1e-10)


def test_the_stages_of_kinetics_use_it():
    def fn(k, args):
        h, a = args
        return k - h * chain(0.0, jnp.ones(6) + a * k, None), None

    def init(k, args):
        finder = eqx_cc.CCChord(1e-6, 1e-6)
        state = finder.init(fn, k, args, {}, k, None, frozenset())
        return state.factors

    state = jax.jit(init)(jnp.ones(6), (jnp.array(0.1), jnp.array(0.5)))
    assert isinstance(state.factorisation, StraightLineLU)
