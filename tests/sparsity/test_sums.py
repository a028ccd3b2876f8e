"""Programs in which blocks of different structure add up."""

from typing import Any

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._blocks.add import run_sum
from eqx_cc._sparsity.containment import are_apart
from eqx_cc._sparsity.entries import join_within, positions
from eqx_cc._sparsity.positions.affine import Affine
from eqx_cc._sparsity.positions.table import tabulated
from eqx_cc._sparsity.sum import add_terms
from eqx_cc._sparsity.term import Term
from eqx_cc._sparsity.within import within
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
            joined = join_within([first, second], (12, 12), 144)
            assert joined is not None and joined.num_values > stored
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

    def counted(terms, shape, most):
        joined.append(len(terms))
        return join_within(terms, shape, most)

    monkeypatch.setattr("eqx_cc._sparsity.sum.join_within", counted)
    bands = [
        Term((Affine(0, ((0, 1),)),), (Affine(k, ((0, 1),)),), (999 - k,), (0,))
        for k in range(0, 40, 2)
    ]
    assert len(add_terms(bands, (999, 999)).terms) == len(bands)
    assert joined == [len(bands)]


def _elements(count):
    """Elements of three corners near each other, and weights for them."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, count - 8, 2 * count)
    third = first + rng.integers(2, 8, 2 * count)
    return np.stack([first, first + 1, third], 1), rng.random((2 * count, 1))


def _assembled(count):
    """Forces on the corners, which depend on their mean, added up at each node."""
    corners, weights = _elements(count)

    def forces(u):
        at = u[corners]
        away = at - at.mean(1, keepdims=True)
        force = jnp.tanh(away * weights) * jnp.sum(away**2, 1, keepdims=True)
        return jnp.zeros_like(u).at[corners].add(force)

    return forces


def test_what_is_summed_is_summed_before_it_is_scattered():
    """Of the mean of three corners, each entry of the block of an element would go to
    all three: 72,000 numbers for 1,000 nodes, where 36,000 do."""
    count = 50
    jaxpr = jax.make_jaxpr(eqx_cc.cc_jacobian(_assembled(count), structured=True))(
        jnp.linspace(0.1, 1.0, count)
    )
    scatters: list[Any] = [e for e in jaxpr.eqns if e.primitive.name == "scatter-add"]
    entries = 2 * count * 3 * 3
    assert sum(eqn.invars[2].aval.size for eqn in scatters) < 3 * entries


@pytest.mark.parametrize("count", [9, 30])
def test_assembled_means_are_exact(count):
    x = jnp.linspace(0.1, 1.0, count)
    assert_jacobian_close(_assembled(count), x, ("auto", "forward", "reverse"))


def _block_of_a_mesh(order):
    """`out (t[e, a],) inp (e, b)`: each entry once, in any order."""
    table = tabulated(np.asarray(order).reshape(2, 3), (0, 1))
    flat = Affine(0, ((0, 2), (2, 1)))
    return Term((table,), (flat,), (2, 3, 2), (0, 1, 2))


@pytest.mark.parametrize("order", [[0, 2, 5, 1, 3, 4], [5, 0, 1, 4, 2, 3]])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_term_that_has_all_entries_keeps_its_indices(order, is_first):
    """Positions in it are right, in whatever order it has its entries."""
    mesh = _block_of_a_mesh(order)
    part, _ = within(mesh, (6, 4), np.sort(positions(mesh, (6, 4)))[::2])[0]
    terms = [mesh, part] if is_first else [part, mesh]
    (group,) = add_terms(terms, (6, 4)).groups
    assert group.target.structure == mesh.structure
    values = [np.arange(1.0, 1 + t.num_values).reshape(t.value_shape) for t in terms]
    (total,) = run_sum(add_terms(terms, (6, 4)), tuple(values), np.dtype(float))
    expected, dense = np.zeros(24), np.zeros(24)
    for term, value in zip(terms, values):
        np.add.at(expected, positions(term, (6, 4)), value.ravel())
    np.add.at(dense, positions(group.target, (6, 4)), np.ravel(total))
    np.testing.assert_array_equal(dense, expected)


def test_a_term_with_an_entry_twice_does_not_hold_the_sum():
    """It has as many values as there are entries, but not all of these."""
    twice = Term((tabulated(np.array([0, 1, 1, 4]), (0,)),), (Affine(0),), (4,), (0,))
    other = Term((tabulated(np.array([0, 1, 3, 4]), (0,)),), (Affine(0),), (4,), (0,))
    for terms in ([twice, other], [other, twice]):
        (group,) = add_terms(terms, (9, 1)).groups
        assert group.target.structure == other.structure


TRIANGLES = np.random.default_rng(0).integers(0, 30, (60, 3))
STIFFNESS = np.random.default_rng(1).normal(size=(60, 3, 3))
MASSES = np.linspace(1.0, 2.0, 30)


def _diffusion(u, dtype=None):
    matrices = jnp.asarray(STIFFNESS, dtype or u.dtype)
    flow = jnp.einsum("tij,tj->ti", matrices, u[TRIANGLES])
    outflow = jnp.zeros_like(u, dtype).at[TRIANGLES].add(flow)
    return u - u**3 - outflow / jnp.asarray(MASSES, u.dtype)


def _scattered(closed) -> int:
    """The entries that a jaxpr scatters."""
    scatters = [e for e in closed.jaxpr.eqns if e.primitive.name == "scatter-add"]
    return sum(e.invars[2].aval.size for e in scatters)


@pytest.mark.parametrize("transform", ["jit", "vmap", "loop"])
def test_constant_part_of_a_sum(transform):
    def dense(u):
        return eqx_cc.filter_jacobian(_diffusion, structured=True)(u).todense()

    def run(fun):
        if transform == "vmap":
            return lambda u: jax.jit(jax.vmap(fun))(jnp.stack([u, 2 * u]))
        if transform == "loop":
            return lambda u: lax.map(fun, jnp.stack([u, 2 * u]))
        return jax.jit(fun)

    u = jnp.linspace(-1.0, 1.0, 30)
    expected = run(jax.jacfwd(_diffusion))(u)
    np.testing.assert_allclose(run(dense)(u), expected, atol=1e-12)


def test_constant_part_is_added_up_while_tracing():
    def data(u):
        return eqx_cc.filter_jacobian(_diffusion, structured=True)(u).data

    u = jnp.linspace(-1.0, 1.0, 30)
    of_the_value, of_the_diagonal = TRIANGLES.size, u.size
    scattered = _scattered(jax.make_jaxpr(data)(u))
    assert scattered == of_the_value + of_the_diagonal
    eager = eqx_cc.filter_jacobian(_diffusion, structured=True)(u)
    np.testing.assert_allclose(jax.jit(data)(u), eager.data, rtol=1e-12)


@jax.numpy_dtype_promotion("standard")
def test_constant_part_of_another_type():
    u = jnp.linspace(-1.0, 1.0, 30, dtype="float32")
    fun = lambda u: _diffusion(u, "float64")  # noqa: E731
    block = jax.jit(eqx_cc.filter_jacobian(fun, structured=True))(u)
    expected = jax.jacfwd(fun)(u)
    assert block.dtype == expected.dtype
    np.testing.assert_allclose(block.todense(), expected, rtol=1e-5, atol=1e-6)
