"""Small linear systems in scalars have the Jacobians that JAX has."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
import pytest
from eqx_cc import (
    cc_jacobian,
    filter_hessian,
    filter_jacobian,
    filter_value_and_jacobian,
)
from eqx_cc._scalarise.native.emit import staged
from jax import lax


DRAW = np.random.default_rng(3)
MATRICES = {n: DRAW.normal(size=(n, n)) for n in (1, 2, 6, 8, 13)}


def system(n, dtype: Any = np.float64):
    """A matrix that depends on numbers, and so does what is known."""
    base = jnp.asarray(MATRICES[n], dtype)

    def fun(x):
        matrix = base + jnp.outer(jnp.sin(x), x) / n
        return jnp.linalg.solve(matrix, jnp.cos(x) * x[0])

    return fun, jnp.linspace(0.3, 1.1, n, dtype=dtype)


def in_scalars(fun, *args):
    """Whether it is differentiated in scalars, without being asked for it."""
    return "native_call[" in str(jax.make_jaxpr(jax.jit(cc_jacobian(fun)))(*args))


def close(ours, expected, rtol=1e-9):
    ours, expected = np.asarray(ours), np.asarray(expected)
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    scale = np.max(np.abs(expected), initial=0.0)
    np.testing.assert_allclose(ours, expected, rtol=rtol, atol=rtol * scale)


def together(x, *functions):
    """What each of them has at `x`: compiled as one, which is cheaper."""
    return jax.jit(lambda x: [function(x) for function in functions])(x)


@pytest.mark.parametrize("n", MATRICES)
def test_against_jax(n):
    fun, x = system(n)
    each = filter_value_and_jacobian(fun), fun, jax.jacfwd(fun)
    (value, jacobian), expected, derivative = together(x, *each)
    close(value, expected)
    close(jacobian, derivative)


def test_it_is_in_scalars():
    assert in_scalars(*system(6))
    assert not in_scalars(*system(13))


def test_of_32_bits():
    fun, x = system(6, np.float32)
    close(*together(x, filter_jacobian(fun), jax.jacfwd(fun)), rtol=1e-4)


CONSTANT = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0], [0.0, 0.5, 1.0]])


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: jnp.linalg.solve(CONSTANT, jnp.sin(x)),
        lambda x: jnp.linalg.solve(jnp.diag(x), jnp.ones(3)),
        lambda x: jnp.linalg.solve(CONSTANT * x[0], jnp.array([0.0, 1.0, 0.0])),
        lambda x: x[0] * jnp.linalg.solve(CONSTANT, jnp.ones(3)),
        lambda x: jnp.linalg.solve(CONSTANT + jnp.outer(x, x), x) @ x,
        lambda x: jnp.linalg.solve(jnp.eye(3) + CONSTANT.T * x[0], x)[::-1] * x,
        lambda x: jnp.linalg.solve(
            CONSTANT * x[1], jnp.linalg.solve(CONSTANT + jnp.diag(x), x)
        ),
        lambda x: jnp.linalg.inv(CONSTANT + jnp.diag(x)),
        lambda x: jnp.linalg.solve(CONSTANT + jnp.diag(x), jnp.stack([x, x * x], 1)),
        lambda x: jsp.linalg.cho_solve(
            jsp.linalg.cho_factor(jnp.eye(3) + jnp.outer(x, x)), x
        ),
    ],
)
def test_functions(fun):
    x = jnp.array([0.3, -1.2, 0.7])
    ways = [cc_jacobian(fun, granularity=each) for each in ("auto", "scalar")]
    *jacobians, expected = together(x, *ways, jax.jacfwd(fun))
    for jacobian in jacobians:
        close(jacobian, expected)


@pytest.mark.parametrize("granularity", ["auto", "scalar"])
@pytest.mark.parametrize("batch", [None, 2])
def test_only_one_triangle_is_read(granularity, batch):
    """By Cholesky's factorisation: what is above the diagonal is arbitrary."""
    matrix = jnp.array([[4.0, 0.0], [1.0, 3.0]])

    def fun(x):
        def solution(rhs):
            return jsp.linalg.solve(matrix, rhs, lower=True, assume_a="pos")

        return solution(x) if batch is None else jax.vmap(solution)(jnp.stack([x, x]))

    x = jnp.array([0.3, -1.2])
    jacobian = jax.jit(filter_jacobian(fun, granularity=granularity))(x)
    close(jacobian, jax.jacfwd(fun)(x))
    inverse = jnp.linalg.inv(matrix + jnp.array([[0.0, 1.0], [0.0, 0.0]]))
    close(jacobian.reshape(-1, 2, 2)[0], inverse)


def test_pivots_are_sought():
    """Every one of them is zero where it stands."""

    def fun(x):
        return jnp.linalg.solve(jnp.roll(jnp.diag(x), 1, 0), jnp.sin(x))

    x = jnp.linspace(0.5, 2.0, 6)
    close(*together(x, cc_jacobian(fun), jax.jacfwd(fun)))


def test_ill_conditioned():
    """As close to the truth, in exact arithmetic, as JAX is."""
    hilbert = np.array([[1.0 / (i + j + 1) for j in range(6)] for i in range(6)])

    def fun(x):
        return jnp.linalg.solve(hilbert * x[0], x)

    x = jnp.linspace(1.0, 2.0, 6)
    close(*together(x, cc_jacobian(fun), jax.jacfwd(fun)), rtol=1e-8)


def test_singular_is_not_finite():
    def fun(x):
        return jnp.linalg.solve(jnp.outer(x, jnp.ones(2)), x)

    x = jnp.array([1.0, 2.0])
    value, jacobian = jax.jit(filter_value_and_jacobian(fun))(x)
    assert not np.any(np.isfinite(fun(x)))
    assert not np.any(np.isfinite(value))
    assert not np.any(np.isfinite(jacobian))


def _several(x):
    """A matrix with one inverse for three columns, and a batch of matrices."""
    matrix = jnp.stack([jnp.sin(x), x**2 + 1, jnp.flip(x)])
    batch = jnp.stack([matrix[:2, :2], matrix[1:, 1:] + 3 * jnp.eye(2, dtype=x.dtype)])
    return jnp.linalg.inv(matrix), jax.vmap(jnp.linalg.solve)(batch, matrix[:2, :2])


def _permuted(x):
    """Blocks whose rows and columns are not the same."""
    zero = jnp.zeros((), x.dtype)
    rows = [[zero, zero, x[0]], [x[1], x[2], zero], [x[2], -x[0], zero]]
    return jnp.linalg.solve(jnp.stack([jnp.stack(row) for row in rows]), jnp.cos(x))


def _rows_alike(x):
    """Two equations for one unknown, and none for the other."""
    zero = jnp.zeros((), x.dtype)
    rows = jnp.stack([jnp.stack([x[0], zero]), jnp.stack([x[1], zero])])
    return jnp.linalg.solve(rows, x[:2])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fun", [_several, _permuted])
def test_independent_blocks(fun, dtype):
    x = jnp.array([0.4, 1.2, -0.7], dtype)
    assert in_scalars(fun, x)
    rtol = 1e-4 if dtype == "float32" else 1e-9
    pairs = zip(*map(jax.tree.leaves, together(x, cc_jacobian(fun), jax.jacfwd(fun))))
    for ours, expected in pairs:
        close(ours, expected, rtol)


def test_a_singular_pattern_is_not_finite():
    x = jnp.array([0.4, 1.2, -0.7])
    value, jacobian = jax.jit(filter_value_and_jacobian(_rows_alike))(x)
    assert not np.any(np.isfinite(value))
    assert not np.any(np.isfinite(jacobian[:, :2]))


def _native(fun, x):
    """The native function that has the Jacobian."""
    jaxpr = jax.make_jaxpr(jax.jit(cc_jacobian(fun)))(x).jaxpr
    [call] = [e for e in jaxpr.eqns[0].params["jaxpr"].eqns if "call" in e.params]
    return call.params["call"].function


def test_equal_blocks_are_inverted_once():
    function = _native(jnp.linalg.inv, jnp.eye(3) + 0.1)
    equations = function.scalars.jaxpr.eqns
    calls = [eqn for eqn in equations if eqn.primitive.name == "native_call"]
    assert [eqn.outvars[0].aval.shape for eqn in calls] == [(3, 3)]


def test_no_entry_is_cut_out_or_stacked_between_calls():
    """XLA starts each such operation on its own: 64 took 40 microseconds."""
    function = _native(*system(8))
    whole = staged(function._stages, function.layouts)
    names = {eqn.primitive.name for eqn in whole.jaxpr.eqns}
    assert names <= {"jit", "pjit", "optimization_barrier", "native_call", "reshape"}


def test_further_derivatives():
    """Nothing is held when a Jacobian is itself differentiated."""
    fun, x = system(2)
    total = lambda x: jnp.sum(fun(x) ** 2)  # noqa: E731
    second, hessian, ours, *jacobians = together(
        x,
        jax.jacfwd(jax.jacfwd(fun)),
        jax.hessian(total),
        filter_hessian(total),
        cc_jacobian(cc_jacobian(fun)),
        jax.jacfwd(cc_jacobian(fun)),
        jax.jacrev(cc_jacobian(fun)),
        cc_jacobian(jax.jacfwd(fun)),
    )
    for each in jacobians:
        close(each, second)
    close(ours, hessian)


@pytest.mark.parametrize("size", [3, 200])
def test_batches(size):
    fun, x = system(6)
    xs = jnp.outer(jnp.linspace(0.9, 1.1, size), x)
    close(*together(xs, jax.vmap(filter_jacobian(fun)), jax.vmap(jax.jacfwd(fun))))


def test_without_native_calls():
    fun, x = system(6)
    jacobian = filter_jacobian(fun, granularity="scalar")(x)
    close(jacobian, *together(x, jax.jacfwd(fun)))


def test_other_solvers_are_kept():
    """What is not solved by substitution has the value that its solver finds."""

    def steps(matvec, b):
        return lax.fori_loop(0, 40, lambda _, x: x + 0.5 * (b - matvec(x)), b)

    def fun(x):
        product = lambda y: y + 0.1 * x * jnp.sum(y)  # noqa: E731
        return lax.custom_linear_solve(product, x, steps, steps, symmetric=False)

    x = jnp.array([0.3, -1.2, 0.7])
    value, jacobian = jax.jit(filter_value_and_jacobian(fun))(x)
    np.testing.assert_array_equal(value, jax.jit(fun)(x))
    close(jacobian, jax.jacfwd(fun)(x))
    assert not in_scalars(fun, x)
