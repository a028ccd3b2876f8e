"""Elimination or a sweep, by default."""

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import _choice
from helpers import assert_jacobian_close
from jax import lax


def uniform(*shape):
    return jnp.asarray(np.random.default_rng(0).uniform(-1, 1, shape))


@pytest.fixture
def swept(monkeypatch):
    """The directions of the sweeps that were taken."""
    taken, own = [], _choice._towards

    def towards(sweep, direction):
        taken.append(direction)
        return own(sweep, direction)

    monkeypatch.setattr(_choice, "_towards", towards)
    return taken


def _convolutions(x):
    y = lax.conv(jnp.tanh(x), uniform(8, 3, 3, 3), (1, 1), "SAME")
    return uniform(4, 8 * 64) @ jax.nn.relu(y).ravel()


def _sorted(x):
    return jnp.sort(jnp.sin(x)) * x


def _layers(x):
    return uniform(48, 4) @ jnp.tanh(uniform(4, 48) @ x)


def _stencil(x):
    return jnp.roll(x, 1) * x - jnp.sin(x)


CASES = {
    "convolutions": (_convolutions, uniform(1, 3, 8, 8), ["reverse"]),
    "sorted": (_sorted, uniform(256), ["forward"]),
    "bottleneck": (_layers, uniform(48), []),
    "stencil": (_stencil, uniform(256), []),
    "small": (lambda x: jnp.sin(x) @ x, uniform(3), []),
}


@pytest.mark.parametrize("name", CASES)
def test_by_default(name, swept):
    fun, x, expected = CASES[name]
    assert_jacobian_close(fun, x, ["auto"])
    assert swept == expected


@pytest.mark.parametrize("options", [{"order": "reverse"}, {"structured": True}])
def test_what_is_asked_for_is_elimination(options, swept):
    jax.eval_shape(eqx_cc.cc_jacobian(_convolutions, **options), uniform(1, 3, 8, 8))
    assert swept == []


def test_auxiliary_data_and_integers(swept):
    def fun(x):
        y = _sorted(x)
        return [y, jnp.argmax(y), jnp.ones(2)], {"aux": y[0], "name": "a"}

    x = uniform(256)
    (value, aux), jacobian = eqx_cc.filter_value_and_jacobian(fun, has_aux=True)(x)
    assert swept == ["forward"]
    np.testing.assert_allclose(jacobian[0], jax.jacfwd(_sorted)(x), rtol=1e-12)
    np.testing.assert_array_equal(jacobian[1], np.zeros(256))
    np.testing.assert_array_equal(jacobian[2], np.zeros((2, 256)))
    assert aux["name"] == "a" and aux["aux"] == value[0][0]


@pytest.mark.parametrize(
    "transform", [jax.jit, jax.vmap, lambda f: jax.vmap(jax.jit(f))]
)
def test_under_transformations(transform, swept):
    xs = uniform(2, 256)
    ours = eqx_cc.filter_jacobian(_sorted)
    if transform is jax.jit:
        xs = xs[0]
    np.testing.assert_allclose(
        transform(ours)(xs), transform(jax.jacfwd(_sorted))(xs), rtol=1e-12
    )
    assert swept == ["forward"]


def test_of_captured_tracers(swept):
    def loss(w, jacobian):
        return jnp.sum(jacobian(lambda x: _sorted(w * x))(uniform(256)) ** 2)

    w = jnp.asarray(0.7)
    ours = jax.jit(jax.grad(lambda w: loss(w, eqx_cc.filter_jacobian)))(w)
    np.testing.assert_allclose(ours, jax.grad(lambda w: loss(w, jax.jacfwd))(w))
    assert swept == ["forward"]


@pytest.mark.slow
def test_an_order_that_takes_too_long(swept, monkeypatch):
    def fun(x):
        return lax.associative_scan(jnp.multiply, jnp.cos(x))

    monkeypatch.setattr(_choice, "MOST_EFFORT", 100.0)
    x = uniform(24)
    np.testing.assert_allclose(
        eqx_cc.filter_jacobian(fun)(x), jax.jacfwd(fun)(x), rtol=1e-9, atol=1e-12
    )
    assert len(swept) == 1
    eqx_cc.trace(fun, uniform(12))  # No limit here.


def test_what_runs_operation_by_operation(swept):
    """The order of large operations matters there as well; small ones are started."""
    x = uniform(1, 3, 8, 8)
    expected = jax.jacrev(_convolutions)(x)
    found = eqx_cc.filter_jacobian(_convolutions)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert swept == ["reverse"]
    small = jnp.asarray([0.3, 0.1, 0.2])
    found = eqx_cc.filter_jacobian(_sorted)(small)
    np.testing.assert_allclose(found, jax.jacfwd(_sorted)(small))
    assert swept == ["reverse"]


def test_many_equations_and_one_output(swept):
    def fun(x):
        for _ in range(200):
            x = jnp.sin(x) * x
        return jnp.sum(x)

    x = uniform(50)
    np.testing.assert_allclose(eqx_cc.filter_jacobian(fun)(x), jax.grad(fun)(x))
    assert swept == ["reverse"]


def test_a_direction_that_jax_refuses(swept):
    """The reverse mode of a `while_loop`."""

    def fun(x):
        y = lax.while_loop(lambda y: jnp.sum(y) < 9, lambda y: y + jnp.abs(x), x)
        return _convolutions(y)

    x = uniform(1, 3, 8, 8)
    np.testing.assert_allclose(
        eqx_cc.filter_jacobian(fun, granularity="array")(x), jax.jacfwd(fun)(x)
    )
    assert swept[:1] == ["reverse"]
