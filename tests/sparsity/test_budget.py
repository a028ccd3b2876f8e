"""Functions whose blocks have more and more terms: symbolic work has a budget.

It is counted, in terms that meet in products and in blocks that are joined: time would
depend on the machine.
"""

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._orders.budget import Budget, BudgetExceeded, limited, optional
from eqx_cc._sparsity import pattern
from eqx_cc._sparsity.entries import join_within
from eqx_cc._sparsity.positions.affine import Affine, single
from eqx_cc._sparsity.positions.table import distinct
from eqx_cc._sparsity.sum import add_terms
from eqx_cc._sparsity.term import Term
from helpers import assert_jacobian_close
from jax import lax


def _repeated(step, steps):
    def function(x):
        for k in range(steps):
            x = step(x, k)
        return x

    return function


def _shuffled(y, k):
    return jnp.concatenate([y[::2], y[1::2]]) * y + jnp.roll(y, 1)


def _cut(y, k):
    middle = 3 * k % (len(y) - 1) + 1
    return jnp.concatenate([y[middle:], y[:middle]]) * y[::-1] + jnp.sin(y)


def _padded(y, k):
    return y + jnp.pad(y[1:], (0, 1)) * jnp.pad(y[:-2], (2, 0))


def _square(y, step):
    """A step of the largest square of a vector."""
    side = int(np.sqrt(len(y)))
    square = step(y[: side * side].reshape(side, side))
    return jnp.concatenate([square.reshape(-1), y[side * side :]])


def _looped(y, k):
    return lax.fori_loop(0, 2, lambda _, y: y * jnp.flip(y) + jnp.roll(y, 2), y)


STEPS = {
    "flip": lambda y, k: y * jnp.flip(y) + jnp.roll(y, k % 5),
    "roll": lambda y, k: jnp.sin(y) + jnp.roll(y, k % 7) * jnp.roll(y, -(k % 3)),
    "strides": _shuffled,
    "concatenate": _cut,
    "pad": _padded,
    "transpose": lambda y, k: _square(y, lambda u: u * u.T + jnp.flip(u, 0)),
    "stencil": lambda y, k: y + (jnp.roll(y, 1) - 2 * y + jnp.roll(y, -1)) * y,
    "loop": _looped,
}


@pytest.mark.parametrize("size", [10, 300])
@pytest.mark.parametrize("name", STEPS)
def test_many_steps(name, size, monkeypatch):
    """Before there was a budget, 20 steps took up to 90,000 pairs and 25,000 joins."""
    counts = {"pairs": 0, "terms": 0, "joins": 0}
    products = pattern._products

    def counted_products(left, right):
        counts["pairs"] += len(left.terms) * len(right.terms)
        return products(left, right)

    def counted_sum(terms, shape):
        total = add_terms(terms, shape)
        counts["terms"] = max(counts["terms"], len(total.terms))
        return total

    def counted_join(terms, shape, most):
        counts["joins"] += 1
        return join_within(terms, shape, most)

    monkeypatch.setattr(pattern, "_products", counted_products)
    monkeypatch.setattr(pattern, "add_terms", counted_sum)
    monkeypatch.setattr("eqx_cc._sparsity.sum.join_within", counted_join)
    fun = _repeated(STEPS[name], 20)
    jacobian = eqx_cc.filter_jacobian(fun, structured=True)
    block = jax.eval_shape(jacobian, jax.ShapeDtypeStruct((size,), float))
    assert block.pattern.num_values <= size**2
    assert counts["terms"] <= 24
    assert counts["pairs"] <= 4_000
    assert counts["joins"] <= 4_000


@pytest.mark.parametrize("name", STEPS)
def test_they_are_exact(name):
    x = jnp.linspace(0.4, 1.1, 30)
    assert_jacobian_close(_repeated(STEPS[name], 4), x, ("auto", "forward", "reverse"))


@pytest.mark.parametrize("count", [8, 9, 16, 17, 40])
@pytest.mark.parametrize("size", [5, 41, 90, 1000])
def test_many_bands_store_no_more_than_their_entries(size, count):
    bands = [
        Term((single(0),), (Affine(k, ((0, 1),)),), (size,), (0,)) for k in range(count)
    ]
    total = add_terms(bands, (size, size + 40))
    assert sum(term.num_values for term in total.terms) <= max(
        size * count, size * (size + 40)
    )
    if 8 < count and 4 * size <= count**2:
        assert len(total.terms) == 1
    if count <= 8 and size > 41:
        assert len(total.terms) == count


@pytest.mark.parametrize(
    "positions", [[], [3], [0, 0], [2, 1, 2], [[4, 0], [0, 9]], [-1, -1, 0]]
)
def test_distinct(positions):
    positions = np.array(positions, np.int64)
    np.testing.assert_array_equal(distinct(positions), np.unique(positions))


def test_an_order_of_several_may_be_left_out():
    with optional():
        Budget().spend(1 << 30)
        raise AssertionError("not reached")
    with limited(1.0), optional():
        Budget().spend(2)
        raise AssertionError("not reached")
    with pytest.raises(BudgetExceeded), limited(1.0):
        Budget().spend(2)


def test_a_greedy_order_that_takes_too_much_leaves_the_sweeps():
    """A scan by a tree: the Markowitz order exceeds the budget, the forward one is
    faster than a sweep of JAX."""

    def scanned(x):
        def joined(a, b):
            return a[0] * b[0], b[0] * a[1] + b[1]

        return lax.associative_scan(joined, (jnp.sin(x), x))[1]

    report = eqx_cc.explain(scanned, jnp.linspace(0.1, 1.0, 64))
    assert "elimination of arrays" in report.way
    assert report.found_by == "Forward"
