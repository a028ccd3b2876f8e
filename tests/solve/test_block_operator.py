"""Structured blocks as operators of lineax."""

import eqx_cc
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from eqx_cc import cc_jacobian
from eqx_cc._solve.factorisations.dense import RefinedInverse
from jax import lax


N = 30
X = jnp.linspace(0.5, 1.5, N)
B = jnp.cos(jnp.arange(1.0, N + 1))

_EDGES = np.random.default_rng(0).integers(0, N, (2, 40))


def _branches(x):
    """Flows along the edges of a network."""
    flows = jnp.sin(x[_EDGES[0]] - x[_EDGES[1]])
    return (4 * x).at[_EDGES[0]].add(flows).at[_EDGES[1]].add(-flows)


FUNCTIONS = {
    "diagonal": jnp.sin,
    "tridiagonal": lambda x: (4 * x).at[1:].add(x[:-1] ** 2).at[:-1].add(x[1:] ** 2),
    "lower": lambda x: (x**3).at[2:].add(jnp.sin(x[:-2])),
    "periodic": lambda x: 4 * x - x * jnp.roll(x, 1) + jnp.roll(x, -1),
    "edges": _branches,
    "low rank": lambda x: x**3 + jnp.mean(x) * jnp.cos(x),
    "dense": lambda x: 2 * x + jnp.sin(jnp.outer(x, jnp.roll(x, 3)) @ x) / N,
}


def _block(name):
    return jax.jit(cc_jacobian(FUNCTIONS[name], structured=True))(X)


def _assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_lineax(name):
    block = _block(name)
    operator, dense = block.as_operator(), np.asarray(block)
    assert isinstance(operator, lx.AbstractLinearOperator)
    _assert_close(operator.mv(B), dense @ B)
    _assert_close(operator.as_matrix(), dense)
    _assert_close(operator.transpose().as_matrix(), dense.T)
    _assert_close(operator.T.mv(B), dense.T @ B)
    _assert_close(lx.diagonal(operator), np.diagonal(dense))
    _, lower, upper = lx.tridiagonal(operator)
    _assert_close(lower, np.diagonal(dense, -1))
    _assert_close(upper, np.diagonal(dense, 1))
    _assert_close(lx.materialise(operator).as_matrix(), dense)
    assert lx.linearise(operator) is operator
    _assert_close(lx.conj(operator).as_matrix(), dense)
    assert lx.is_diagonal(operator) == lx.is_symmetric(operator) == (name == "diagonal")
    assert lx.is_tridiagonal(operator) == (name in ("diagonal", "tridiagonal"))
    assert lx.is_lower_triangular(operator) == (name in ("diagonal", "lower"))
    assert lx.is_upper_triangular(operator) == (name == "diagonal")
    assert operator.in_size() == operator.out_size() == N


@pytest.mark.parametrize("name", FUNCTIONS)
def test_solves(name):
    """From the structure, without looking at products, and in `jit` and `vmap`."""
    block = _block(name)
    solver = eqx_cc.EliminationSolver()

    @jax.jit
    def run(block):
        operator = block.as_operator()
        solution = lx.linear_solve(operator, B, solver).value
        transposed = lx.linear_solve(operator.T, B, solver).value
        tagged = lx.TaggedLinearOperator(operator, lx.positive_semidefinite_tag)
        state = solver.init(tagged, {})
        assert (state.factorisation is None) == (name in ("dense", "edges"))
        assert not isinstance(state.factorisation, RefinedInverse)
        shifted = lx.IdentityLinearOperator(operator.in_structure()) + 2 * operator
        return solution, transposed, lx.linear_solve(shifted, B, solver).value

    dense = np.asarray(block)
    solution, transposed, shifted = run(block)
    _assert_close(dense @ solution, B)
    _assert_close(dense.T @ transposed, B)
    _assert_close(shifted + 2 * dense @ shifted, B)


@pytest.mark.parametrize(
    "name, solver",
    [
        ("tridiagonal", eqx_cc.Banded()),
        ("lower", eqx_cc.Banded()),
        ("low rank", eqx_cc.Woodbury(eqx_cc.Banded())),
        ("edges", eqx_cc.SuperLU()),
        ("periodic", eqx_cc.Banded(reorder=True)),
        ("diagonal", eqx_cc.BlockDiagonal(2)),
        ("tridiagonal", lx.Tridiagonal()),
        ("diagonal", lx.Diagonal()),
        ("dense", lx.AutoLinearSolver(well_posed=True)),
    ],
)
def test_named_solvers(name, solver):
    block = _block(name)
    solve = jax.jit(lambda b: lx.linear_solve(b.as_operator(), B, solver).value)
    _assert_close(np.asarray(block) @ solve(block), B)


def test_a_solver_for_another_structure():
    with pytest.raises(ValueError, match="does not suit `operator`"):
        lx.linear_solve(_block("dense").as_operator(), B, eqx_cc.Banded())


def test_gradients_and_batches():
    fun = FUNCTIONS["periodic"]
    solver = eqx_cc.EliminationSolver()

    def ours(x):
        operator = cc_jacobian(fun, structured=True)(x).as_operator()
        return jnp.sum(lx.linear_solve(operator, B, solver).value ** 2)

    def theirs(x):
        return jnp.sum(jnp.linalg.solve(jax.jacfwd(fun)(x), B) ** 2)

    @jax.jit
    def run(x):
        xs = jnp.stack([x, x + 1])
        return tuple(jax.vmap(jax.value_and_grad(f))(xs) for f in (ours, theirs))

    for actual, expected in zip(*run(X)):
        _assert_close(actual, expected)


def test_axes_and_rectangles():
    """Operators act on arrays of the shapes of output and input."""
    x = X[:6].reshape(2, 3)
    block = cc_jacobian(lambda x: jnp.sin(x.T)[1:], structured=True)(x)
    operator = block.as_operator()
    assert operator.in_structure().shape == (2, 3)
    assert operator.out_structure().shape == (2, 2)
    _assert_close(operator.as_matrix(), np.asarray(block).reshape(4, 6))
    solution = lx.linear_solve(
        operator, jnp.ones((2, 2)), eqx_cc.EliminationSolver(lx.SVD()), throw=False
    )
    assert solution.value.shape == (2, 3)


def test_complex_blocks():
    with jax.numpy_dtype_promotion("standard"):
        wave = lambda x: lax.complex(jnp.cos(x), jnp.sin(x)) * x  # noqa: E731
        block = cc_jacobian(wave, structured=True)(X[:5])
        operator, dense = block.as_operator(), np.asarray(block)
        vector = jnp.ones(5) * (1 + 2j)
        _assert_close(operator.mv(vector), dense @ vector)
        _assert_close(lx.conj(operator).as_matrix(), dense.conj())
        solution = lx.linear_solve(operator, vector, eqx_cc.EliminationSolver())
        _assert_close(dense @ solution.value, vector)


def test_tags():
    symmetric = _block("periodic").as_operator(tags=lx.symmetric_tag)
    assert lx.is_symmetric(symmetric) and symmetric.T is symmetric
    tags = {lx.negative_semidefinite_tag, lx.symmetric_tag}
    assert lx.is_negative_semidefinite(_block("periodic").as_operator(tags=tags))


def test_integers():
    block = cc_jacobian(lambda x: jnp.arange(2), structured=True)(X)
    with pytest.raises(TypeError, match="real or complex entries, but got.*int"):
        block.as_operator()
