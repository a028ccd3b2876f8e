"""Jacobians passed through an equation that has far more operands than the function
has inputs, or far more results than it has outputs."""

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax


_A = jnp.asarray(np.random.default_rng(0).normal(size=(12, 12)) / 5)
_P = jnp.array([0.3, 0.2])


def _start(p):
    return jnp.sin(p[0] * jnp.arange(12.0))


def _scan(p):
    def step(carry, _):
        return jnp.tanh(_A @ carry + p[1] * carry), carry[0]

    return lax.scan(step, _start(p), None, length=4)


def _while(p):
    def step(state):
        return state[0] + 1, jnp.tanh(_A @ state[1] + p[1])

    return lax.while_loop(lambda state: state[0] < 3, step, (0, _start(p)))[1]


def _inside(p):
    return lax.map(lambda q: _scan(q * p)[0], jnp.stack([_P, 2 * _P]))


@pytest.mark.parametrize("fun", [_scan, _while, _inside])
def test_jacobian(fun):
    @jax.jit
    def both(p):
        ours = [eqx_cc.cc_jacobian(fun, order=o)(p) for o in ("forward", "markowitz")]
        return ours, jax.jacfwd(fun)(p)

    ours, expected = both(_P)
    for jacobian in ours:
        for a, b in zip(jax.tree.leaves(jacobian), jax.tree.leaves(expected)):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("fun", [_scan, _while])
def test_never_forms_the_block(fun):
    jaxpr = str(jax.make_jaxpr(eqx_cc.cc_jacobian(fun))(_P))
    blocks = [line for line in jaxpr.splitlines() if "f64[12,12] = " in line]
    assert blocks == []


def test_structure_is_kept_where_it_is_cheaper():
    def fun(p):
        start = p[0] * jnp.arange(1000.0)
        return lax.scan(lambda c, _: (jnp.sin(c), None), start, None, length=3)[0]

    graph = eqx_cc.trace(fun, _P).graph
    assert "diagonal" in {pattern.name for pattern in graph.edges.values()}


def _losses(x):
    y = jnp.sin(x)

    def step(carry, t):
        return jnp.tanh(_A @ carry + t * y), carry.sum()

    carry, sums = lax.scan(step, y * 2.0, jnp.arange(4.0))
    picked = carry[jnp.array([1, 2])].sum()
    return (carry**2).sum() + sums.sum() + x[0], x[1] * picked


@pytest.mark.parametrize("order", ["forward", "markowitz"])
def test_pull(order):
    @jax.jit
    def both(x):
        return eqx_cc.cc_jacobian(_losses, order=order)(x), jax.jacrev(_losses)(x)

    ours, expected = both(jnp.linspace(0.1, 1.0, 12))
    for a, b in zip(ours, expected):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_pull_never_forms_the_block():
    x = jnp.linspace(0.1, 1.0, 12)
    jaxpr = str(jax.make_jaxpr(eqx_cc.cc_jacobian(_losses))(x))
    assert not [line for line in jaxpr.splitlines() if "f64[12,12] = " in line]
