"""Jacobians of functions of small arrays, in one native call."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import cc_jacobian, filter_jacobian
from helpers import native_functions, RTOL
from jax import lax


SIZE = 7
POINT = np.linspace(0.3, 1.1, SIZE)
INDEX = np.array([3, 0, 3, 6, 1])


def long(x):
    """Enough operations, so that a function that this is part of is no scalars."""
    return jnp.sin(x) * jnp.exp(x) + x**3 / (1 + x**2)


FUNCTIONS = {
    "elementwise": long,
    "repeated rows": lambda x: long(x)[None, INDEX] * x[INDEX][:, None],
    "shifts": lambda x: (jnp.roll(x, -1) - jnp.roll(x, 2)) * jnp.roll(x, 1) - x,
    "gathers": lambda x: long(x[INDEX]) * x[INDEX[::-1]] + jnp.cos(x[:5]),
    "repeated entries": lambda x: long(x)[INDEX] + x[0] * x[INDEX],
    "stacks": lambda x: jnp.stack([long(x), x[::-1] * x, jnp.ones_like(x)], 1),
    "sums": lambda x: long(x) / jnp.sum(x**2) + jnp.max(x) * jnp.min(x),
    "pads": lambda x: jnp.pad(long(x), (2, 1)) * jnp.pad(x, (1, 2), "edge"),
    "outer": lambda x: long(x)[:, None] * jnp.cos(x)[None] + x[None],
    "selects": lambda x: jnp.where(x > 0.6, long(x), jnp.clip(x, 0.4, 0.5) * x),
    "one number": lambda x: jnp.sum(long(x) * x[::-1]),
    "outputs that are inputs": lambda x: (x, long(x), x[None]),
    "constants": lambda x: (long(x), jnp.ones(3), 2 * x),
}


def compiled(fun, **options):
    return jax.jit(cc_jacobian(fun, granularity="array", **options))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_jacfwd(name, dtype):
    fun, x = FUNCTIONS[name], jnp.asarray(POINT, dtype)
    run = compiled(fun)
    assert len(native_functions(run, x)) == 1
    rtol, expected = RTOL[dtype], jax.jacfwd(fun)(x)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol),
        run(x),
        expected,
    )


def test_indices_of_a_narrow_type():
    """The number of an entry of 20 by 20 does not fit into eight bits."""
    places = np.array([[19, 18], [3, 2], [19, 18]], np.uint8)
    numbers = lax.ScatterDimensionNumbers((), (0, 1), (0, 1))

    def fun(x):
        total, values = jnp.zeros((20, 20), x.dtype), jnp.sin(x[:3]) * x[:3]
        mode = "promise_in_bounds"
        y = lax.scatter_add(total, places, values, numbers, mode=mode)
        return jnp.cos(y[19, 18]) * long(x) + y[3, 2]

    x = jnp.asarray(POINT)
    ours, expected = compiled(fun)(x), jax.jit(jax.jacfwd(fun))(x)
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
@pytest.mark.parametrize(
    "name", ["elementwise", "gathers", "repeated entries", "sums", "selects"]
)
def test_values_at_the_edge(name, value):
    x = jnp.asarray(POINT).at[3].set(value)
    ours, expected = compiled(FUNCTIONS[name])(x), jax.jacfwd(FUNCTIONS[name])(x)
    # Elimination has zeros where sweeps multiply zeros by what is not finite.
    known = np.isfinite(expected)
    np.testing.assert_allclose(ours[known], expected[known], rtol=1e-12)


def test_what_is_around():
    """Batches, loops, derivatives, values and auxiliary results."""
    run = FUNCTIONS["gathers"]
    jacobian, expected = filter_jacobian(run), eqx.filter_jacfwd(run)
    xs = jnp.stack([POINT, POINT[::-1]])
    np.testing.assert_allclose(
        jax.jit(jax.vmap(jacobian))(xs), jax.vmap(expected)(xs), rtol=1e-12
    )

    def sums(jacobian):
        def step(total, x):
            return total + jnp.sum(jnp.tanh(jacobian(x * total))), None

        return lambda xs: lax.scan(step, 1.0, xs)[0]

    ours, theirs = (
        jax.jit(jax.value_and_grad(sums(jacobian))),
        jax.jit(jax.value_and_grad(sums(expected))),
    )
    for value, reference in zip(ours(xs), theirs(xs)):
        np.testing.assert_allclose(value, reference, rtol=1e-12)


def test_captured_tracers_and_integers():
    def jacobian(transform):
        def run(x, scale, count):
            def fun(x):
                y = long(x) * scale
                return y * count, (count + 1, y > 0)

            return transform(fun, has_aux=True)(x)

        return jax.jit(run)(POINT, 2.5, 3)

    def eliminated(fun, **options):
        return cc_jacobian(fun, granularity="array", **options)

    (ours, aux), (theirs, expected) = jacobian(eliminated), jacobian(jax.jacfwd)
    np.testing.assert_allclose(ours, theirs, rtol=1e-13)
    jax.tree.map(np.testing.assert_array_equal, aux, expected)


def test_arguments_without_a_use():
    def fun(x, y):
        return long(x) + 0 * jnp.sum(y)

    ours = jax.jit(cc_jacobian(fun, argnums=(0, 1), granularity="array"))
    pairs = zip(ours(POINT, POINT), jax.jacfwd(fun, (0, 1))(POINT, POINT))
    for block, reference in pairs:
        np.testing.assert_allclose(block, reference, rtol=1e-13)


@pytest.mark.parametrize(
    "fun, x",
    [
        (lambda x: long(x) @ jnp.outer(x, x), POINT),  # A matrix product.
        (lambda x: jnp.sort(long(x)), POINT),
        (lambda x: lax.fori_loop(0, 3, lambda _, x: long(x), x), POINT),
        (lambda x: x + 1, POINT),  # Too few operations to be worth it.
        (long, np.linspace(0.1, 1, 9000)),  # Too many entries.
    ],
)
def test_left_to_operations(fun, x):
    run = compiled(lambda x: jnp.sum(fun(x)) if len(x) > SIZE else fun(x))
    assert len(native_functions(run, x)) == 0


def test_half_precision_is_left_to_operations():
    x = jnp.asarray(POINT, jnp.float16)
    assert len(native_functions(compiled(long), x)) == 0
    np.testing.assert_allclose(compiled(long)(x), jax.jacfwd(long)(x), rtol=1e-2)
