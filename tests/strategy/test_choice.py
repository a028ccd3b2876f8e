"""Elimination or a sweep, by default."""

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._strategy import (
    compile_once as _compile_once,
    jacobian_blocks as _eliminate,
    select as _select,
    sweep as _sweep,
)
from helpers import assert_jacobian_close
from jax import lax


def uniform(*shape):
    return jnp.asarray(np.random.default_rng(0).uniform(-1, 1, shape))


@pytest.fixture
def methods(monkeypatch):
    """The methods that were taken."""
    methods, select = [], _eliminate.select_method

    def recorded(*args, **options):
        prepared = select(*args, **options)
        methods.append(prepared.method)
        return prepared

    for module in (_eliminate, _compile_once):
        monkeypatch.setattr(module, "select_method", recorded)
    _compile_once.forget_compiled()
    return methods


def sweeps(methods):
    """The directions of those methods that are sweeps."""
    return [m.direction for m in methods if hasattr(m, "direction")]


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
def test_by_default(name, methods):
    fun, x, expected = CASES[name]
    assert_jacobian_close(fun, x, ["auto"])
    assert sweeps(methods) == expected


@pytest.mark.parametrize("options", [{"order": "reverse"}, {"structured": True}])
def test_what_is_asked_for_is_elimination(options, methods):
    jax.eval_shape(eqx_cc.cc_jacobian(_convolutions, **options), uniform(1, 3, 8, 8))
    assert sweeps(methods) == []


def test_auxiliary_data_and_integers(methods):
    def fun(x):
        y = _sorted(x)
        return [y, jnp.argmax(y), jnp.ones(2)], {"aux": y[0], "name": "a"}

    x = uniform(256)
    (value, aux), jacobian = eqx_cc.filter_value_and_jacobian(fun, has_aux=True)(x)
    assert sweeps(methods) == ["forward"]
    np.testing.assert_allclose(jacobian[0], jax.jacfwd(_sorted)(x), rtol=1e-12)
    np.testing.assert_array_equal(jacobian[1], np.zeros(256))
    np.testing.assert_array_equal(jacobian[2], np.zeros((2, 256)))
    assert aux["name"] == "a" and aux["aux"] == value[0][0]


@pytest.mark.parametrize(
    "transform", [jax.jit, jax.vmap, lambda f: jax.vmap(jax.jit(f))]
)
def test_under_transformations(transform, methods):
    xs = uniform(2, 256)
    ours = eqx_cc.filter_jacobian(_sorted)
    if transform is jax.jit:
        xs = xs[0]
    np.testing.assert_allclose(
        transform(ours)(xs), transform(jax.jacfwd(_sorted))(xs), rtol=1e-12
    )
    assert sweeps(methods) == ["forward"]


def test_of_captured_tracers(methods):
    def loss(w, jacobian):
        return jnp.sum(jacobian(lambda x: _sorted(w * x))(uniform(256)) ** 2)

    w = jnp.asarray(0.7)
    ours = jax.jit(jax.grad(lambda w: loss(w, eqx_cc.filter_jacobian)))(w)
    np.testing.assert_allclose(ours, jax.grad(lambda w: loss(w, jax.jacfwd))(w))
    assert sweeps(methods) == ["forward"]


@pytest.mark.slow
def test_an_order_that_takes_too_long(methods, monkeypatch):
    def fun(x):
        return lax.associative_scan(jnp.multiply, jnp.cos(x))

    monkeypatch.setattr(_select, "DEFAULT_BUDGET", 100.0)
    x = uniform(24)
    np.testing.assert_allclose(
        eqx_cc.filter_jacobian(fun)(x), jax.jacfwd(fun)(x), rtol=1e-9, atol=1e-12
    )
    assert len(methods) == 1
    eqx_cc.trace(fun, uniform(12))  # No limit here.


def test_outside_of_jit(methods):
    """The order of large operations matters there as well; small ones are compiled as
    quickly as possible."""
    x = uniform(1, 3, 8, 8)
    expected = jax.jacrev(_convolutions)(x)
    jacobian = eqx_cc.filter_jacobian(_convolutions)(x)
    np.testing.assert_allclose(jacobian, expected, rtol=1e-9, atol=1e-12)
    assert sweeps(methods) == ["reverse"]
    small = jnp.asarray([0.3, 0.1, 0.2])
    jacobian = eqx_cc.filter_jacobian(_sorted)(small)
    np.testing.assert_allclose(jacobian, jax.jacfwd(_sorted)(small))
    assert sweeps(methods) == ["reverse", "forward"]


def test_many_equations_and_one_output(methods):
    def fun(x):
        for _ in range(200):
            x = jnp.sin(x) * x
        return jnp.sum(x)

    x = uniform(50)
    np.testing.assert_allclose(eqx_cc.filter_jacobian(fun)(x), jax.grad(fun)(x))
    assert sweeps(methods) == ["reverse"]


#
# What JAX refuses
#


def _gathered(x):
    """A `while_loop` of one number behind two layers: there is no reverse mode, and
    forward mode takes far longer than elimination."""
    weights = uniform(200, 200)
    y = jnp.sum(jnp.sin(weights @ jnp.tanh(weights @ x)))
    return lax.while_loop(lambda y: jnp.abs(y) < 9, lambda y: y + jnp.sin(y) + 3, y)


def _behind_a_loop(x):
    y = lax.while_loop(lambda y: jnp.sum(y) < 9, lambda y: y + jnp.abs(x), x)
    return _convolutions((uniform(192, 3) @ y).reshape(1, 3, 8, 8))


def _opaque_and_gathered(x):
    return _gathered(_opaque(x))


@jax.custom_vjp
def _opaque(x):
    return jnp.tanh(x)


_opaque.defvjp(lambda x: (jnp.tanh(x), x), lambda x, g: (g / jnp.cosh(x) ** 2,))


REFUSED = {
    "elimination is left": (_gathered, uniform(200), "elimination of arrays"),
    "forward mode is left": (_behind_a_loop, uniform(3), "forward mode of JAX"),
    "there is neither": (_opaque_and_gathered, uniform(200), "elimination of arrays"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_left_is_compared(name, methods):
    """Reverse mode would be fastest, were there one."""
    fun, x, expected = REFUSED[name]
    jacobian = jax.jit(eqx_cc.filter_jacobian(fun, granularity="array"))(x)
    [method] = methods
    assert method.name == expected
    if name != "there is neither":
        reference = jax.jacfwd(fun)(x)
    else:
        reference = jax.jacfwd(lambda x: _gathered(jnp.tanh(x)))(x)
    np.testing.assert_allclose(jacobian, reference, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", REFUSED)
def test_a_report_names_what_is_taken(name):
    fun, x, expected = REFUSED[name]
    report = eqx_cc.explain(fun, x)
    assert report.way == expected
    assert f"when compiled: {expected}" in str(report)


def test_a_report_of_a_jacobian_that_does_not_fit():
    report = eqx_cc.explain(jnp.sin, np.broadcast_to(1.0, (10**7,)))
    assert report.way.startswith("nothing")


@pytest.mark.parametrize("error", [ValueError, TypeError, RuntimeError])
def test_our_errors_are_not_refusals(error, monkeypatch):
    """An error in our code for a sweep is no reason to take another method."""

    def wrong(*args):
        raise error("ours")

    monkeypatch.setattr(_sweep, "_split", wrong)
    with pytest.raises(error, match="ours"):
        jax.eval_shape(eqx_cc.filter_jacobian(_sorted), uniform(256))


def _guarded(x):
    return jnp.where(x > 0.0, jnp.sqrt(x), 0.0)


def _guarded_sum(x):
    return jnp.stack([jnp.sum(_guarded(x)), jnp.prod(x)])


def _logarithms(x):
    return jnp.where(x > 0.0, jnp.log(x), x) * jnp.sum(x)


@pytest.mark.parametrize("fun", [_guarded, _guarded_sum, _logarithms])
@pytest.mark.parametrize("granularity", ["auto", "array"])
def test_discarded_infinities(fun, granularity, methods):
    """A selection discards a value whose derivative is infinite: reverse mode would
    give NaN, and is not taken where little depends on it."""
    x = jnp.linspace(-2.0, 2.0, 65).at[0].set(0.0)
    expected = jax.jacfwd(fun)(x)
    if fun is not _guarded_sum:
        assert np.isnan(jax.jacrev(fun)(x)).any()
    jacobian = jax.jit(eqx_cc.filter_jacobian(fun, granularity=granularity))(x)
    np.testing.assert_allclose(jacobian, expected, rtol=1e-12)
    assert "reverse" not in sweeps(methods)
