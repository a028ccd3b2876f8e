"""Programs in which blocks of different structure add up."""

import eqx_cc
import jax
import jax.numpy as jnp
import pytest
from helpers import assert_jacobian_close
from jax import lax


def _spread(x):
    """`x` on every other of three elements."""
    return lax.pad(jnp.broadcast_to(x, (2,)), jnp.zeros(()), [(0, 0, 1)])


def _constant(x):
    return jnp.broadcast_to(jnp.sin(x), (3,))


SUMS = {
    "known, then valued": lambda x: _spread(x) + _constant(x),
    "valued, then known": lambda x: _constant(x) - _spread(x),
    "of an intermediate": lambda x: _constant(jnp.sin(x)) + _spread(jnp.sin(x)),
    "scaled": lambda x: 2 * _spread(x) + _constant(x),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_constant_on_some_elements_is_not_one_on_all(name):
    orders = "markowitz", "forward", "reverse"
    assert_jacobian_close(SUMS[name], jnp.array(0.7), orders)


def _shuffled(x):
    """Permutations that together are no affine one, and a diagonal."""
    y = jnp.sin(x)
    for rows in (4, 6):
        y = jnp.sin(y.reshape(rows, -1).T.reshape(-1))
    return y + x


def test_flattened_blocks_add_up():
    orders = "markowitz", "forward", "reverse"
    assert_jacobian_close(_shuffled, jnp.linspace(0.0, 1.0, 24), orders)


def test_blocks_are_scattered_by_what_they_store():
    """Dense blocks of flattened axes are reshaped; what is scattered, diagonals."""
    x = jnp.linspace(0.0, 1.0, 24)
    jaxpr = jax.make_jaxpr(eqx_cc.cc_jacobian(_shuffled))(x)
    scatters = [e for e in jaxpr.eqns if e.primitive.name == "scatter-add"]
    assert all(eqn.invars[2].aval.size <= 2 * 24 for eqn in scatters)
