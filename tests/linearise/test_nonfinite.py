"""Partials that are infinite where nothing reads them.

`jax.jacfwd` pushes tangents through the function, in which what is not selected takes
no part. A Jacobian that multiplies it by zero would be NaN there, as `jax.jacrev` is.
"""

from collections.abc import Callable

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax


ORDERS = "markowitz", "forward", "reverse"
POINT = jnp.array([2.0, 2.0, 1.0])


def roots(x):
    """The first of these square roots is that of zero at `POINT`."""
    return jnp.sqrt(jnp.array([[1.0, -1.0, 0.0], [1.0, 1.0, 1.0], [2.0, 0.0, 1.0]]) @ x)


def one(x):
    """An index that is not known while tracing."""
    return jnp.int64(x[0] > 0)


CASES: dict[str, Callable] = {
    "cond": lambda x: lax.cond(x[0] > 0, lambda y: y[1:], lambda y: y[:2], roots(x)),
    "cond, scaled": lambda x: lax.cond(
        x[0] > 0, lambda y: 2 * y[1:], lambda y: -y[:2], roots(x)
    ),
    "cond, products": lambda x: lax.cond(
        x[0] > 0, lambda y: y[1] * y[2], lambda y: y[0] * y[1], roots(x)
    ),
    "cond, nothing": lambda x: lax.cond(
        x[0] > 0, lambda y: 0.0, lambda y: jnp.sum(y * y), roots(x)
    ),
    "switch": lambda x: lax.switch(
        one(x), [lambda y: y[0], lambda y: y[1], lambda y: y[2]], roots(x)
    ),
    "index": lambda x: roots(x)[one(x)],
    "dynamic slice": lambda x: lax.dynamic_slice(roots(x), (one(x),), (2,)),
    "dynamic update": lambda x: lax.dynamic_update_slice(
        roots(x), x[:1], (one(x) - 1,)
    ),
    "set": lambda x: roots(x).at[one(x) - 1].set(x[1]),
    "take": lambda x: jnp.take(roots(x), jnp.array([1, 2]) * one(x)),
    "take, along an axis": lambda x: jnp.take_along_axis(
        jnp.stack([roots(x), x]), jnp.array([[1], [2]]) * one(x), 1
    ),
    "take, beyond the end": lambda x: jnp.take(
        roots(x), jnp.array([1, 7]) * one(x), mode="fill", fill_value=0.0
    ),
    "rows": lambda x: jnp.outer(roots(x), x)[one(x)],
    "batched": lambda x: jax.vmap(lambda a, i: a[i])(
        jnp.stack([roots(x), x]), jnp.array([1, 2]) * one(x)
    ),
    "sort": lambda x: jnp.sort(roots(x))[1:],
    "argsort": lambda x: roots(x)[jnp.argsort(roots(x))][1:],
    "top k": lambda x: lax.top_k(roots(x), 2)[0],
    "where": lambda x: jnp.sum(jnp.where(jnp.arange(3) > 0, roots(x), 0.0)),
    "cumulative sum": lambda x: lax.cumsum(roots(x), reverse=True)[1:],
    "segment sum": lambda x: jax.ops.segment_sum(
        roots(x), jnp.array([0, 1, 1]) * one(x), 2
    )[1:],
    "scan": lambda x: lax.scan(
        lambda c, i: (c + roots(x)[i], None), jnp.zeros(()), jnp.arange(1, 3)
    )[0],
    "scan, where": lambda x: lax.scan(
        lambda c, i: (jnp.where(i > 0, c + roots(x)[i], c), None),
        jnp.zeros(()),
        jnp.arange(3),
    )[0],
    "fori_loop": lambda x: lax.fori_loop(1, 3, lambda i, c: c + roots(x)[i], 0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_selected_may_be_infinite(name):
    fun = CASES[name]

    @jax.jit
    def compute(x):
        ours = [eqx_cc.cc_jacobian(fun, order=order)(x) for order in ORDERS]
        return ours, jax.jacfwd(fun)(x)

    ours, expected = compute(POINT)
    assert np.all(np.isfinite(expected))
    for jacobian in ours:
        np.testing.assert_allclose(jacobian, expected, rtol=1e-12, atol=1e-12)


def test_in_forward_order_what_follows_the_selection_may_be_anything():
    fun = lambda x: jnp.median(roots(x)) + jnp.quantile(roots(x), 0.75)  # noqa: E731
    ours = eqx_cc.cc_jacobian(fun, order="forward")(POINT)
    np.testing.assert_allclose(ours, jax.jacfwd(fun)(POINT), rtol=1e-12)


def test_what_is_selected_is_as_infinite_as_it_is():
    fun = lambda x: roots(x)[jnp.array([0, 1]) * one(x)]  # noqa: E731
    ours, expected = eqx_cc.cc_jacobian(fun)(POINT), jax.jacfwd(fun)(POINT)
    np.testing.assert_array_equal(np.isinf(ours), np.isinf(expected))


def _guarded(x):
    """Of two values that are no numbers, none is chosen; the choice is scaled."""
    return jnp.where(x > 5, jnp.log(x - 5) * jnp.sqrt(x - 5), 1 / x) * jnp.cos(x) - x


@pytest.mark.parametrize("count", [3, 12, 40])
@pytest.mark.parametrize("fun", [jax.scipy.special.spence, _guarded])
def test_by_default_the_order_is_one_that_discards_infinities(fun, count):
    """Where it costs little."""
    x = jnp.linspace(0.4, 2.1, count)
    jacobian = eqx_cc.filter_jacobian(fun)
    expected = jax.jacfwd(fun)(x)
    assert np.all(np.isfinite(expected))
    for ours in (jacobian(x), jax.jit(jacobian)(x)):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)
