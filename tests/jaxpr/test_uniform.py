"""Factors that are one number, left out or known while tracing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._jaxpr.known.uniform import without_uniform_factors
from eqx_cc._jaxpr.program import evaluate, flatten


VALUES = np.array([[1.5, -0.0, np.nan], [np.inf, -2.5, 3e-300]])


def _gradient(x):
    return jax.grad(lambda x: jnp.sum(jnp.sin(x) ** 2 * 3))(x)


def _twice(x):
    return x * jnp.ones_like(x) * jnp.ones_like(x), x * 1.0


def _spread(x):
    row = jnp.full((1, 3), 2.0).reshape(3)[None, ::-1]
    factor = jnp.broadcast_to(row, x.shape) * 3.0
    return x * factor[: x.shape[0]].T.T.astype(x.dtype)


def _converted(x):
    ones = jnp.ones(x.shape, "int32").astype(x.dtype)
    return x * ones


def _wider(x):
    return x[0, 0] * jnp.ones((2,), x.dtype)


def _itself(x):
    ones = jnp.ones_like(x)
    return ones * ones, x


FUNCTIONS = {
    # The function, and the products that are left.
    "gradient": (_gradient, 3),
    "twice": (_twice, 0),
    "spread": (_spread, 1),
    "converted": (_converted, 1),
    "wider": (_wider, 1),
    "itself": (_itself, 1),
    "by two": (lambda x: x * jnp.full_like(x, 2.0), 1),
}


def _programs(fun, x):
    closed = jax.make_jaxpr(lambda *leaves: jax.tree.leaves(fun(*leaves)))(x)
    program = flatten(closed.jaxpr, closed.consts)
    return program, without_uniform_factors(program)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "complex128"])
@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"gradient"}))
def test_values_are_the_same(name, dtype):
    x = jnp.asarray(VALUES).astype(dtype)
    old, new = _programs(FUNCTIONS[name][0], x)
    for a, b in zip(evaluate(old, [x]), evaluate(new, [x])):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_products_that_are_left(name):
    fun, count = FUNCTIONS[name]
    _, program = _programs(fun, jnp.asarray(VALUES))
    products = [e for e in program.equations if e.primitive.name == "mul"]
    assert len(products) == count


@pytest.mark.parametrize("name", ["twice", "by two", "gradient"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 0)])
def test_shapes_that_bite(name, shape):
    x = jnp.full(shape, 0.5)
    old, new = _programs(FUNCTIONS[name][0], x)
    for a, b in zip(evaluate(old, [x]), evaluate(new, [x])):
        np.testing.assert_array_equal(a, b)


def test_nothing_to_change_is_the_same_program():
    old, new = _programs(jnp.sin, jnp.asarray(VALUES))
    assert old is new
