"""Loops whose iterations do not depend on each other know what each of them reads."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import cc_jacobian
from jax import lax


X = jnp.linspace(0.3, 1.7, 8)
PLACES = np.array([3, 0, 5, 5, 2])


def _windows(x):
    """A sum over windows, which are read one after the other."""

    def step(total, i):
        window = lax.dynamic_slice(x, [i], [3])
        return total + jnp.sum(window / (1 + window**2)) ** 2, None

    return lax.scan(step, 0.0, jnp.arange(x.size - 2))[0]


def _add(step):
    return lambda x: lax.fori_loop(0, 6, step(x), jnp.zeros_like(x, shape=x.shape[1:]))


PAIRS = _add(lambda x: lambda i, total: total + jnp.sin(x[i]) * x[i + 1])

# With the number of entries that are not zero, of X.
FUNCTIONS: dict[str, tuple[Any, int]] = {
    "map": (lambda x: lax.map(lambda i: x[i + 1] * x[i], jnp.arange(6)), 12),
    "known places": (lambda x: lax.map(lambda i: x[i] ** 2, PLACES), 5),
    "gradient of a map": (
        jax.grad(lambda x: jnp.sum(lax.map(lambda i: x[i + 1] * x[i], jnp.arange(6)))),
        12,
    ),
    "sum": (PAIRS, 7),
    "gradient of a sum": (jax.grad(PAIRS), 18),
    "gradient of a sum of windows": (jax.grad(_windows), 34),
    "difference": (_add(lambda x: lambda i, total: total - x[i + 2] ** 3), 6),
    "two additions": (_add(lambda x: lambda i, c: (x[i] + c) + x[i] * x[i + 1]), 7),
    "entries of the carry": (
        lambda x: lax.fori_loop(0, 6, lambda i, y: y.at[i].add(x[i] * x[i + 1]), 0 * x),
        12,
    ),
    "backwards": (
        lambda x: lax.scan(
            lambda c, i: ((c[0] - 1, c[1] + x[c[0]]), x[c[0]] * x[i]),
            (6, x[0]),
            jnp.arange(6),
            reverse=True,
        )[1],
        12,
    ),
    "slices beside": (
        lambda x: lax.scan(
            lambda c, s: (c, (x[s[1]] * s[0], s[0])), 0, (x[2:], jnp.arange(6))
        )[1][0],
        12,
    ),
    "one iteration": (lambda x: lax.map(lambda i: x[i] ** 2, jnp.arange(1)), 1),
    "no iterations": (lambda x: lax.map(lambda i: x[i] ** 2, jnp.arange(0)), 0),
    "loops": (jax.vmap(PAIRS), 0),
}
DEPENDENT = {
    "product": lambda x: lax.fori_loop(0, 5, lambda i, c: c * x[i] + x[i + 1], x[7]),
    "own carry": lambda x: lax.fori_loop(0, 5, lambda i, c: c + c * x[i], x[7]),
    "from": lambda x: lax.fori_loop(0, 5, lambda i, c: x[i] - c, x[7]),
    "two sums": lambda x: lax.fori_loop(
        0, 5, lambda i, c: (c[0] + x[i], c[1] + c[0]), (x[7], x[6])
    )[1],
    "seen": lambda x: lax.scan(lambda c, i: (c + x[i], c), x[7], jnp.arange(5))[1],
    "wider": lambda x: lax.fori_loop(
        0, 5, lambda i, c: c.at[i].add(x[i] * c[i + 1]), x
    ),
    "branch": lambda x: lax.fori_loop(
        0, 5, lambda i, c: c + lax.cond(i > 2, jnp.sin, jnp.cos, x[i]), 0.0
    ),
}


def check(fun, x):
    """Compares values, and Jacobians, with JAX."""
    block = cc_jacobian(fun, structured=True)(x)
    expected = np.asarray(jax.jacfwd(fun)(x))
    tolerance = 1e-5 if expected.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(block.todense(), expected, tolerance, tolerance)
    return block, expected


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"loops"}))
def test_structure(name):
    fun, size = FUNCTIONS[name]
    block, expected = check(fun, X)
    assert np.count_nonzero(expected) == size
    if "windows" not in name and name != "entries of the carry":
        assert block.to_bcoo().nse == size
    if size:
        check(fun, X.astype(np.float32))


@pytest.mark.parametrize("name", DEPENDENT)
def test_iterations_that_depend_on_each_other(name):
    check(DEPENDENT[name], X)


def test_large_windows_are_listed():
    block, expected = check(jax.grad(_windows), jnp.linspace(0.3, 1.7, 60))
    assert block.to_bcoo().nse == np.count_nonzero(expected) == 60 * 5 - 6


def test_axes_and_transformations():
    fun, x = jax.vmap(PAIRS), jnp.stack([X, X + 1, X**2])
    block, expected = check(fun, x)
    assert block.to_bcoo().nse == np.count_nonzero(expected)
    matrix = _add(lambda x: lambda i, total: total + jnp.sin(x[i]) * x[i + 1])
    check(matrix, x.T)
    batch = jax.jit(jax.vmap(lambda x: cc_jacobian(jax.grad(PAIRS))(x)))(x)
    np.testing.assert_allclose(batch, jax.vmap(jax.hessian(PAIRS))(x), 1e-12, 1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_stay_where_they_are(value):
    fun = lambda x: lax.map(lambda i: x[i + 1] * x[i], jnp.arange(6))  # noqa: E731
    x = X.at[2].set(value)
    block = cc_jacobian(fun, structured=True)(x)
    expected = np.zeros((6, 8))
    at = np.arange(6)
    expected[at, at], expected[at, at + 1] = x[1:7], x[:6]
    np.testing.assert_array_equal(block.to_bcoo().todense(), expected)


def test_indices_that_are_traced():
    fun = lambda x, at: lax.map(lambda i: x[i] ** 2, at)  # noqa: E731
    run = jax.jit(lambda x, at: cc_jacobian(lambda x: fun(x, at), structured=True)(x))
    expected = jax.jacfwd(fun)(X, PLACES)
    np.testing.assert_allclose(run(X, PLACES).todense(), expected, 1e-12)
