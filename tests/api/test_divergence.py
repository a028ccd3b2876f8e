"""Divergence and Laplacian, against the traces of dense matrices."""

import dataclasses

import equinox as eqx
import eqx_cc
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from eqx_cc import divergence, laplacian
from eqx_cc._orders.lookup import Automatic
from eqx_cc._strategy.jacobian_blocks import trace_function
from eqx_cc._strategy.methods import Problem, trace_by_columns, trace_by_elimination
from eqx_cc._strategy.select import select_trace
from jax import lax


X = jnp.linspace(0.3, 1.4, 5)
_A, _B = jr.normal(jr.key(0), (7, 5)), jr.normal(jr.key(1), (5, 7))

_PAIRS = np.array([[0, 1], [1, 2], [4, 0], [2, 0], [4, 1]])

FIELDS = {
    "elementwise": (jnp.sin, X),
    "linear": (lambda x: 2 * x, X),
    "stencil": (lambda x: jnp.roll(x, 1) * x - x**2, X),
    "off the diagonal": (lambda x: jnp.roll(x, 1), X),
    "hidden layer": (lambda x: _B @ jnp.tanh(_A @ x) + x**3, X),
    "two layers": (lambda x: _B @ jnp.sin(_A @ (_B @ jnp.tanh(_A @ x))), X),
    "mean": (lambda x: jnp.mean(x) * x + jnp.cumsum(x), X),
    "two axes": (lambda x: x @ x.T @ x, X[:4].reshape(2, 2)),
    "network of pairs": (
        lambda x: jnp.zeros(5).at[_PAIRS[:, 0]].add(jnp.prod(x[_PAIRS], 1)),
        X,
    ),
    "scalar": (lambda x: x * jnp.exp(x), X[0]),
    "one": (jnp.cos, X[:1]),
    "empty": (jnp.cos, X[:0]),
    "constant": (lambda x: jnp.ones(5), X),
    "masked": (lambda x: jnp.where(x > 1, jnp.sqrt(x - 1), 0.0) * x[0], X),
    "loop": (lambda x: lax.fori_loop(0, 3, lambda i, y: y + 0.1 * y[::-1] ** 2, x), X),
    "within complex": (lambda x: jnp.real(jnp.fft.ifft(jnp.fft.fft(x**2))) * x, X),
    "float32": (lambda x: jnp.roll(x, 1) * x, X.astype(jnp.float32)),
}

FUNCTIONS = {
    "squares": (lambda x: jnp.sum(x**4), X),
    "rosenbrock": (lambda x: jnp.sum((x[1:] - x[:-1] ** 2) ** 2), X),
    "network": (lambda x: jnp.sum(jnp.tanh(_B @ jnp.tanh(_A @ x))), X),
    "square of a sum": (lambda x: jnp.sum(x**2) ** 2, X),
    "pairs": (
        lambda x: jnp.sum(jnp.exp(-((x[:, None] - x[None, :]) ** 2))),
        X,
    ),
    "bonds": (lambda x: jnp.sum(jnp.exp(x[_PAIRS[:, 0]] * x[_PAIRS[:, 1]])), X),
    "linear": (lambda x: x[0], X),
    "constant": (lambda x: jnp.array(2.0), X),
    "scalar": (lambda x: x**3, X[0]),
    "one": (lambda x: jnp.sum(x) ** 3, X[:1]),
    "empty": (lambda x: jnp.sum(x**3), X[:0]),
    "determinant": (lambda x: jnp.linalg.slogdet(jnp.outer(x, x) + jnp.eye(5))[1], X),
    "float32": (lambda x: jnp.sum(jnp.sin(x) * x), X.astype(jnp.float32)),
}


def _assert_close(actual, expected):
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    precision = 1e-4 if expected.dtype == np.float32 else 1e-10
    np.testing.assert_allclose(actual, expected, rtol=precision, atol=precision)


def _trace(matrix, x):
    return jnp.trace(matrix.reshape(x.size, x.size))


@pytest.mark.parametrize("name", FIELDS)
def test_divergence(name):
    """Both methods, and the one that is selected."""
    field, x = FIELDS[name]

    @jax.jit
    @jax.numpy_rank_promotion("allow")
    def run(x):
        flat = lambda leaves: ([field(leaves[0])], None)  # noqa: E731
        problem = Problem(*trace_function(flat, [x])[:2], [x])
        traces = [
            divergence(field)(x),
            trace_by_elimination(problem, Automatic()).trace,
            trace_by_columns(problem).trace,
        ]
        return traces, _trace(jax.jacfwd(field)(x), x)

    traces, expected = run(x)
    for trace in traces:
        _assert_close(trace, expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_laplacian(name):
    function, x = FUNCTIONS[name]

    @jax.jit
    @jax.numpy_rank_promotion("allow")
    def run(x):
        ours = [laplacian(function, order=o)(x) for o in ("auto", "reverse")]
        return ours, _trace(jax.hessian(function)(x), x)

    traces, expected = run(x)
    for trace in traces:
        _assert_close(trace, expected)


def test_more_elements_than_are_computed_at_once():
    """37 columns, 16 at a time: those beyond the last are zero."""
    x = jnp.linspace(0.0, 1.0, 37)
    field = lambda x: jnp.cumsum(x**2) * x  # noqa: E731
    flat = lambda leaves: ([field(leaves[0])], None)  # noqa: E731
    problem = Problem(*trace_function(flat, [x])[:2], [x])
    _assert_close(trace_by_columns(problem).trace, jnp.trace(jax.jacfwd(field)(x)))


def test_what_is_infinite_off_the_diagonal():
    field = lambda x: jnp.stack([x[0] + jnp.sqrt(x[1]), 3 * x[1]])  # noqa: E731
    x = jnp.array([1.0, 0.0])
    assert divergence(field)(x) == 4


def _shapes(jaxpr) -> set[tuple[int, ...]]:
    shapes = set()
    for eqn in jaxpr.eqns:
        shapes |= {v.aval.shape for v in eqn.outvars}
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            shapes |= _shapes(inner) if hasattr(inner, "eqns") else set()
    return shapes


@pytest.mark.parametrize("name", ["network", "pairs", "square of a sum", "rosenbrock"])
def test_nothing_off_the_diagonal_is_computed(name):
    """No product has the size of the matrix: it stays a product of factors."""
    size, width = 40, 23
    a = jr.normal(jr.key(0), (width, size))
    functions = {
        "network": lambda x: jnp.sum(jnp.tanh(a @ x)),
        "pairs": lambda x: jnp.sum(jnp.sin(x[1:] * x[:-1])),
        "square of a sum": FUNCTIONS["square of a sum"][0],
        "rosenbrock": FUNCTIONS["rosenbrock"][0],
    }
    jaxpr = jax.make_jaxpr(laplacian(functions[name]))(jnp.ones(size))
    largest = max(int(np.prod(shape)) for shape in _shapes(jaxpr.jaxpr))
    assert largest <= (size * width if name == "network" else 4 * size)


def test_columns_where_blocks_are_dense():
    """Where elimination is more work, and where it exceeds its limits."""
    big = jr.normal(jr.key(0), (300, 300))
    field = lambda x: jnp.linalg.solve(big + jnp.outer(x, x), jnp.sin(x))  # noqa: E731
    flat = lambda leaves: ([field(leaves[0])], None)  # noqa: E731
    problem = Problem(*trace_function(flat, [jnp.ones(300)])[:2], [jnp.ones(300)])
    method = select_trace(problem, Automatic())
    shapes = _shapes(jax.make_jaxpr(lambda: method().trace)().jaxpr)
    assert max(int(np.prod(shape)) for shape in shapes) <= 16 * 300**2


def test_limit(monkeypatch):
    monkeypatch.setenv("EQX_CC_STRUCTURED_LIMIT", "100")
    field, x = FIELDS["hidden layer"]
    expected = jnp.trace(jax.jacfwd(field)(x))
    _assert_close(divergence(field)(x), expected)
    with pytest.raises(ValueError, match="EQX_CC_STRUCTURED_LIMIT"):
        divergence(field, order="reverse")(x)


#
# PyTrees
#


class _Model(eqx.Module):
    weight: jax.Array
    bias: jax.Array
    count: jax.Array
    name: str = "model"

    def energy(self):
        return jnp.sum(jnp.tanh(self.weight @ self.bias) ** 2) * self.count

    def field(self):
        return dataclasses.replace(
            self, weight=self.weight**2, bias=self.bias * jnp.sum(self.weight)
        )


_MODEL = _Model(X[:4].reshape(2, 2), X[3:], jnp.array(2))


def _dense_laplacian(function, model):
    params, static = eqx.partition(model, eqx.is_inexact_array)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    hessian = jax.hessian(lambda v: function(eqx.combine(unravel(v), static)))
    return jnp.trace(hessian(flat))


@jax.numpy_dtype_promotion("standard")
def test_models():
    """Summed over floating-point arrays; what else there is is held constant."""
    energy = lambda model: model.energy()  # noqa: E731
    _assert_close(laplacian(energy)(_MODEL), _dense_laplacian(energy, _MODEL))
    actual = divergence(lambda model: model.field())(_MODEL)
    _assert_close(actual, 2 * _MODEL.weight.sum() + 2 * _MODEL.weight.sum())


def test_mixed_types():
    x = {"a": X, "b": [X[:2].astype(jnp.float32)]}
    field = lambda x: {"a": x["a"] ** 2, "b": [jnp.sin(x["b"][0])]}  # noqa: E731
    expected = jnp.sum(2 * X) + jnp.sum(jnp.cos(x["b"][0])).astype(float)
    _assert_close(divergence(field)(x), expected)


def test_aux_and_decorators():
    @eqx_cc.divergence(has_aux=True)
    def field(x, scale, *, power):
        return scale * x**power, ("aux", x)

    trace, (name, aux) = field(X, 3.0, power=2)
    _assert_close(trace, 6 * jnp.sum(X))
    assert name == "aux" and field.__name__ == "field"
    np.testing.assert_array_equal(aux, X)

    @eqx_cc.laplacian(has_aux=True)
    def function(x):
        return jnp.sum(x**3), x.shape

    trace, aux = function(X)
    _assert_close(trace, 6 * jnp.sum(X))
    assert aux == (5,)


@pytest.mark.parametrize("name", ["network", "pairs"])
def test_transformations(name):
    """Batches, derivatives, and both."""
    function, x = FUNCTIONS[name]

    @jax.jit
    @jax.numpy_rank_promotion("allow")
    def run(xs):
        ours = jax.vmap(jax.value_and_grad(laplacian(function)))(xs)
        dense = lambda x: jnp.trace(jax.hessian(function)(x))  # noqa: E731
        return ours, jax.vmap(jax.value_and_grad(dense))(xs)

    for actual, expected in zip(*run(jnp.stack([x, x + 0.5]))):
        _assert_close(actual, expected)


def test_derivative_through_columns():
    field, x = FIELDS["hidden layer"]
    flat = lambda leaves: ([field(leaves[0])], None)  # noqa: E731

    def ours(x):
        problem = Problem(*trace_function(flat, [x])[:2], [x])
        return trace_by_columns(problem).trace

    expected = jax.grad(lambda x: jnp.trace(jax.jacfwd(field)(x)))(x)
    _assert_close(jax.grad(ours)(x), expected)


#
# Errors
#


@pytest.mark.parametrize(
    "field, x, error, match",
    [
        (lambda x: x[:2], X, ValueError, "structure and the shapes.*f64.2.*f64.5"),
        (lambda x: (x, x), X, ValueError, "structure and the shapes"),
        (lambda x: x.astype(int), X, ValueError, "structure and the shapes"),
        (lambda x: x * 1j, X, TypeError, "real functions.*`fun.*c128"),
        (lambda x: x, X.astype(complex), TypeError, "real-valued inputs"),
        (lambda x: x, jnp.arange(3), ValueError, "no floating-point array"),
    ],
)
def test_bad_fields(field, x, error, match):
    with (
        pytest.raises(error, match=match),
        jax.numpy_dtype_promotion("standard"),
    ):
        divergence(field)(x)


@pytest.mark.parametrize(
    "function, x, error, match",
    [
        (lambda x: x, X, ValueError, r"shape \(\), but got.*f64\[5\]"),
        (lambda x: (x[0], x[1]), X, ValueError, r"shape \(\), but got"),
        (lambda x: 2, X, ValueError, r"shape \(\), but got"),
        (lambda x: jnp.sum(x) * 1j, X, ValueError, r"shape \(\), but got.*c128"),
        (lambda x: jnp.sum(x), X.astype(complex), TypeError, "real-valued inputs"),
    ],
)
def test_bad_functions(function, x, error, match):
    with (
        pytest.raises(error, match=match),
        jax.numpy_dtype_promotion("standard"),
    ):
        laplacian(function)(x)


@pytest.mark.parametrize("transform", [divergence, laplacian])
def test_bad_options(transform):
    with pytest.raises(ValueError, match='`order="measured"`'):
        transform(jnp.sin, order="measured")
    with pytest.raises(TypeError, match="`fun` must be callable"):
        transform(3)
    with pytest.raises(TypeError, match="by position"):
        transform(jnp.sin)(x=X)


def test_an_order_of_another_graph():
    with pytest.raises(ValueError, match="sequence of vertex numbers"):
        laplacian(jnp.sum, order=[1, 2])


#
# Against another library
#


@pytest.mark.parametrize("name", ["network", "pairs", "rosenbrock", "determinant"])
def test_as_folx(name):
    folx = pytest.importorskip("folx")
    function, x = FUNCTIONS[name]
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        theirs = jax.jit(folx.forward_laplacian(function))(x).laplacian
        ours = jax.jit(laplacian(function))(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
