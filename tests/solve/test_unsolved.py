"""Systems without a solution, or with many: none is called successful."""

import eqx_cc
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import optimistix as optx
import pytest


RHS = np.array([1.0, 2.0, 3.0])
# The second row is the difference of the third and the first.
SINGULAR = np.array([[0.1, 0.7, 0.2], [0.3, 0.4, 0.9], [0.4, 1.1, 1.1]])
RANK_ONE = np.outer([1.0, 0.3, 0.7], [0.1, 0.7])
LEAST_SQUARES = lx.AutoLinearSolver(well_posed=False)


def _solve(matrix, rhs, **options):
    operator, solver = (
        lx.MatrixLinearOperator(matrix),
        eqx_cc.EliminationSolver(**options),
    )
    return lx.linear_solve(operator, rhs, solver, throw=False)


@pytest.mark.parametrize(
    "inner", [lx.AutoLinearSolver(well_posed=None), lx.LU(), lx.QR()]
)
@pytest.mark.parametrize("unit", [1.0, 1.0 + 1.0j])
def test_singular_matrices(inner, unit):
    solution = _solve(unit * SINGULAR, unit * RHS + 0.1, inner=inner)
    assert solution.result != lx.RESULTS.successful


@pytest.mark.parametrize("unit", [1.0, 1.0 + 1.0j])
def test_rectangular_matrices_of_less_than_full_rank(unit):
    tall, wide = unit * RANK_ONE, unit * RANK_ONE.T
    assert _solve(tall, unit * RHS).result != lx.RESULTS.successful
    assert _solve(wide, unit * RHS[:2]).result != lx.RESULTS.successful
    least = _solve(tall, unit * RHS, inner=LEAST_SQUARES)
    assert least.result == lx.RESULTS.successful
    np.testing.assert_allclose(least.value, np.linalg.pinv(tall) @ (unit * RHS), 1e-10)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 1), (1, 4)])
@pytest.mark.parametrize("unit", [1e-6, 1e6 + 1e6j])
def test_rectangular_matrices_of_full_rank(shape, unit):
    matrix = unit * np.asarray(jr.normal(jr.key(0), shape))
    rhs = unit * np.asarray(jr.normal(jr.key(1), shape[:1]))
    solution = _solve(matrix, rhs)
    assert solution.result == lx.RESULTS.successful
    np.testing.assert_allclose(solution.value, np.linalg.pinv(matrix) @ rhs, 1e-10)


@pytest.mark.parametrize(
    "solver", [LEAST_SQUARES, eqx_cc.EliminationSolver(inner=LEAST_SQUARES)]
)
def test_least_squares_corrections_that_vanish(solver):
    """They do so where the residual is smallest, root or not."""
    finder = eqx_cc.CCChord(1e-8, 1e-8, linear_solver=solver)

    def find(fun, start):
        return optx.root_find(lambda y, _: fun(y), finder, start, throw=False)

    for fun in (lambda y: y**2 - 1, lambda y: jnp.sum(y) - jnp.array([1.0, 2.0])):
        assert find(fun, jnp.zeros(2)).result != optx.RESULTS.successful
    root = find(lambda y: y**2 - 2, jnp.full(2, 1.4))
    assert root.result == optx.RESULTS.successful
    np.testing.assert_allclose(root.value, np.sqrt([2.0, 2.0]), 1e-8)


def test_conjugates_and_gradients_of_complex_systems():
    matrix = jr.normal(jr.key(2), (5, 5), complex)
    rhs = jnp.ones(5, complex)
    operator = lx.conj(lx.MatrixLinearOperator(matrix))
    solution = lx.linear_solve(operator, rhs, eqx_cc.EliminationSolver())
    np.testing.assert_allclose(
        solution.value, np.linalg.solve(matrix.conj(), rhs), 1e-10
    )

    def norm(solver, scale):
        operator = lx.MatrixLinearOperator(scale.astype(complex) * matrix)
        return jnp.sum(jnp.abs(lx.linear_solve(operator, rhs, solver).value))

    scale = jnp.array(2.0)
    ours = jax.grad(lambda s: norm(eqx_cc.EliminationSolver(), s))(scale)
    np.testing.assert_allclose(ours, jax.grad(lambda s: norm(lx.LU(), s))(scale), 1e-10)
