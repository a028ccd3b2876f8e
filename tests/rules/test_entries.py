"""Entries that are known to be zero are not listed, whatever stores the others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import cc_jacobian, filter_hessian
from jax import lax


CUMULATIVE = {
    "sum": lax.cumsum,
    "product": lax.cumprod,
    "maximum": lax.cummax,
    "minimum": lax.cummin,
    "logsumexp": lax.cumlogsumexp,
}


def draw(*shape: int, dtype: Any = np.float64):
    return jnp.asarray(np.random.default_rng(sum(shape)).random(shape) + 0.1, dtype)


def check(fun, x, positions=None):
    """Compares with JAX, and the entries with `positions`: those that are not zero at
    `x`, or that may be."""
    block = cc_jacobian(fun, structured=True)(x)
    expected = np.asarray(jax.jacfwd(fun)(x))
    tolerance = 1e-5 if expected.dtype == np.float32 else 1e-12
    for array in (block.materialise(), block.to_bcoo().todense()):
        np.testing.assert_allclose(array, expected, tolerance, tolerance)
    matrix = expected.reshape(expected.size // max(1, x.size), x.size)
    positions = matrix != 0 if positions is None else positions
    listed = np.zeros(matrix.shape, bool)
    listed[block.rows, block.cols] = True
    np.testing.assert_array_equal(listed, positions)
    return block


def _triangle(shape, axis: int, reverse: bool) -> np.ndarray:
    """Where the running sums of an array depend on its elements."""
    index = np.indices(shape).reshape(len(shape), -1)
    later, earlier = index[:, :, None], index[:, None, :]
    same = np.delete(later == earlier, axis, 0).all(0)
    before = earlier[axis] >= later[axis] if reverse else earlier[axis] <= later[axis]
    return same & before


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CUMULATIVE)
def test_triangles(name, reverse):
    for shape, axis in [((5,), 0), ((1,), 0), ((0,), 0), ((3, 4), 0), ((2, 3), 1)][
        :: 1 if name in ("sum", "product") else 2
    ]:
        fun = lambda x: CUMULATIVE[name](x, axis, reverse)  # noqa: E731
        check(fun, draw(*shape), _triangle(shape, axis, reverse))


@pytest.mark.parametrize("name", CUMULATIVE)
def test_triangles_in_single_precision_and_repeated(name):
    fun = lambda x: CUMULATIVE[name](x * x[::-1] + x)  # noqa: E731
    triangle = _triangle((6,), 0, reverse=False)
    check(fun, draw(6, dtype=np.float32), triangle | triangle[:, ::-1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["sum", "maximum", "minimum"])
def test_triangles_of_numbers_that_are_not_finite(name, value):
    check(CUMULATIVE[name], draw(4).at[1].set(value), _triangle((4,), 0, False))


KERNEL = draw(4, 3, 3)

FUNCTIONS = {
    "matrix times vector": lambda z: z[:6].reshape(2, 3) @ z[6:9],
    "matrix with itself": lambda z: z[:6].reshape(2, 3) @ z[:6].reshape(2, 3).T,
    "outer product": lambda z: jnp.outer(z[:2], z[2:5]),
    "differences": jax.grad(lambda z: jnp.sum((z[1:] - z[:-1]) ** 4)),
    "product over an axis": lambda z: jnp.prod(z.reshape(3, 4), axis=1),
    "product over two axes": lambda z: jnp.prod(z.reshape(2, 3, 2), axis=(0, 2)),
    "product of sums": lambda z: jnp.prod(z.reshape(2, 3, 2).sum(2), axis=1),
    "axes in another order": lambda z: (
        lax.reshape(z.reshape(3, 4), (2, 6), (1, 0)) ** 2
    ),
    "identity matrix": lambda z: jnp.eye(12) @ z,
    "matrix of ones below": lambda z: jnp.tril(jnp.ones((12, 12)), -7) @ z,
    "padding": lambda z: lax.pad(z[:3], z[3], [(1, 0, 1)]),
    "much padding": lambda z: lax.pad(z[:2], z[3], [(3, 2, 2)]),
    "groups of a batch": lambda z: lax.conv_general_dilated(
        z.reshape(4, 3, 1), KERNEL, (1,), "SAME", batch_group_count=2
    ),
    "number of Python": lambda z: lax.dot_general(2.0, z, (((), ()), ((), ()))),
    "known choice": lambda z: jnp.where(np.arange(12) % 5 > 0, z**2, z[0]),
    "kept entries": lambda z: z.at[np.array([1, 4, 6, 7, 11])].set(1.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_listed_entries_are_those_that_are_not_zero(name):
    check(FUNCTIONS[name], draw(12))


def _after(step):
    return lambda x: lax.scan(step, jnp.zeros(()), x)[1]


def test_slices_of_a_loop():
    """What iteration `t` returns depends on the inputs up to `t`."""
    triangle = _triangle((5,), 0, reverse=False)
    check(_after(lambda c, x: (c + x, c + jnp.sin(x))), draw(5), triangle)
    before = triangle & ~np.eye(5, dtype=bool)
    check(_after(lambda c, x: (c + x**2, c)), draw(5), before)
    step = lambda c, x: (c * x, c + x)  # noqa: E731
    backwards = lambda x: lax.scan(step, x[0], x, reverse=True)[1]  # noqa: E731
    expected = _triangle((5,), 0, reverse=True)
    expected[:, 0] = True
    check(backwards, draw(5), expected)
    carry = lambda x: lax.scan(lambda c, _: (c[::-1] * x, c), x, length=4)[0]  # noqa: E731
    block = cc_jacobian(carry, structured=True)(draw(3))
    assert block.to_bcoo().nse == 5
    none = lambda x: lax.scan(lambda c, y: (c * y, c), x[0], x[1:])[0]  # noqa: E731
    check(none, draw(1))


def test_long_loops_store_their_structure():
    fun = _after(lambda c, x: (c + x, c * x))
    block = cc_jacobian(fun, structured=True)(draw(600))
    assert block.entries is None
    np.testing.assert_allclose(block.todense(), jax.jacfwd(fun)(draw(600)), 1e-12)


@jax.jit
def _algebra(x):
    block = cc_jacobian(jnp.cumsum, structured=True)(x)
    other = cc_jacobian(lambda x: jnp.sin(x)[::-1], structured=True)(x)
    return block, [block.T, 2 * block, -block, block + other, block.T @ block]


def test_algebra_of_listed_entries():
    block, results = _algebra(draw(4))
    dense, other = np.tril(np.ones((4, 4))), np.diag(np.cos(draw(4)))[::-1]
    expected = [dense.T, 2 * dense, -dense, dense + other, dense.T @ dense]
    sizes = [result.to_bcoo().nse for result in results]
    assert (block.to_bcoo().nse, sizes) == (10, [10, 10, 10, 12, 16])
    for result, array in zip(results, expected):
        np.testing.assert_allclose(result.todense(), array, 1e-12)
        np.testing.assert_allclose(result.to_bcsr().todense(), array, 1e-12)
        values, rows, columns = result.to_coo()
        listed = np.zeros((4, 4))
        np.add.at(listed, (rows, columns), values)
        np.testing.assert_allclose(listed, array, 1e-12)
    assert hash(block.entries) == hash(results[1].entries)
    assert "10 entries" in repr(block.entries)


def test_batches_and_gradients_of_listed_entries():
    data = lambda x: cc_jacobian(jnp.cumprod, structured=True)(x).data  # noqa: E731
    batch = jax.vmap(data)(draw(3, 4))
    assert batch.shape == (3, 10)
    dense = jax.vmap(jax.jacfwd(jnp.cumprod))(draw(3, 4))
    np.testing.assert_allclose(batch, dense[:, *np.tril_indices(4)], 1e-12)
    slope = jax.grad(lambda x: data(x).sum())(draw(4))
    expected = jax.grad(lambda x: jax.jacfwd(jnp.cumprod)(x).sum())(draw(4))
    np.testing.assert_allclose(slope, expected, 1e-12)


def test_triangles_of_hessians_list_their_own():
    energy = lambda z: jnp.sum((z[1:] - z[:-1]) ** 4)  # noqa: E731
    for triangle, size in ((None, 13), ("lower", 9), ("upper", 9)):
        options: Any = {} if triangle is None else {"triangle": triangle}
        block = filter_hessian(energy, structured=True, **options)(draw(5))
        assert block.to_bcoo().nse == size
