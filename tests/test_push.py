"""A Jacobian pushed through an equation that has far more operands than inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import eqx_cc


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


@pytest.mark.parametrize("fun", (_scan, _while, _inside))
def test_jacobian(fun):
    @jax.jit
    def both(p):
        ours = [eqx_cc.cc_jacobian(fun, order=o)(p) for o in ("forward", "markowitz")]
        return ours, jax.jacfwd(fun)(p)

    ours, expected = both(_P)
    for jacobian in ours:
        for a, b in zip(jax.tree.leaves(jacobian), jax.tree.leaves(expected)):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("fun", (_scan, _while))
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
