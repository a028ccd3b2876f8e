"""Expansion of additions at known places, and of reductions of Booleans."""

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._jaxpr.program import flatten
from eqx_cc._scalarise.expand import NotScalar, scalarise
from jax import lax


MODES = "clip", "drop", "promise_in_bounds"


def _closed(fun, *arrays):
    closed = jax.make_jaxpr(fun)(*arrays)
    return flatten(closed.jaxpr, closed.consts), closed.in_avals, closed.out_avals


def _assert_expanded(fun, *arrays):
    """All equations are of scalars, and the Jacobian is that of JAX."""
    program, avals, outs = _closed(fun, *arrays)
    assert scalarise(program, avals, len(outs)).is_pure
    argnums = tuple(range(len(arrays)))
    ours = eqx_cc.cc_jacobian(fun, argnums, granularity="scalar")
    theirs = jax.jacfwd(fun, argnums)
    for one, other in zip(*jax.jit(lambda *xs: (ours(*xs), theirs(*xs)))(*arrays)):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


INDICES = {
    "repeated": [2, 0, 2],
    "negative": [-1, 1, -1],
    "out of bounds": [7, 1, -9],
    "none": np.zeros(0, int),
    "one": 2,
}


@pytest.mark.parametrize("mode", MODES[:2])
@pytest.mark.parametrize("name", INDICES)
def test_additions(name, mode):
    index = np.asarray(INDICES[name])

    def fun(x, y):
        return (x * x).at[index].add(jnp.sin(y), mode=mode)

    x, y = jnp.linspace(0.3, 1.0, 4), jnp.linspace(-1.0, 2.0, index.size)
    _assert_expanded(fun, x, y.reshape(index.shape))


@pytest.mark.parametrize("mode", MODES[:2])
@pytest.mark.parametrize("starts", [[[0, 0]], [[1, 2], [1, 2]], [[2, 3], [-1, 0]]])
def test_additions_of_windows(starts, mode):
    """Windows of two by two in three by four; the last ones do not fit."""
    numbers = lax.ScatterDimensionNumbers((1, 2), (), (0, 1))
    index = np.asarray(starts)

    def fun(x, y):
        return lax.scatter_add(x * x, index, jnp.sin(y), numbers, mode=mode)

    x = jnp.linspace(0.3, 1.0, 12).reshape(3, 4)
    y = jnp.linspace(-1.0, 2.0, 4 * len(starts)).reshape(-1, 2, 2)
    _assert_expanded(fun, x, y)


def test_additions_in_batches():
    """With `vmap` the batch is an axis of the operand, of the indices, or of both."""
    index = np.array([[0, 2], [1, 1], [3, 0]])
    x, y = jnp.linspace(0.3, 1.0, 12).reshape(3, 4), jnp.ones((3, 2))

    def added(x, i, y):
        return (x * x).at[i].add(jnp.exp(y))

    _assert_expanded(lambda x, y: jax.vmap(added)(x, index, y), x, y)
    _assert_expanded(lambda x, y: jax.vmap(added, (None, 0, 0))(x[0], index, y), x, y)


def test_infinities_are_added_to_their_place():
    """Other entries do not see them."""

    def fun(x):
        return jnp.zeros(3).at[np.array([0, 2, 0])].add(jnp.sqrt(x))

    x = jnp.array([1.0, 0.0, 4.0])
    ours = jax.jit(eqx_cc.cc_jacobian(fun, granularity="scalar"))(x)
    np.testing.assert_array_equal(ours, [[0.5, 0, 0.25], [0, 0, 0], [0, np.inf, 0]])


def test_indices_that_are_traced_have_no_rule():
    program, avals, _ = _closed(
        lambda x, i: x.at[i].add(1.0), jnp.ones(3), jnp.array([0, 1])
    )
    assert not scalarise(program, avals, 1).is_pure


@pytest.mark.parametrize("axis", [0, 1, (0, 1), ()])
@pytest.mark.parametrize("reduction", [jnp.all, jnp.any])
def test_reductions_of_booleans(reduction, axis):
    def fun(x):
        chosen = reduction(x > 0.5, axis=axis)
        return jnp.where(chosen, jnp.sin(x), x * x)

    for shape in ((2, 2), (1, 1)):
        _assert_expanded(fun, jnp.linspace(0.2, 0.9, 4)[: shape[0] ** 2].reshape(shape))


@pytest.mark.parametrize("reduction", [lax.reduce_and, lax.reduce_or])
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_reductions_of_integers_stay(reduction, dtype):
    """Their result without entries is another one."""

    def fun(x):
        bits = lax.convert_element_type(x, dtype)
        return x * lax.convert_element_type(reduction(bits, [0]), x.dtype)

    x = jnp.array([3.0, 6.0])
    program, avals, _ = _closed(fun, x)
    assert not scalarise(program, avals, 1).is_pure
    np.testing.assert_array_equal(
        jax.jit(eqx_cc.cc_jacobian(fun))(x), jax.jit(jax.jacfwd(fun))(x)
    )


def test_equations_without_use_do_not_count():
    """Of the entries of a product, a sum reads half."""

    def fun(x):
        return jnp.sum(jnp.sin(x)[:10])

    program, avals, _ = _closed(fun, jnp.ones(16))
    used = len(scalarise(program, avals, 1).program.equations)
    assert len(scalarise(program, avals, 1, used).program.equations) == used
    with pytest.raises(NotScalar, match=f"more than {used - 1} scalar"):
        scalarise(program, avals, 1, used - 1)
