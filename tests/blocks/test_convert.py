"""Blocks as the sparse matrices and operators of other libraries."""

import builtins
import functools as ft
from typing import Any

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import cc_jacobian
from eqx_cc._blocks.spy import raster
from jax import lax
from scipy import optimize


X = jnp.linspace(0.5, 1.5, 6)


def _wave(x):
    return lax.complex(jnp.cos(x), jnp.sin(x))


_MESH = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 0], [5, 4, 3]])


def _assembled(x):
    """Finite elements: what three corners have in common, added up at each of them."""
    corners = x[_MESH]
    forces = corners * jnp.prod(corners, 1, keepdims=True)
    return jnp.zeros_like(x).at[_MESH].add(forces)


FUNCTIONS = {
    "diagonal": (jnp.sin, X),
    "identity": (lambda x: x, X),
    "reversed": (lambda x: x[::-1] * 2, X),
    "stencil": (lambda x: jnp.roll(x, 1) * x - x, X),
    "shared positions": (lambda x: jnp.sin(x) + jnp.cos(x)[::-1], X[:5]),
    "low rank": (lambda x: -(x**3) + jnp.mean(x) * jnp.cos(x), X),
    "rank alone": (lambda x: jnp.mean(x) * jnp.arange(1.0, 5.0), X),
    "two axes": (lambda x: jnp.outer(x, x)[:, :2], X),
    "from two axes": (lambda x: x.T[1:] * 2, X.reshape(2, 3)),
    "mesh": (_assembled, X),
    "scalar": (lambda x: jnp.sum(x**2), X),
    "no axes": (lambda x: x**3, X[0]),
    "from no axes": (lambda x: x * jnp.arange(3.0), X[0]),
    "empty": (lambda x: x**3, X[:0]),
    "from empty": (lambda x: jnp.sum(x) * jnp.ones(2), X[:0]),
    "to empty": (lambda x: x[:0] * 2, X),
    "mask": (lambda x: jnp.where(x > 1, x**2, 0.0), X),
    "zero": (lambda x: jnp.ones(2), X),
    "dense": (lambda x: jnp.sin(jnp.outer(x, x + 1) @ x), X),
    "complex": (lambda x: _wave(x) * lax.complex(jnp.mean(x), jnp.sum(x)), X),
    "float32": (lambda x: jnp.roll(x, 1) * x, X.astype(jnp.float32)),
    "integers": (lambda x: jnp.arange(2), X),
}


@ft.cache
def _both(name):
    """The structured block and the dense one, compiled together."""
    fun, x = FUNCTIONS[name]
    both = lambda x: (cc_jacobian(fun, structured=True)(x), jax.jacfwd(fun)(x))  # noqa: E731
    with jax.numpy_dtype_promotion("standard"):
        block, dense = jax.jit(both)(x)
    return block, np.asarray(dense)


def _assert_close(actual, expected):
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    precision = 1e-6 if expected.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(actual, expected, rtol=precision, atol=precision)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_entries_are_sorted_and_unique(name):
    block, dense = _both(name)
    shape = np.prod(block.out_shape, dtype=int), np.prod(block.in_shape, dtype=int)
    matrix = np.zeros(shape, dense.dtype)
    data, rows, columns = block.data, block.rows, block.cols
    assert isinstance(rows, np.ndarray) and isinstance(columns, np.ndarray)
    matrix[rows, columns] = data
    _assert_close(matrix, dense.reshape(shape))
    flat = rows * shape[1] + columns
    assert np.all(np.diff(flat) > 0)
    sparse = block.to_bcoo()
    _assert_close(sparse.todense(), dense)
    positions = [tuple(index) for index in np.asarray(sparse.indices)]
    assert positions == sorted(set(positions))
    assert sparse.indices_sorted and sparse.unique_indices and sparse.nse == len(data)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compressed_rows(name):
    block, dense = _both(name)
    shape = np.prod(block.out_shape, dtype=int), np.prod(block.in_shape, dtype=int)
    matrix = dense.reshape(shape)
    compressed, theirs = block.to_bcsr(), block.to_scipy()
    assert compressed.nse == theirs.nnz == len(block.data)
    assert compressed.unique_indices and compressed.indices_sorted
    _assert_close(compressed.todense(), matrix)
    _assert_close(theirs.toarray(), matrix)
    assert theirs.has_canonical_format
    traced = jax.jit(lambda block: block.to_bcsr())(block)
    _assert_close(traced.todense(), matrix)


def test_half_floats_are_float32_in_scipy():
    block = cc_jacobian(jnp.sin, structured=True)(X.astype(jnp.bfloat16))
    assert block.dtype == jnp.bfloat16 and block.to_scipy().dtype == np.float32


@pytest.mark.parametrize(
    "method", ["Newton-CG", "trust-constr", "trust-ncg", "trust-krylov"]
)
def test_optimisers_of_scipy(method):
    """All methods take products with the matrix, and two of them the matrix."""
    energy = lambda u: jnp.sum((u[1:] - u[:-1]) ** 4) + jnp.sum(jnp.cos(u))  # noqa: E731
    gradient = jax.jit(jax.value_and_grad(energy))
    hessian = jax.jit(eqx_cc.filter_hessian(energy, structured=True))
    matrix = lambda u: hessian(jnp.asarray(u)).to_scipy()  # noqa: E731
    options: list[dict[str, Any]] = [{"hessp": lambda u, p: matrix(u) @ p}]
    if method in ("Newton-CG", "trust-constr"):
        options.append({"hess": matrix})
    for hess in options:
        start = np.linspace(2.5, 3.0, 6)
        result = optimize.minimize(gradient, start, jac=True, method=method, **hess)
        np.testing.assert_allclose(result.x, np.pi, rtol=1e-3)


def test_scipy_needs_numbers():
    block, _ = _both("stencil")
    with pytest.raises(ValueError, match="`to_scipy` needs the numbers.*`to_bcsr`"):
        jax.jit(lambda block: block.to_scipy().nnz)(block)


def test_indices_of_32_bits():
    block = jax.eval_shape(cc_jacobian(lambda x: x[:2], structured=True), X)
    pattern = eqx_cc.Pattern((2,), (2**31,), block.pattern.terms)
    with pytest.raises(ValueError, match="indices of 32 bits.*`to_bcoo`"):
        eqx_cc.Partial(pattern, (None,), block.dtype).to_bcsr()


def test_positions_are_static():
    """They are known of traced blocks, of abstract ones, and of batches."""
    fun, x = FUNCTIONS["stencil"]
    jacobian = cc_jacobian(fun, structured=True)
    block = jacobian(x)

    @jax.jit
    def run(x):
        block = jacobian(x)
        assert isinstance(block.rows, np.ndarray)
        return block.data

    _assert_close(run(x), np.asarray(block.data))
    abstract = jax.eval_shape(jacobian, x)
    batch = jax.vmap(jacobian)(jnp.stack([x, x + 1]))
    for other in (abstract, batch):
        np.testing.assert_array_equal(other.rows, block.rows)
        np.testing.assert_array_equal(other.cols, block.cols)
    with pytest.raises(ValueError, match="read-only"):
        block.rows[0] = 1


@pytest.mark.parametrize(
    "convert",
    [
        lambda b: b.data,
        lambda b: b.to_coo(),
        lambda b: b.to_bcoo(),
        lambda b: b.to_bcsr(),
        lambda b: b.to_scipy(),
        lambda b: b.as_operator(),
        lambda b: b / 2,
    ],
)
@pytest.mark.parametrize("name", ["stencil", "low rank", "rank alone"])
def test_a_batch_is_refused(convert, name):
    fun, x = FUNCTIONS[name]
    blocks = jax.vmap(cc_jacobian(fun, structured=True))(jnp.stack([x, x + 1]))
    if name == "rank alone" and jax.tree.leaves(blocks) == []:
        pytest.skip("nothing is stored: all blocks of the batch are one.")
    with pytest.raises(ValueError, match="batch of blocks"):
        convert(blocks)


#
# Arithmetic
#


@pytest.mark.parametrize("name", FUNCTIONS)
def test_quotients_and_sums_of_lists(name):
    block, dense = _both(name)
    quotient = block / 4
    assert isinstance(quotient, eqx_cc.Partial)
    expected = jnp.asarray(dense) / 4
    _assert_close(np.asarray(quotient), np.asarray(expected))
    total = sum([block, block, block])
    assert isinstance(total, eqx_cc.Partial)
    _assert_close(np.asarray(total), 3 * dense)
    assert sum([block]) is block


def test_quotients_are_rounded_once():
    block, dense = _both("diagonal")
    np.testing.assert_array_equal((block / 3.7).todense(), dense / 3.7)
    number = jnp.asarray(1.0 + 2.0j)
    divided = block.T / number.real + block
    _assert_close(np.asarray(divided), 2 * dense)
    with jax.numpy_dtype_promotion("standard"):
        _assert_close(np.asarray(block / number), dense / (1 + 2j))


@pytest.mark.parametrize(
    "operation",
    [
        lambda b: b / jnp.ones(6),
        lambda b: 1 / b,
        lambda b: b / b,
        lambda b: 1 + b,
        lambda b: 0.0 + b,
    ],
)
def test_what_has_no_meaning(operation):
    with pytest.raises(TypeError, match="unsupported|divide"):
        operation(_both("diagonal")[0])


#
# PyTrees
#


@pytest.mark.parametrize("name", ["stencil", "low rank", "complex"])
def test_through_transformations(name):
    fun, x = FUNCTIONS[name]
    with jax.numpy_dtype_promotion("standard"):
        jacobian = cc_jacobian(fun, structured=True)
        block = 1 * jacobian(x)

        @jax.jit
        def run(block, x):
            doubled = lax.cond(x[0] > 0, lambda b: 2 * b, lambda b: 1 * b, block)
            carried, data = lax.scan(
                lambda b, s: (b / s, b.data), doubled, jnp.array([2.0, 1.0])
            )
            batch = jax.vmap(lambda x: 1 * jacobian(x))(jnp.stack([x, x]))
            return carried, data, jax.vmap(lambda b: b.data)(batch)

        carried, data, batch = run(block, x)
        _assert_close(carried.todense(), np.asarray(block.todense()))
    _assert_close(data, np.stack([2 * block.data, block.data]))
    _assert_close(batch, np.stack([block.data, block.data]))


def test_gradient_through_entries():
    fun, x = FUNCTIONS["stencil"]
    jacobian = cc_jacobian(fun, structured=True)
    actual = jax.grad(lambda x: jnp.sum(jnp.sin(jacobian(x).data)))(x)
    expected = jax.grad(lambda x: jnp.sum(jnp.sin(jax.jacfwd(fun)(x))))(x)
    _assert_close(actual, expected)


#
# Pictures
#


@pytest.mark.parametrize("name", FUNCTIONS)
def test_pictures(name):
    pytest.importorskip("matplotlib")
    block, _ = _both(name)
    axes = block.spy()
    [image] = axes.images
    shape = [max(1, np.prod(s, dtype=int)) for s in (block.out_shape, block.in_shape)]
    picture = np.zeros(shape, bool)
    picture[block.rows, block.cols] = True
    np.testing.assert_array_equal(np.asarray(image.get_array()), picture)
    assert block.spy(axes) is axes and len(axes.images) == 2


def test_pictures_of_large_blocks():
    """An entry is a dot of the square that it is in."""
    block = jax.eval_shape(
        cc_jacobian(lambda x: x[::-1] * x, structured=True), jnp.ones(4001)
    )
    picture = raster(block.pattern)
    assert picture.shape == (400, 400)
    assert np.all(picture.diagonal()) and np.all(picture[::-1].diagonal())
    assert np.count_nonzero(picture) < 2000


def test_pictures_of_traced_blocks():
    pytest.importorskip("matplotlib")
    fun, x = FUNCTIONS["stencil"]
    jacobian = cc_jacobian(fun, structured=True)
    jax.jit(lambda x: (jacobian(x).spy(), jacobian(x).data)[1])(x)


def test_pictures_need_matplotlib(monkeypatch):
    imported = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"needs matplotlib.*eqx_cc\[plot\]"):
        _both("diagonal")[0].spy()


def test_long_names():
    """The name of an irregular structure is as short as any."""
    fun = lambda x: sum(jnp.roll(x, k * k) * x for k in range(1, 5))  # noqa: E731
    block = jax.eval_shape(cc_jacobian(fun, structured=True), jnp.ones(40))
    assert repr(block) == f"Partial(f64[40,40], sparse, {block.num_values} stored)"
    assert "\n" not in repr(block)
