"""Integers that are captured from a trace, and that constants alone decide."""

import math
from collections.abc import Callable

import eqx_cc
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from jax import lax


X = np.linspace(0.5, 2.0, 12)
TRIANGLES = np.array([[0, 1, -9], [3, 4, 5], [5, 6, 11], [7, 8, 9], [9, 10, 2]])


def _assembled(y, args=None):
    flow = jnp.sin(y[TRIANGLES]) * jnp.sum(y[TRIANGLES], axis=1, keepdims=True)
    return 3 * y + jnp.zeros_like(y).at[TRIANGLES].add(flow)


def _linearised(x):
    operator = lx.linearise(lx.JacobianLinearOperator(_assembled, x))
    return operator.mv


def _normalised(x):
    index = jnp.where(jnp.asarray(TRIANGLES) < 0, TRIANGLES + x.size, TRIANGLES)
    return lambda x: jnp.zeros_like(x).at[index].add(x[index] ** 2)


def _sorted(x):
    index = jnp.argsort(jnp.asarray(TRIANGLES)[:, 0] % 5)
    return lambda x: x[:5][index] * x[5:10]


def _loop_inside(x):
    index = jnp.asarray(TRIANGLES) % x.size

    def step(i, x):
        return x.at[index[:, 0]].add(jnp.sin(x[index[:, 1]]))

    return lambda x: lax.fori_loop(0, 2, step, x)


def _counted(x):
    index = jnp.asarray(TRIANGLES) % x.size
    for _ in range(300):
        index = (index + 1) % x.size
    return lambda x: x[index[:, 0]] * x[0]


def _given(x):
    index = jnp.argsort(x)
    return lambda x: jnp.sin(x[index])


def _checked(x):
    index = jnp.asarray(TRIANGLES) % x.size
    index = jax.pure_callback(lambda i: i, index, index)
    return lambda x: jnp.sin(x[index])


KNOWN = {
    "linearised": _linearised,
    "normalised": _normalised,
    "sorted": _sorted,
    "in a loop inside": _loop_inside,
}
UNKNOWN = {
    "too many equations": _counted,
    "from an argument": _given,
    "from a callback": _checked,
}
TRACES = {
    "jit": jax.jit,
    "loop": lambda fun: lambda x: lax.map(fun, x[None])[0],
    "jit in a loop": lambda fun: lambda x: lax.map(jax.jit(fun), x[None])[0],
    "vmap": lambda fun: lambda x: jax.jit(jax.vmap(fun))(x[None])[0],
}


def _listed(make: Callable, trace: Callable) -> int:
    """The listed entries of a Jacobian in a trace, the values of which are right."""
    listed = []

    def difference(x):
        fun = make(x)
        block = eqx_cc.filter_jacobian(fun, structured=True)(x)
        listed.append(len(block.rows))
        return jnp.max(jnp.abs(block.todense() - jax.jacfwd(fun)(x)))

    assert trace(difference)(jnp.asarray(X)) < 1e-12
    return listed[0]


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("name", KNOWN)
def test_structure_is_that_outside_of_the_trace(name, trace):
    x = jnp.asarray(X)
    outside = eqx_cc.filter_jacobian(KNOWN[name](x), structured=True)(x)
    assert len(outside.rows) < math.prod(outside.shape)
    assert _listed(KNOWN[name], TRACES[trace]) == len(outside.rows)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_dense(name):
    shape = jax.eval_shape(UNKNOWN[name](jnp.asarray(X)), X).shape
    assert _listed(UNKNOWN[name], jax.jit) == math.prod(shape) * X.size


def test_dense_jacobians_of_few_scalars_agree():
    def difference(x):
        fun = _normalised(x)
        return eqx_cc.filter_jacobian(fun)(x) - jax.jacfwd(fun)(x)

    np.testing.assert_allclose(jax.jit(difference)(jnp.asarray(X)), 0.0, atol=1e-12)


def test_linear_solver_finds_bands_in_a_linearised_function():
    index = np.arange(100)[:, None] + np.array([0, 1])

    def fun(y, _):
        return 5 * y + jnp.zeros_like(y).at[index].add(jnp.sin(y[index[:, ::-1]]))

    kinds = []

    def solution(y):
        operator = lx.linearise(lx.JacobianLinearOperator(fun, y))
        kinds.append(
            type(eqx_cc.EliminationSolver().init(operator, {}).factorisation).__name__
        )
        return lx.linear_solve(operator, y, eqx_cc.EliminationSolver()).value

    y = jnp.linspace(0.0, 1.0, 101)
    dense = jax.jacfwd(fun)(y, None)
    np.testing.assert_allclose(dense @ jax.jit(solution)(y), y, atol=1e-12)
    assert kinds == ["BandedLU"]
