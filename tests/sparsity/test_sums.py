"""Programs in which blocks of different structure add up."""

from typing import Any

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._sparsity.containment import are_apart
from eqx_cc._sparsity.entries import join
from eqx_cc._sparsity.positions.affine import Affine
from eqx_cc._sparsity.sum import add_terms
from eqx_cc._sparsity.term import Term
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
    scatters: list[Any] = [e for e in jaxpr.eqns if e.primitive.name == "scatter-add"]
    assert all(eqn.invars[2].aval.size <= 2 * 24 for eqn in scatters)


def test_terms_that_are_apart_are_smaller_than_what_contains_both():
    rng, num_apart = np.random.default_rng(0), 0
    for _ in range(500):
        first, second = (_random_term(rng) for _ in range(2))
        if are_apart(first, second):
            num_apart += 1
            stored = first.num_values + second.num_values
            assert join([first, second], (12, 12)).num_values > stored
    assert num_apart > 50


def _random_term(rng) -> Term:
    """A point, a row, a column, a band or a window of a matrix of 12 rows."""
    indices = rng.integers(0, 3)
    forms = [Affine(0), Affine(0)]
    sizes = tuple(int(n) for n in rng.integers(2, 4, indices))
    for axis in range(2):
        strides = ()
        if indices and (rng.random() < 0.8 or indices == 2):
            index = axis if indices == 2 else 0
            strides = ((index, int(rng.integers(1, 3))),)
        forms[axis] = Affine(int(rng.integers(0, 6)), strides)
    used = {i for form in forms for i in form.indices}
    if len(used) < indices:
        return _random_term(rng)
    value = tuple(range(indices)) if rng.random() < 0.8 else None
    return Term((forms[0],), (forms[1],), sizes, value)


def test_many_bands_are_not_joined_one_by_one(monkeypatch):
    joined = []

    def counted(terms, shape):
        joined.append(len(terms))
        return join(terms, shape)

    monkeypatch.setattr("eqx_cc._sparsity.sum.join", counted)
    bands = [
        Term((Affine(0, ((0, 1),)),), (Affine(k, ((0, 1),)),), (999 - k,), (0,))
        for k in range(0, 40, 2)
    ]
    assert len(add_terms(bands, (999, 999)).terms) == len(bands)
    assert joined == [len(bands)]
