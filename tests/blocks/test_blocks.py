"""Blocks as matrices: products, sums, transposes, and what they are shown as."""

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import cc_jacobian
from jax import lax


X = jnp.linspace(0.5, 1.5, 6)


def _wave(x):
    return lax.complex(jnp.cos(x), jnp.sin(x))


FUNCTIONS = {
    "diagonal": jnp.sin,
    "identity": lambda x: x,
    "stencil": lambda x: jnp.roll(x, 1) * x - x,
    "low rank": lambda x: -(x**3) + jnp.mean(x) * jnp.cos(x),
    "two axes": lambda x: jnp.outer(x, x)[:, :2],
    "scalar": lambda x: jnp.sum(x**2),
    "mask": lambda x: jnp.where(x > 1, x**2, 0.0),
    "reversed": lambda x: x[::-1][:4] * 2,
    "zero": lambda x: jnp.ones(2),
    "dense": lambda x: jnp.sin(jnp.outer(x, x + 1) @ x),
    "complex": lambda x: _wave(x) * lax.complex(jnp.mean(x), jnp.sum(x)),
    "complex within": lambda x: jnp.abs(_wave(x) * lax.complex(x, x * x)),
}


def _draw(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape))


def _assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_products(name):
    """With vectors and matrices, from both sides, real and complex."""
    fun = FUNCTIONS[name]

    @jax.jit
    @jax.numpy_dtype_promotion("standard")
    def run(x):
        block, dense = cc_jacobian(fun, structured=True)(x), jax.jacfwd(fun)(x)
        axes = dense.ndim - 1
        rows, columns = _draw(*dense.shape[:-1]), _draw(6)
        many, wide = _draw(3, *dense.shape[:-1]), _draw(6, 2)
        transposed = jnp.moveaxis(dense, -1, 0)
        actual = [block @ columns, block @ wide, rows @ block, many @ block]
        expected = [jnp.tensordot(dense, v, 1) for v in (columns, wide)]
        expected += [jnp.tensordot(v, dense, axes) for v in (rows, many)]
        actual += [block.T.todense(), block.T.T.todense()]
        expected += [transposed, dense]
        square = block.T @ block
        actual += [square.todense(), block.T @ rows]
        expected += [jnp.tensordot(transposed, v, axes) for v in (dense, rows)]
        return actual, expected

    for actual, expected in zip(*run(X), strict=True):
        assert actual.dtype == expected.dtype
        _assert_close(actual, expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_with_complex_vectors(name):
    fun, vector = FUNCTIONS[name], lax.complex(_draw(6), _draw(6)[::-1])
    block = cc_jacobian(fun, structured=True)(X)
    actual = block @ vector
    assert actual.dtype == jnp.complex128
    _assert_close(actual, np.asarray(jax.jacfwd(fun)(X)) @ np.asarray(vector))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sums_and_multiples(name):
    block, dense = cc_jacobian(FUNCTIONS[name], structured=True)(X), None
    dense = np.asarray(jax.jacfwd(FUNCTIONS[name])(X))
    for actual, factor in (
        (block + block, 2),
        (3 * block - block, 2),
        (-block, -1),
        (block * 0.5, 0.5),
        (block * 0, 0),
    ):
        assert isinstance(actual, eqx_cc.Partial) and actual.dtype == block.dtype
        _assert_close(actual.todense(), factor * dense)
    if name != "complex":
        number = jnp.asarray(2.5)
        _assert_close((number * block).todense(), 2.5 * dense)
        _assert_close((np.float64(2.5) * block).todense(), 2.5 * dense)


def test_structure_is_kept():
    diagonal = cc_jacobian(jnp.sin, structured=True)(X)
    shift = cc_jacobian(lambda x: jnp.roll(x, 1) * x, structured=True)(X)
    low = cc_jacobian(FUNCTIONS["low rank"], structured=True)(X)
    assert diagonal.T.structure == (2 * diagonal).structure == "diagonal"
    assert (diagonal @ diagonal).structure == "diagonal"
    assert (diagonal + shift).num_values == 3 * X.size - X.size
    assert low.T.rank == (low @ diagonal).rank == (diagonal @ low).rank == 1
    assert (low + low).rank == 2
    assert not low.T.pattern.is_zero


def test_what_is_infinite_stays_where_it_is():
    """A mask that keeps an infinite partial out does so in products."""
    x = jnp.array([0.0, 4.0])
    block = cc_jacobian(
        lambda x: jnp.where(x > 1, jnp.sqrt(x), 0.0), order="forward", structured=True
    )(x)
    expected = jnp.array([[0.0, 0.0], [0.0, 0.25]])
    for actual in (block, block.T, 1 * block, block + block * 0):
        np.testing.assert_array_equal(actual.todense(), expected)
    np.testing.assert_array_equal(block @ jnp.ones(2), expected.sum(1))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_arrays(name):
    fun = FUNCTIONS[name]
    block, dense = cc_jacobian(fun, structured=True)(X), np.asarray(jax.jacfwd(fun)(X))
    array = np.asarray(block)
    assert array.shape == dense.shape and array.dtype == dense.dtype
    _assert_close(array, dense)
    assert np.asarray(block, np.complex64).dtype == np.complex64
    sparse = block.to_bcoo()
    _assert_close(sparse.todense(), dense)
    positions = [tuple(index) for index in np.asarray(sparse.indices)]
    assert positions == sorted(set(positions))
    assert sparse.indices_sorted and sparse.unique_indices


def test_entries_that_occur_twice_are_one_in_bcoo():
    jacobian = cc_jacobian(lambda x: jnp.sin(x) + jnp.cos(x)[::-1], structured=True)
    block = jacobian(jnp.linspace(0.5, 1.5, 7))
    values, rows, columns = block.to_coo()
    assert len(set(zip(rows, columns))) < len(values)
    sparse = block.to_bcoo()
    assert sparse.nse == len(set(zip(rows, columns)))


def test_under_transformations():
    """Blocks go in and out of `jit`, `vmap` and `scan`."""
    fun = FUNCTIONS["low rank"]
    jacobian = cc_jacobian(fun, structured=True)
    xs, vs = jnp.stack([X, X + 1]), _draw(2, 6)
    expected = jax.vmap(lambda x, v: jax.jacfwd(fun)(x) @ v)(xs, vs)
    blocks = jax.jit(jax.vmap(jacobian))(xs)
    apply = jax.vmap(lambda block, v: block @ v)
    _assert_close(jax.jit(apply)(blocks, vs), expected)
    scanned = lax.scan(lambda c, x: (c, 2 * jacobian(x)), 0.0, xs)[1]
    _assert_close(apply(scanned, vs), 2 * expected)
    carried, _ = lax.scan(lambda b, v: (2 * b, b @ v), 1 * jacobian(X), vs)
    _assert_close(carried.todense(), 4 * jax.jacfwd(fun)(X))
    for operation in (lambda b: b @ X, lambda b: b + b, lambda b: 2 * b, lambda b: b.T):
        with pytest.raises(ValueError, match="batch of blocks"):
            operation(blocks)


def _row():
    return cc_jacobian(jnp.sum, structured=True)(X)


@pytest.mark.parametrize(
    "operation, error, match",
    [
        (lambda b: b @ jnp.ones(5), ValueError, r"shape \(6,\) of its input"),
        (lambda b: jnp.ones(5) @ b, ValueError, r"shape \(6,\) of its output"),
        (
            lambda b: b @ cc_jacobian(jnp.sum, structured=True)(X),
            ValueError,
            "input of",
        ),
        (
            lambda b: b + cc_jacobian(jnp.sum, structured=True)(X),
            ValueError,
            "the same",
        ),
        (lambda b: b + jnp.ones((6, 6)), TypeError, "unsupported"),
        (lambda b: b * jnp.ones(6), TypeError, "unsupported|multiply"),
        (lambda b: b @ "x", TypeError, "unsupported"),
        (lambda b: "x" @ b, TypeError, "unsupported"),
    ],
)
def test_what_does_not_fit(operation, error, match):
    with pytest.raises(error, match=match):
        operation(cc_jacobian(jnp.sin, structured=True)(X))


def test_what_is_shown():
    def shown(name):
        return repr(cc_jacobian(FUNCTIONS[name], structured=True)(X))

    assert shown("diagonal") == "Partial(f64[6,6], diagonal, 6 stored)"
    assert shown("identity") == "Partial(f64[6,6], identity, 0 stored)"
    assert shown("complex").startswith("Partial(c128[6,6], ")
    assert shown("low rank") == "Partial(f64[6,6], diagonal + rank 1, 12 stored)"
    many = lambda x: sum(jnp.roll(x, k * k) * x for k in range(1, 5))  # noqa: E731
    block = jax.eval_shape(cc_jacobian(many, structured=True), jnp.ones(40))
    assert repr(block) == f"Partial(f64[40,40], sparse, {block.num_values} stored)"
    assert len(repr(block)) < 100
    leaves, tree = jax.tree.flatten(block)
    repr(jax.tree.unflatten(tree, [object() for _ in leaves]))
