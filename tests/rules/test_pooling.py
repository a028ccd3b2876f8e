"""Maxima and minima of windows: they keep the structure of the windows, and select what
JAX selects."""

import functools as ft
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import cc_jacobian
from helpers import assert_jacobian_close
from jax import lax


def _pool(window, strides=None, padding: Any = "VALID", op=lax.max, **dilations):
    init = -np.inf if op is lax.max else np.inf
    strides = strides or (1,) * len(window)
    return lambda x: lax.reduce_window(
        x, np.asarray(init, x.dtype), op, window, strides, padding, **dilations
    )


def _gradient(pool):
    return jax.grad(lambda x: jnp.sum(pool(x) ** 3))


def _mixed(*shape):
    """Numbers without order, some of them equal."""
    x = np.round(3 * np.sin(np.arange(1.0, 1 + np.prod(shape, dtype=int)) ** 2), 1)
    return jnp.asarray(x.reshape(shape))


IMAGE = 2, 6, 7, 2
POOLS = {
    "pairs": (_pool((2,), (2,)), (8,)),
    "overlapping": (_pool((3,)), (8,)),
    "far apart": (_pool((2,), (3,)), (9,)),
    "same": (_pool((3,), (2,), "SAME"), (9,)),
    "padding of one side": (_pool((2,), (2,), [(3, 0)]), (7,)),
    "all": (_pool((5,)), (5,)),
    "one": (_pool((1,), (2,)), (5,)),
    "of one": (_pool((1,)), (1,)),
    "of one, padded": (_pool((3,), None, "SAME"), (1,)),
    "of none": (_pool((2,), None, [(2, 2)]), (0,)),
    "no axes": (_pool(()), ()),
    "images": (_pool((1, 2, 2, 1), (1, 2, 2, 1)), IMAGE),
    "images, same": (_pool((1, 3, 3, 1), (1, 2, 2, 1), "SAME"), IMAGE),
    "images, minimum": (_pool((1, 2, 3, 1), None, "SAME", lax.min), IMAGE),
    "over channels": (_pool((1, 1, 1, 2)), IMAGE),
}
DILATED = {
    "window": (_pool((3,), window_dilation=(2,)), (9,)),
    "array": (_pool((3,), base_dilation=(2,)), (5,)),
    "both": (
        _pool((2, 2), None, "SAME", base_dilation=(2, 3), window_dilation=(3, 2)),
        (4, 5),
    ),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools(name):
    pool, shape = POOLS[name]
    assert_jacobian_close(pool, _mixed(*shape), ("auto", "forward", "reverse"))
    assert_jacobian_close(_gradient(pool), _mixed(*shape), ("forward", "reverse"))


@pytest.mark.parametrize("name", DILATED)
def test_dilated_pools(name):
    pool, shape = DILATED[name]
    assert_jacobian_close(pool, _mixed(*shape), ("auto", "forward", "reverse"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["overlapping", "images, same"])
def test_types(name, dtype):
    pool, shape = POOLS[name]
    x = _mixed(*shape).astype(dtype)
    block = jax.jit(cc_jacobian(pool, structured=True))(x)
    assert block.dtype == dtype and block.pattern.num_values < x.size * 9
    np.testing.assert_array_equal(block.todense(), jax.jit(jax.jacfwd(pool))(x))


NAN, INF = np.nan, np.inf
_SPECIAL: dict[str, Any] = {
    "equal": [1.0] * 9,
    "zeros of both signs": [0.0, -0.0] * 4 + [0.0],
    "NaN": [1, NAN, 2, NAN, NAN, NAN, NAN, 0, 3],
    "infinite": [INF, 1, -INF, -INF, -INF, -INF, 2, INF, INF],
    "both": [NAN, -INF, -INF, -INF, NAN, INF, -INF, 1, NAN],
}


@pytest.mark.parametrize("op", [lax.max, lax.min])
@pytest.mark.parametrize("special", _SPECIAL)
@pytest.mark.parametrize("width, stride", [(2, 2), (3, 1), (3, 2), (4, 3)])
def test_the_element_is_the_one_that_jax_selects(op, special, width, stride):
    """Of elements that are equal, and where there are NaNs."""
    pool = _pool((width,), (stride,), "SAME", op)
    x = jnp.array(_SPECIAL[special], float)
    weights = jnp.arange(1.0, 1 + len(jax.eval_shape(pool, x)))

    def of_weights(w, x):
        return jax.vjp(pool, x)[1](w)[0]

    @jax.jit
    def both(x, w):
        ours, theirs = cc_jacobian(pool, structured=True)(x), jax.jacfwd(pool)(x)
        scattered = ft.partial(of_weights, x=x)
        ours_back = cc_jacobian(scattered, structured=True)(w)
        return (ours.todense(), theirs), (ours_back.todense(), jax.jacfwd(scattered)(w))

    for ours, theirs in both(x, weights):
        np.testing.assert_array_equal(ours, theirs)


def test_stored_entries_are_those_of_windows():
    pool, shape = POOLS["images"]
    x = _mixed(*shape)
    windows = pool(x).size
    block = jax.eval_shape(cc_jacobian(pool, structured=True), x)
    assert block.pattern.num_values == 4 * windows
    hessian = jax.eval_shape(cc_jacobian(_gradient(pool), structured=True), x)
    assert hessian.pattern.num_values <= 16 * windows


def test_batches():
    pool, _ = POOLS["same"]
    xs = _mixed(4, 9)
    blocks = jax.jit(
        jax.vmap(lambda x: cc_jacobian(pool, structured=True)(x).todense())
    )
    np.testing.assert_array_equal(blocks(xs), jax.vmap(jax.jacfwd(pool))(xs))
