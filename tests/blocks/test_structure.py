"""Structured results of low rank, and how dense results are assembled."""

from typing import Any

import eqx_cc
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from eqx_cc import cc_jacobian, Forward, MinimalFill, MinimalMarkowitz, Reverse
from eqx_cc._graph.elimination import plan
from eqx_cc._graph.low_rank import factored_plan
from eqx_cc._linearise.interpreter import linearise
from eqx_cc._strategy.jacobian_blocks import trace_function
from helpers import assert_jacobian_close, RTOL
from jax import lax


N = 48
X = jnp.linspace(0.5, 1.5, N)
ORDERS = ["auto", "forward", "reverse"]


def _layers(*sizes):
    draw = np.random.default_rng(0)
    weights = [draw.normal(size=shape) for shape in zip(sizes[1:], sizes)]

    def network(x):
        for weight in weights:
            x = jnp.tanh(weight @ x / weight.shape[1])
        return x

    return network


def _gated(x):
    """A diagonal and two scalars, the second of which depends on the first."""
    mean = jnp.mean(jnp.sin(x))
    norm = jnp.sqrt(jnp.sum((x * mean) ** 2))
    return jnp.sin(x) * norm + mean * jnp.cos(x)


def _normalised(x):
    """A layer norm of each of three rows."""
    x = x.reshape(3, -1)
    x = x - jnp.mean(x, axis=1, keepdims=True)
    return (x / jnp.sqrt(jnp.mean(x**2, axis=1, keepdims=True))).reshape(-1)


def _stencil_and_mean(x):
    return jnp.roll(x, 1) * x + jnp.mean(x**2)


LOW_RANK = {
    "mean": (lambda x: -(x**3) + jnp.mean(x), "diagonal + rank 1"),
    "mean field": (lambda x: -(x**3) + jnp.mean(x) * jnp.cos(x), "diagonal + rank 1"),
    "norm": (lambda x: x / jnp.linalg.norm(x), "diagonal + rank 1"),
    "softmax": (jax.nn.softmax, "diagonal + rank 1"),
    "two scalars": (_gated, "diagonal + rank 2"),
    "bottleneck": (_layers(N, 4, N), "rank 4"),
    "deep bottleneck": (_layers(N, 16, 4, 16, N), "rank 4"),
    "residual": (lambda x: x + _layers(N, 4, N)(x), "identity + rank 4"),
    "stencil": (_stencil_and_mean, "banded (offsets -1, 0, 47) + rank 1"),
}
# What is not to be factored: full rank, too small, or of a narrow output.
FULL_RANK = {
    "elementwise": (jnp.sin, "diagonal"),
    "wide": (_layers(N, 2 * N, N), "dense"),
    "nearly as wide": (_layers(N, N - 4, N), "dense"),
    "to few": (_layers(N, 4, 5), "dense"),
    "from few": (lambda x: _layers(5, 4, N)(x[:5]), "dense window"),
    "no bottleneck": (lambda x: _layers(N, 4, N)(x) + _layers(N, N)(x), "dense"),
    "sum": (lambda x: jnp.sum(jnp.sin(x) * x), "dense"),
}


def _largest(jaxpr) -> int:
    """The most elements that any array of a program has."""
    sizes = [v.aval.size for e in jaxpr.eqns for v in (*e.invars, *e.outvars)]
    inner = [e.params["jaxpr"].jaxpr for e in jaxpr.eqns if "jaxpr" in e.params]
    return max([*sizes, *map(_largest, inner)], default=0)


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("name", LOW_RANK | FULL_RANK)
def test_factors_make_the_jacobian(name, order):
    fun, _ = (LOW_RANK | FULL_RANK)[name]

    @jax.jit
    def run(x):
        block = cc_jacobian(fun, structured=True, order=order)(x)
        left, right = block.low_rank()
        assert left.shape[1] == right.shape[0] == block.rank
        rest = eqx_cc.Partial(block.pattern, block.values, block.dtype).materialise()
        added = rest + (left @ right).reshape(block.shape)
        return jax.jacfwd(fun)(x), block.materialise(), block.to_bcoo().todense(), added

    expected, *jacobians = run(X)
    scale = float(jnp.abs(expected).max())
    for array in jacobians:
        rtol = RTOL["float64"]
        np.testing.assert_allclose(array, expected, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("name", LOW_RANK | FULL_RANK)
def test_structure(name):
    fun, structure = (LOW_RANK | FULL_RANK)[name]
    block = jax.eval_shape(cc_jacobian(fun, structured=True), X)
    assert block.structure == structure
    assert block.shape == (*jax.eval_shape(fun, X).shape, N)
    assert (block.rank > 0) == (name in LOW_RANK)


@pytest.mark.parametrize("name", LOW_RANK)
def test_nothing_of_the_size_of_the_block_is_made(name):
    fun, _ = LOW_RANK[name]
    jaxpr = jax.make_jaxpr(cc_jacobian(fun, structured=True))(X).jaxpr
    assert _largest(jaxpr) <= 16 * N < N * N


def test_rows_are_normalised_by_a_rank_for_each():
    block = cc_jacobian(_normalised, structured=True)(X)
    assert block.rank == 6
    np.testing.assert_allclose(
        block.materialise(), jax.jacfwd(_normalised)(X), rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_types(dtype):
    fun, _ = LOW_RANK["mean field"]
    block = cc_jacobian(fun, structured=True)(X.astype(dtype))
    left, right = block.low_rank()
    assert block.dtype == left.dtype == right.dtype == dtype
    assert block.materialise().dtype == block.to_coo()[0].dtype == dtype
    expected = jax.jacfwd(fun)(X.astype(dtype))
    rtol = RTOL[jnp.dtype(dtype).name]
    np.testing.assert_allclose(block.materialise(), expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", ["two scalars", "deep bottleneck", "residual"])
def test_factors_under_jit_and_vmap(name):
    fun, structure = LOW_RANK[name]
    blocks = jax.jit(jax.vmap(cc_jacobian(fun, structured=True)))(
        jnp.stack([X, X + 1.0])
    )
    assert blocks.structure == structure
    dense = jax.jit(jax.vmap(lambda block: block.materialise()))(blocks)
    expected = jax.jit(jax.vmap(jax.jacfwd(fun)))(jnp.stack([X, X + 1.0]))
    np.testing.assert_allclose(dense, expected, rtol=1e-11, atol=1e-13)
    with pytest.raises(ValueError, match="batch of blocks"):
        blocks.materialise()
    with pytest.raises(ValueError, match="batch of blocks"):
        blocks.low_rank()


def test_factors_of_several_inputs_and_outputs():
    def fun(x, y):
        mean = jnp.mean(x * y)
        return {"a": jnp.sin(x) * mean, "b": jnp.cos(y) * mean, "c": mean**2}

    blocks = cc_jacobian(fun, argnums=(0, 1), structured=True)(X, X[::-1])
    assert blocks["a"][0].structure == "diagonal + rank 1"
    assert blocks["a"][1].structure == "rank 1"
    assert blocks["c"][0].factors == ()
    expected = jax.jacfwd(fun, argnums=(0, 1))(X, X[::-1])
    for name, row in blocks.items():
        for block, array in zip(row, expected[name]):
            np.testing.assert_allclose(block.materialise(), array, atol=1e-13)


@pytest.mark.parametrize("method", ["to_coo", "to_bcoo", "expand", "materialise"])
def test_factors_that_are_too_large_to_multiply(method):
    fun = lambda x: x / jnp.linalg.norm(x)  # noqa: E731
    block = cc_jacobian(fun, structured=True)(jnp.ones(10_000_000))
    assert block.structure == "diagonal + rank 1"
    with pytest.raises(ValueError, match=r"would take .* GiB, but the device has"):
        getattr(block, method)()


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 1), (3, 0)])
def test_small_shapes(shape):
    fun = lambda x: jnp.sin(x) * jnp.sum(x**2)  # noqa: E731
    x = jnp.ones(shape)
    block = cc_jacobian(fun, structured=True)(x)
    np.testing.assert_allclose(block.materialise(), jax.jacfwd(fun)(x), rtol=1e-12)
    assert block.to_bcoo().shape == shape + shape


def test_factors_through_a_complex_intermediate_are_multiplied():
    """A derivative that acts on conjugates too is no matrix."""

    def fun(x):
        z = jnp.sum(jnp.exp(lax.complex(x, 2 * x)))
        return jnp.cos(x) * jnp.abs(z) + jnp.sin(x) * z.real

    block = cc_jacobian(fun, structured=True)(X)
    np.testing.assert_allclose(block.materialise(), jax.jacfwd(fun)(X), atol=1e-12)
    left, right = block.low_rank()
    assert not jnp.iscomplexobj(left) and not jnp.iscomplexobj(right)


def test_dense_results_have_no_factors():
    assert_jacobian_close(LOW_RANK["two scalars"][0], X)
    array = cc_jacobian(LOW_RANK["two scalars"][0])(X)
    assert isinstance(array, jax.Array)


#
# Plans
#


def _graph(fun, x=X):
    program, num_outputs, _ = trace_function(lambda xs: ([fun(*xs)], None), [x])
    graphs = []

    def run(x):
        graphs.append(linearise(program, [x], [0], Forward(), num_outputs).graph)

    jax.eval_shape(run, x)
    return graphs[0]


@pytest.mark.parametrize("order", [Forward(), Reverse(), MinimalMarkowitz()], ids=repr)
@pytest.mark.parametrize("name", LOW_RANK)
def test_a_plan_with_factors_multiplies_less(name, order):
    graph = _graph(LOW_RANK[name][0])
    whole = plan(graph, order(graph))
    steps, factors = factored_plan(graph, order(graph))
    assert steps.num_multiplications <= whole.num_multiplications
    ((pairs,),) = [factors.values()]
    stored = sum(f.left.num_values + f.right.num_values for f in pairs)
    (block,) = whole.blocks.values()
    assert stored < block.num_nonzeros
    assert {(u, f.vertex) for u, _ in factors for f in pairs} <= {*steps.blocks}


@pytest.mark.parametrize("name", FULL_RANK)
def test_a_plan_without_factors_is_the_plan(name):
    graph = _graph(FULL_RANK[name][0])
    order = MinimalMarkowitz()(graph)
    steps, factors = factored_plan(graph, order)
    assert steps is plan(graph, order) and not factors


def test_minimal_fill_goes_around_what_is_narrow():
    graph = _graph(_layers(64, 16, 4, 16, 64), jnp.ones(64))
    count = {
        type(o).__name__: plan(graph, o(graph)).num_multiplications
        for o in (MinimalFill(), MinimalMarkowitz(), Reverse(), Forward())
    }
    best = 2 * 4 * 16 * 64 + 64 * 4 * 64
    assert best <= count["MinimalFill"] <= best + 2 * 64 * 16 + 2 * 16 * 4
    assert 2 * count["MinimalFill"] < min(
        v for k, v in count.items() if "Fill" not in k
    )
    assert eqx_cc.Automatic()(graph).cost == count["MinimalFill"]


#
# Dense results
#


def _arrow(x):
    head, last = x[:-1], x[-1]
    total = jnp.sum(head**2 * last, keepdims=True)
    return jnp.concatenate([jnp.sin(head) * last, total])


def _periodic(x):
    """Reaction and diffusion on a circle: corners of the matrix are filled."""
    u, v = x[: N // 2], x[N // 2 :]
    return jnp.concatenate([jnp.roll(u, 1) + u**2 * v, jnp.roll(v, -1) - u**2 * v])


def _per_sample(x):
    weights = jr.normal(jr.key(0), (2, 2))
    return jax.vmap(lambda row: jnp.tanh(weights @ row))(x.reshape(-1, 2))


SPARSE = {"arrow": _arrow, "periodic": _periodic, "per sample": _per_sample}


@pytest.mark.parametrize("name", SPARSE)
def test_few_entries_are_assembled_by_one_scatter(name):
    fun = SPARSE[name]
    jacobian = cc_jacobian(fun, order="markowitz", granularity="array")
    actual, expected = jax.jit(lambda x: (jacobian(x), jax.jacfwd(fun)(x)))(X)
    np.testing.assert_allclose(actual, expected, atol=1e-13)
    eqns: list[Any] = jax.make_jaxpr(jacobian)(X).jaxpr.eqns
    large = [e.primitive.name for e in eqns if e.outvars[0].aval.size >= N * N]
    assert [name for name in large if name != "reshape"] == [
        "broadcast_in_dim",
        "scatter-add",
    ]


def test_entries_on_a_full_block_are_scattered_without_flattening_it():
    """Else XLA computes the cosine for every entry of the block."""
    fun, _ = LOW_RANK["mean field"]
    jacobian = cc_jacobian(fun, order="markowitz", granularity="array")
    eqns: list[Any] = jax.make_jaxpr(jacobian)(X).jaxpr.eqns
    (scatter,) = [e for e in eqns if e.primitive.name == "scatter-add"]
    assert scatter.invars[0].aval.shape == (N, N)


PLACES = [2, 2, 2, 1, 0, 1] * 4
ON_FULL_BLOCKS = {
    "diagonal": lambda y, x: y + x,
    "times, less": lambda y, x: x - y * x,
    "column": lambda y, x: y + x[3],
    "not a number": lambda y, x: y + jnp.sqrt(x - x[5]),
    "reversed": lambda y, x: y * x[::-1],
    "a part": lambda y, x: y.at[2:5].add(x[1:4] ** 2),
    "table": lambda y, x: y * x[jnp.array(PLACES)],
    "entry": lambda y, x: y.at[3].set(x[7]),
    "cube": lambda y, x: jnp.outer(y, y) + jnp.diag(x),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ON_FULL_BLOCKS)
def test_few_entries_on_small_full_blocks(name, dtype):
    """They are selected, where an index runs along a whole axis."""
    weights = jr.normal(jr.key(0), (24, 24))

    def fun(x):
        return ON_FULL_BLOCKS[name](jnp.sin(weights.astype(dtype) @ x), x)

    x = jnp.linspace(0.1, 1, 24).astype(dtype)
    jacobian = cc_jacobian(fun, granularity="array")
    np.testing.assert_allclose(jacobian(x), jax.jacfwd(fun)(x), rtol=1e-5, atol=1e-6)
    primitives = [e.primitive.name for e in jax.make_jaxpr(jacobian)(x).jaxpr.eqns]
    if name in ("diagonal", "times, less"):
        assert "scatter-add" not in primitives and "select_n" in primitives


@pytest.mark.parametrize("name", ["arrow", "periodic"])
def test_structured_programs_do_not_grow(name):
    """As many equations for any number of states, and no array of more elements than
    there are states."""

    def periodic(x):
        u, v = jnp.split(x, 2)
        return jnp.concatenate([jnp.roll(u, 1) + u**2 * v, jnp.roll(v, -1) - u**2 * v])

    fun = {"arrow": _arrow, "periodic": periodic}[name]
    jacobian = cc_jacobian(fun, structured=True)
    jaxprs = [jax.make_jaxpr(jacobian)(jnp.ones(n)).jaxpr for n in (100, 100_000)]
    assert len(jaxprs[0].eqns) == len(jaxprs[1].eqns)
    assert [_largest(jaxpr) for jaxpr in jaxprs] == [100, 100_000]


#
# What does not fit
#


def _neighbours(x):
    """A sparse quadratic, the indices of which depend on the values."""
    i = jnp.arange(x.size) + (x < 0).astype(int)
    return jnp.sum((x - x[(i * 7 + 3) % x.size]) ** 2 + x * x[(i * i) % x.size])


def _hessian(x):
    return cc_jacobian(cc_jacobian(_neighbours), structured=True)(x)


def _shape(size):
    return jax.ShapeDtypeStruct((size,), jnp.float64)


LINE = r"`gather` at \S*test_structure.py:\d+:\d+ \(_neighbours\)"


def test_what_is_not_sparse_is_refused_when_tracing():
    """It would take 4.6 GB, in a handful of dense blocks."""
    with pytest.raises(ValueError, match=rf"limit is 1.00 GiB.*{LINE}"):
        jax.eval_shape(_hessian, _shape(10_000))


@pytest.mark.parametrize("limit", [0, 1000, 5000, 40_000])
def test_the_limit_can_be_set(limit, monkeypatch):
    """Of partials, and of what elimination makes of them: blocks of 64 x 64 numbers."""
    monkeypatch.setenv("EQX_CC_STRUCTURED_LIMIT", str(limit))
    with pytest.raises(ValueError, match=LINE):
        jax.eval_shape(_hessian, _shape(64))


def test_within_the_limit(monkeypatch):
    monkeypatch.setenv("EQX_CC_STRUCTURED_LIMIT", "200000")
    x = jnp.linspace(0.5, 1.5, 16)
    block = jax.jit(_hessian)(x)
    np.testing.assert_allclose(block.materialise(), jax.hessian(_neighbours)(x))
    jax.eval_shape(cc_jacobian(jnp.sin, structured=True), _shape(20_000))
    with pytest.raises(ValueError, match="With `structured=True`"):
        jax.eval_shape(cc_jacobian(jnp.sin, structured=True), _shape(30_000))
    jax.eval_shape(cc_jacobian(jnp.sin), _shape(300))  # Dense by itself.


def test_large_arrays_have_large_jacobians():
    """A diagonal of two gigabytes belongs to an array of two gigabytes."""
    block = jax.eval_shape(cc_jacobian(jnp.sin, structured=True), _shape(2**28))
    assert block.structure == "diagonal"


def test_a_limit_that_is_no_number(monkeypatch):
    monkeypatch.setenv("EQX_CC_STRUCTURED_LIMIT", "much")
    with pytest.raises(ValueError, match="must be a number of bytes, but got 'much'"):
        _hessian(X)


def test_what_a_process_may_take_is_its_memory(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10_000, 10_000))
    block = cc_jacobian(jnp.sin, structured=True)(X)
    with pytest.raises(ValueError, match="the device has 0.0 GiB"):
        block.materialise()
