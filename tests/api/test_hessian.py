"""Hessians by their structure, by triangles, and with values and gradients."""

import equinox as eqx
import eqx_cc
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import jax.tree_util as jtu
import numpy as np
import pytest
from eqx_cc import (
    filter_hessian,
    filter_jacobian,
    filter_value_and_jacobian,
    filter_value_grad_and_hessian,
    Partial,
)


X = jnp.linspace(0.3, 1.4, 6)
_A = jr.normal(jr.key(0), (4, 6))

_MESH = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 0], [5, 4, 3]])

FUNCTIONS = {
    "separable": (lambda x: jnp.sum(jnp.sin(x)), X),
    "rosenbrock": (lambda x: jnp.sum((x[1:] - x[:-1] ** 2) ** 2), X),
    "blocks": (lambda x: jnp.sum(jnp.prod(jnp.sin(x.reshape(2, 3)), 1)), X),
    "dense": (lambda x: jnp.sum(jnp.tanh(_A @ x)), X),
    "low rank": (lambda x: jnp.sum(x**2) ** 2, X),
    "periodic": (lambda x: jnp.sum(x**2 * jnp.roll(x, 1)), X),
    "mirrored": (lambda x: jnp.sum(x**3 * x[::-1]), X),
    "two axes": (lambda x: jnp.sum(jnp.tanh(x @ x.T) @ x), X.reshape(2, 3)),
    "linear": (lambda x: x[0], X),
    "mesh": (lambda x: jnp.sum(jnp.prod(jnp.sin(x[_MESH]), 1)), X),
    "scalar": (lambda x: x**3, X[0]),
    "one": (lambda x: jnp.sum(x) ** 3, X[:1]),
    "empty": (lambda x: jnp.sum(x**3), X[:0]),
    "float32": (lambda x: jnp.sum(x[1:] * x[:-1] ** 2), X.astype(jnp.float32)),
}


def _is_block(x):
    return isinstance(x, Partial)


def _assert_close(actual, expected):
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    precision = 1e-5 if expected.dtype == np.float32 else 1e-11
    np.testing.assert_allclose(actual, expected, rtol=precision, atol=precision)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_structured(name):
    """The whole matrix, either triangle, and the triple."""
    function, x = FUNCTIONS[name]

    @jax.jit
    def run(x):
        whole, lower, upper = (
            filter_hessian(function, structured=True, triangle=t)(x)
            for t in (None, "lower", "upper")
        )
        triple = filter_value_grad_and_hessian(
            function, structured=True, triangle="lower"
        )(x)
        value, gradient = jax.value_and_grad(function)(x)
        return whole, lower, upper, triple, value, gradient, jax.hessian(function)(x)

    whole, lower, upper, triple, *expected = run(x)
    assert all(map(_is_block, (whole, lower, upper)))
    hessian = np.asarray(expected.pop())
    _assert_close(whole.todense(), hessian)
    matrix = hessian.reshape(x.size, x.size)
    _assert_close(np.asarray(lower).reshape(matrix.shape), np.tril(matrix))
    _assert_close(np.asarray(upper).reshape(matrix.shape), np.triu(matrix))
    assert np.all(lower.rows >= lower.cols) and np.all(upper.rows <= upper.cols)
    inside = whole.rows >= whole.cols
    np.testing.assert_array_equal(lower.rows, whole.rows[inside])
    np.testing.assert_array_equal(lower.cols, whole.cols[inside])
    assert lower.num_values <= np.count_nonzero(inside)
    value, gradient, block = triple
    _assert_close(value, expected[0])
    _assert_close(gradient, expected[1])
    np.testing.assert_array_equal(block.todense(), lower.todense())


def test_structure():
    def structure(name, **options):
        function, _ = FUNCTIONS[name]
        hessian = filter_hessian(function, structured=True, **options)
        return jax.eval_shape(hessian, jnp.ones(30)).structure

    assert structure("separable") == structure("separable", triangle="lower")
    assert structure("separable") == "diagonal"
    assert structure("rosenbrock") == "banded (offsets -1, 0, 1)"
    assert structure("rosenbrock", triangle="lower") == "banded (offsets -1, 0)"
    assert structure("low rank") == "diagonal + rank 1"


def test_fewer_products():
    """Blocks on the other side are not computed."""
    inputs = [jnp.ones(n) for n in (10, 11, 12)]
    weights = [jr.normal(jr.key(x.size), (30, x.size)) for x in inputs]

    def function(xs):
        return jnp.sum(jnp.tanh(sum(w @ x for w, x in zip(weights, xs))))

    def operations(triangle):
        hessian = filter_hessian(function, structured=True, triangle=triangle)
        compiled = jax.jit(hessian).lower(inputs).compile()
        return compiled.cost_analysis()["flops"]  # pyright: ignore

    whole = operations(None)
    assert operations("lower") < 0.75 * whole
    assert operations("upper") < 0.75 * whole


#
# PyTrees
#


class _Model(eqx.Module):
    weight: jax.Array
    bias: jax.Array
    count: jax.Array

    def __call__(self):
        scale = self.count.astype(self.bias.dtype)
        return jnp.sum(jnp.tanh(self.weight @ self.bias) * self.bias[:2]) * scale


_MODEL = _Model(X.reshape(2, 3), X[:3], jnp.array(2))


def _dense(model):
    params, static = eqx.partition(model, eqx.is_inexact_array)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    return jax.hessian(lambda v: eqx.combine(unravel(v), static)())(flat)


@pytest.mark.parametrize("triangle", [None, "lower", "upper"])
def test_models(triangle):
    """One triangle of the matrix over all arrays; blocks beyond store nothing."""
    function = lambda model: model()  # noqa: E731
    hessian = filter_hessian(function, structured=True, triangle=triangle)(_MODEL)
    assert hessian.count is None and hessian.weight.count is None
    rows = [hessian.weight, hessian.bias]
    blocks = [[row.weight, row.bias] for row in rows]
    assert all(_is_block(block) for row in blocks for block in row)
    sizes = 6, 3
    matrix = np.block(
        [
            [np.asarray(b).reshape(m, n) for b, n in zip(row, sizes)]
            for row, m in zip(blocks, sizes)
        ]
    )
    part = {None: np.asarray, "lower": np.tril, "upper": np.triu}[triangle]
    _assert_close(matrix, part(_dense(_MODEL)))
    if triangle == "lower":
        assert blocks[0][1].num_values == 0


def test_several_outputs():
    """A triangle of each of them."""
    function = lambda x: {"a": x[:2] ** 3 * x[2], "b": jnp.sum(x) ** 2}  # noqa: E731
    lower = filter_hessian(function, structured=True, triangle="lower")(X)
    expected = jax.hessian(function)(X)
    for name in ("a", "b"):
        _assert_close(np.asarray(lower[name]), np.tril(expected[name]))


def test_jacobians_of_models():
    """`structured=True` of the other transforms."""
    forward = lambda model, x: {"y": jnp.sin(x) * model.bias, "n": 1}  # noqa: E731
    block = filter_jacobian(forward, structured=True)(_MODEL, X[:3])["y"]
    assert block.bias.structure == "diagonal" and block.weight.num_values == 0
    assert block.count is None
    (value, aux), jacobian = filter_value_and_jacobian(
        lambda x: (x**2, "aux"), has_aux=True, structured=True
    )(X)
    assert aux == "aux" and jacobian.structure == "diagonal"
    _assert_close(value, X**2)
    _assert_close(jacobian.todense(), jnp.diag(2 * X))
    block, aux = filter_jacobian(
        lambda x: (x**2, "aux"), has_aux=True, structured=True
    )(X)
    assert block.structure == "diagonal" and aux == "aux"


#
# Values, gradients and Hessians
#


@pytest.mark.parametrize("name", ["rosenbrock", "two axes", "scalar", "empty"])
def test_triple(name):
    function, x = FUNCTIONS[name]

    @jax.jit
    def run(x):
        ours = filter_value_grad_and_hessian(function)(x)
        return ours, (*jax.value_and_grad(function)(x), jax.hessian(function)(x))

    for actual, expected in zip(*run(x)):
        _assert_close(actual, expected)


def test_triple_with_aux():
    @filter_value_grad_and_hessian(has_aux=True)
    def function(x, power):
        return jnp.sum(x**power), ("aux", x)

    (value, (name, aux)), gradient, hessian = function(X, 3)
    assert name == "aux" and function.__name__ == "function"
    np.testing.assert_array_equal(aux, X)
    _assert_close(value, jnp.sum(X**3))
    _assert_close(gradient, 3 * X**2)
    _assert_close(hessian, jnp.diag(6 * X))


def test_triple_calls_the_function_once():
    calls = []

    def function(x):
        calls.append(1)
        return jnp.sum(x**3)

    filter_value_grad_and_hessian(function)(X)
    assert len(calls) == 1


def test_triple_under_transformations():
    function, _ = FUNCTIONS["rosenbrock"]
    triple = filter_value_grad_and_hessian(function, structured=True)
    _, gradient, blocks = jax.jit(jax.vmap(triple))(jnp.stack([X, X + 1]))
    solve = jax.vmap(lambda block, g: jnp.linalg.solve(block.todense(), g))
    expected = jax.vmap(jax.hessian(function))(jnp.stack([X, X + 1]))
    actual = solve(blocks, gradient)
    _assert_close(jnp.einsum("bij,bj->bi", expected, actual), gradient)
    third = jax.grad(lambda x: jnp.sum(triple(x)[2].data ** 2))
    dense = jax.grad(lambda x: jnp.sum(jax.hessian(function)(x) ** 2))
    _assert_close(third(X), dense(X))


#
# Errors
#


@pytest.mark.parametrize("transform", [filter_hessian, filter_value_grad_and_hessian])
@pytest.mark.parametrize(
    "options, match",
    [
        ({"triangle": "left", "structured": True}, '"lower", "upper" or None'),
        ({"triangle": "lower"}, "`structured=True`.*`jnp.tril`"),
        ({"granularity": "scalar", "structured": True}, "has no structure"),
        ({"order": "measured", "structured": True}, "compares methods"),
        ({"order": [1, 2]}, "sequence of vertex numbers"),
    ],
)
def test_bad_options(transform, options, match):
    with pytest.raises(ValueError, match=match):
        transform(jnp.sum, **options)


@pytest.mark.parametrize("output", [lambda x: x, lambda x: {"a": x[0]}, lambda x: 1])
def test_no_gradient(output):
    with pytest.raises(ValueError, match=r"floating-point number, an array of shape"):
        filter_value_grad_and_hessian(output)(X)


def test_a_triangle_of_a_dense_block():
    """A list of its entries."""
    function = lambda x: jnp.sum(jnp.tanh(jnp.outer(x, x)) @ jnp.cos(x))  # noqa: E731
    hessian = filter_hessian(function, structured=True, triangle="lower")
    block = jax.eval_shape(hessian, jnp.ones(100))
    assert len(block.pattern.terms) == 1 and block.num_values == 5050


def test_leaves():
    block = filter_hessian(FUNCTIONS["dense"][0], structured=True, triangle="lower")(X)
    assert all(isinstance(leaf, jax.Array) for leaf in jtu.tree_leaves(block))
    assert block.num_values == 21 and eqx_cc.Partial is type(block)
