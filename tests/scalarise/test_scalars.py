"""Functions in scalars: what is expanded, how it is compiled, all transformations."""

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import cc_jacobian, filter_jacobian
from eqx_cc._jaxpr.primitives import FACTS, is_elementwise
from eqx_cc._jaxpr.program import flatten
from eqx_cc._scalarise.expand import scalarise
from eqx_cc._scalarise.native import (
    batch as _batch,
    call as _call,
    cse as _cse,
    emit as _emit,
    layout as _layout,
    lowering as _lowering,
)
from eqx_cc._scalarise.native.call import ScalarFunction
from helpers import assert_jacobian_close, native_functions, RTOL
from jax import lax


def arm(q):
    """A chain of rotations by small matrices, with zeros and ones in them."""
    pose = jnp.eye(3)
    for angle in q:
        c, s, z, o = jnp.cos(angle), jnp.sin(angle), 0.0, 1.0
        turn = jnp.array([[c, -s, o], [s, c, z], [z, z, o]])
        pose = pose @ turn
    return pose[:2, 2] / (1.0 + jnp.sum(q**2))


Q = np.linspace(0.3, 1.1, 3)
jacobian = cc_jacobian(arm, granularity="scalar")
expected = jax.jacfwd(arm)


def close(ours, reference, rtol=1e-11):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol),
        ours,
        reference,
    )


def num_native(fun, *args) -> int:
    """How many native calls of scalars a function makes."""
    return sum(isinstance(f, ScalarFunction) for f in native_functions(fun, *args))


@pytest.fixture(autouse=True)
def native_if_tiny(monkeypatch):
    """Native calls for tiny functions as well, as the arm is one."""
    monkeypatch.setattr(_call, "_LITTLE_WORK", -1)


@pytest.fixture(params=["native", "plain"])
def mode(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setenv("EQX_CC_NATIVE", "off")
    jax.clear_caches()
    yield request.param
    jax.clear_caches()


#
# How it is compiled
#


def test_probe():
    """This version of XLA compiles native calls: else nothing here says anything."""
    assert _lowering.works()


def test_native_call(mode):
    compiled = jax.jit(jacobian).lower(Q).compile()
    is_small = 'xla_cpu_small_call="true"' in (compiled.as_text() or "")
    assert is_small == (mode == "native")
    close(compiled(Q), expected(Q))


def test_falls_back_where_the_probe_fails(monkeypatch):
    monkeypatch.setattr(_lowering, "works", lambda: False)
    jax.clear_caches()
    compiled = jax.jit(jacobian).lower(Q).compile()
    assert "small_call" not in (compiled.as_text() or "small_call")
    close(compiled(Q), expected(Q))


def test_large_results_are_plain(monkeypatch):
    """XLA would split them over threads."""
    monkeypatch.setattr(_call, "MAX_BYTES", 100)
    x = jnp.linspace(0.0, 1.0, 5)
    compiled = jax.jit(cc_jacobian(jnp.sin, granularity="scalar")).lower(x).compile()
    assert "small_call" not in (compiled.as_text() or "small_call")
    close(compiled(x), jnp.diag(jnp.cos(x)))


def test_plain_on_other_platforms():
    text = jax.jit(jacobian).trace(Q).lower(lowering_platforms=("cuda",)).as_text()
    assert "small_call" not in text


MOVES = {
    "flip": jnp.flip,
    "transpose": jnp.transpose,
    "sum": jnp.sum,
    "prod": jnp.prod,
    "reshape": lambda x: x.reshape(()),
    "broadcast": lambda x: jnp.broadcast_to(x, (1,)),
    "max": jnp.max,
    "squeeze": jnp.squeeze,
    "cumsum": lambda x: jnp.cumsum(x[None]),
}


def test_moves_of_single_numbers():
    """Which NumPy likes to return as no array."""

    def fun(x):
        return [jnp.sin(move(x**2)) * x for move in MOVES.values()]

    x = jnp.asarray(0.7)
    close(
        *jax.jit(
            lambda x: (cc_jacobian(fun, granularity="scalar")(x), jax.jacfwd(fun)(x))
        )(x)
    )


def test_nothing_is_computed_twice():
    """Those of two angles (the last one turns nothing), though the derivatives of sines
    and cosines are cosines and sines too."""
    text = jax.jit(jacobian).lower(Q).as_text()
    for name in ("stablehlo.sine", "stablehlo.cosine"):
        assert text.count(name) == 2


def test_values_that_nobody_wants_are_not_computed():
    def fun(x):
        return jnp.array([lax.lgamma(x[0]) + x[1], x[1]])

    value_too = eqx_cc.filter_value_and_jacobian(fun, granularity="scalar")
    alone = filter_jacobian(fun, granularity="scalar")
    counts = [
        str(jax.make_jaxpr(f)(jnp.ones(2))).count("lgamma") for f in (value_too, alone)
    ]
    assert counts == [1, 0]


#
# What is expanded by default
#


def test_auto():
    small, large = jnp.ones(3), jnp.ones(100)
    auto = jax.jit(cc_jacobian(arm))
    assert num_native(auto, small) == 1
    assert num_native(jax.jit(cc_jacobian(jnp.sin)), large) == 0  # 10,000 entries.
    assert num_native(cc_jacobian(arm), small) == 1  # `make_jaxpr` compiles as well.
    weights = jnp.linspace(0.1, 0.9, 81).reshape(9, 9)
    products = jax.jit(cc_jacobian(lambda x: jnp.sin(weights @ x)))
    assert num_native(products, jnp.ones(9)) == 0
    islands = jax.jit(cc_jacobian(lambda x: jnp.linalg.det(jnp.linalg.qr(x)[1])))
    assert num_native(islands, jnp.ones((2, 2)) + jnp.eye(2)) == 0
    order = eqx_cc.Given(eqx_cc.trace(arm, small).graph.intermediates)
    assert num_native(jax.jit(cc_jacobian(arm, order=order)), small) == 0
    structured = jax.jit(cc_jacobian(arm, structured=True))
    assert num_native(structured, small) == 0


def _angles(x):
    z = x.astype(complex)
    return jnp.abs(jnp.exp(z) + z[::-1])


VECTORISED = {
    "elementwise": (lambda x: jnp.sin(x) * jnp.exp(-x), 10),
    "norm": (lambda x: x / jnp.sqrt(jnp.sum(x**2)), 9),
    "error function": (lambda x: lax.erf_inv(jnp.tanh(x)), 3),
    "gamma function": (lambda x: lax.lgamma(x) * jnp.sin(x), 3),
    "complex": (_angles, 2),
}


@pytest.mark.parametrize("name", VECTORISED)
def test_vectors_stay_arrays(name):
    """But for short ones, a few equations of them are as fast and compile sooner."""
    fun, most = VECTORISED[name]
    jacobian = jax.jit(cc_jacobian(fun))
    assert num_native(jacobian, jnp.linspace(0.1, 0.8, most)) == 1
    for size in (max(16, 2 * most), 24):
        x = jnp.linspace(0.1, 0.8, size)
        assert num_native(jacobian, x) == 0
        close(jacobian(x), jax.jacfwd(fun)(x))


def test_captured_arrays_are_taken_apart():
    """What is captured is traced, as by `jax.jit` around a closure."""

    def run(p, x):
        return cc_jacobian(lambda x: arm(x) * p[0] + p[1:])(x)

    assert num_native(jax.jit(run), jnp.ones(3), jnp.ones(3)) == 1


PLACES = {
    "one": lambda q: jnp.sin(q * jnp.sum(q)).at[1].set(q[0] * q[2]),
    "several": lambda q: jnp.zeros(5).at[jnp.array([4, 0])].set(q[:2] * q[2]),
    "columns": lambda q: jnp.zeros((3, 4)).at[:, np.array([1, 3])].set(q[:, None]),
    "one out of bounds": lambda q: jnp.zeros(3).at[7].set(q[0]) + q,
    "insert": lambda q: jnp.insert(q**2, np.array([1, 2]), q[0]),
    "nonzero": lambda q: q[jnp.nonzero(np.array([0, 1, 1]), size=2)[0]] ** 2,
}
UNKNOWN_PLACES = {
    "twice": lambda q: jnp.zeros(5).at[jnp.array([4, 4])].set(q[:2] * q[2]),
    "some out of bounds": lambda q: jnp.zeros(5).at[jnp.array([4, 7])].set(q[:2]),
    "by value": lambda q: jnp.zeros(5).at[jnp.argmax(q)].set(q[0] ** 2),
}


@pytest.mark.parametrize("name", [*PLACES, *UNKNOWN_PLACES])
def test_entries_at_known_places(name):
    """They move while tracing, where no two go to the same place."""
    fun = (PLACES | UNKNOWN_PLACES)[name]
    ours = jax.jit(cc_jacobian(fun, granularity="scalar"))
    close(ours(Q), jax.jacfwd(fun)(Q))
    closed = jax.make_jaxpr(fun)(Q)
    scalars = scalarise(flatten(closed.jaxpr, closed.consts), closed.in_avals, 1)
    assert scalars.is_pure == (name in PLACES)


def test_products_of_truth_values_are_of_arrays():
    choice = np.array([[True, False], [True, True]])
    fun = lambda x: jnp.where(choice @ (x > 0), x**2, x)  # noqa: E731
    point = jnp.array([0.5, -1.0])
    ours = jax.jit(cc_jacobian(fun))(point)
    np.testing.assert_allclose(ours, jax.jacfwd(fun)(point))


def test_loops_and_branches_are_of_arrays():
    def loop(x):
        return lax.fori_loop(0, 3, lambda i, y: jnp.sin(y), x)

    def branch(x):
        return lax.cond(x[0] > 0, jnp.sin, jnp.cos, x)

    for fun in (loop, branch):
        assert num_native(jax.jit(cc_jacobian(fun)), jnp.ones(2)) == 0
        with pytest.raises(ValueError, match='a loop or a branch.*"auto"'):
            cc_jacobian(fun, granularity="scalar")(jnp.ones(2))


def test_errors():
    with pytest.raises(ValueError, match="\"auto\"|'auto', 'scalar', 'array'"):
        filter_jacobian(arm, granularity="block")
    with pytest.raises(ValueError, match="`structured=True`"):
        cc_jacobian(arm, granularity="scalar", structured=True)
    with pytest.raises(ValueError, match="more than 4000 scalar equations"):
        cc_jacobian(jnp.sin, granularity="scalar")(jnp.ones(4001))


#
# Every elementwise primitive
#


def _elementwise(x, y):
    """All of them, of numbers in (0, 1)."""
    ints = (10 * x).astype(jnp.int32), (10 * y).astype(jnp.int32)
    i, j = ints
    bits = (i & j) + (i | j) + (i ^ j) + ~i + (i << 1) + (i >> 1)
    bits += lax.shift_right_logical(i, j) + lax.sign(i) + lax.abs(i) + lax.rem(i, j + 1)
    logic = (x > y) & (x >= y) | (x < y) ^ (x <= y) & (x != y) | ~(x == y)
    unary = (
        "abs acosh acos asin asinh atan atanh cbrt ceil cos cosh digamma erf erf_inv "
        "erfc exp exp2 expm1 floor lgamma log log1p logistic neg round rsqrt sign sin "
        "sinh sqrt square tan tanh"
    ).split()
    results = [getattr(lax, n)(1 + x if n == "acosh" else x) for n in unary]
    newer = "log2", "one_minus_square"  # JAX 0.12
    results += [getattr(lax, name)(x) for name in newer if hasattr(lax, name)]
    bits += lax.mulhi(i, j) if hasattr(lax, "mulhi") else 0
    binary = "add atan2 div max min mul pow rem sub".split()
    results += [getattr(lax, name)(x, y) for name in binary]
    results += [lax.integer_pow(x, 3), lax.integer_pow(x, -2), lax.clamp(0.5 * y, x, y)]
    fixed = lax.nextafter(lax.stop_gradient(x), lax.stop_gradient(y))
    factors = bits, lax.is_finite(x), x.astype(jnp.float16), fixed
    results += [jnp.where(logic, x, y), *(f.astype(x.dtype) * y for f in factors)]
    return jnp.stack(results)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_elementwise(dtype, mode):
    def fun(xy):
        return _elementwise(xy[0], xy[1])

    x = jnp.asarray([0.3, 0.6], dtype)
    rtol = RTOL[dtype] * (1 if dtype == "float64" else 5)
    assert_jacobian_close(fun, x, granularity="scalar", rtol=rtol)


def test_elementwise_is_complete():
    """Each primitive that is expanded entry by entry is met in the test above."""
    jaxpr = str(jax.make_jaxpr(_elementwise)(0.3, 0.6)) + str(
        jax.make_jaxpr(jax.jacfwd(_elementwise))(0.3, 0.6)
    )
    # The others are those that JAX inserts itself, or that this release lacks.
    others = set("add_any copy clamp shift_left shift_right_arithmetic".split())
    others |= {n for n in ("log2", "mulhi", "one_minus_square") if not hasattr(lax, n)}
    expected = set(filter(is_elementwise, FACTS)) - others
    assert not {name for name in expected if name not in jaxpr}


#
# Shapes, dtypes and inputs that bite
#

SHAPES = {
    "scalar": (lambda x: x * x, np.array(0.5)),
    "one": (lambda x: x * x, np.ones(1)),
    "none": (lambda x: x * x, np.ones(0)),
    "none of some": (lambda x: x[:0], np.ones(3)),
    "some of none": (lambda x: jnp.ones(3) + jnp.sum(x), np.ones(0)),
    "broadcast": (lambda x: x[:, None] * x[None, :1], np.ones(3)),
    "rows and columns": (lambda x: x.sum(0)[None] * x.sum(1)[:, None], np.ones((2, 3))),
    "the input": (lambda x: (x, x[::-1], x.reshape(3, 2).T), np.arange(6.0)),
    "not the input": (lambda x: (jnp.ones(2), jnp.arange(3.0)), np.ones(2)),
    "integers": (lambda x: (x * 2, jnp.argsort(x), x > 0), np.array([2.0, 1.0])),
    "constants": (lambda x: x @ np.eye(3) + np.arange(3.0), np.ones(3)),
    "one of them": (lambda x: x["a"] ** 2, {"a": np.ones(2), "b": np.ones(3)}),
    "a pair": (lambda x: {"y": x[0] @ x[1]}, (np.ones((2, 3)), np.ones(3))),
    "max of some": (lambda x: x.at[1].max(x[0]), np.array([2.0, 1.0, 3.0])),
    "gathered": (lambda x: x[np.array([2, 0, 2])] * x[0], np.arange(1.0, 4.0)),
    "out of bounds": (lambda x: x.at[np.array([7])].get(mode="fill"), np.ones(2)),
    "two shapes": (lambda x: jnp.max(x) + jnp.max(x.reshape(2, 2), 0), np.arange(4.0)),
    "products": (lambda x: jnp.prod(x) * jnp.cumsum(x), np.array([1.0, 0.0, 2.0])),
    "islands": (lambda x: jnp.linalg.inv(x) @ jnp.sin(x), np.eye(2) + 0.1),
    "sorted": (lambda x: jnp.sort(x * x)[::-1], np.array([3.0, 1.0, 2.0])),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    fun, x = SHAPES[name]
    assert_jacobian_close(fun, x, granularity="scalar")


def test_shapes_without_native_calls(monkeypatch):
    monkeypatch.setenv("EQX_CC_NATIVE", "off")
    jax.clear_caches()
    for fun, x in SHAPES.values():
        assert_jacobian_close(fun, x, granularity="scalar")


def test_dtypes_are_those_of_jax():
    def fun(x):
        return (
            x["a"].astype(jnp.float32),
            x["b"][0].astype(x["a"].dtype) * x["a"],
            x["b"] + 1,
        )

    x = {"a": jnp.ones(2), "b": jnp.ones(2, jnp.float32)}
    ours = jax.jit(cc_jacobian(fun, granularity="scalar"))(x)
    arrays = jax.jit(cc_jacobian(fun, granularity="array"))(x)
    assert eqx.tree_equal(ours, arrays, typematch=True)


def test_value_and_aux():
    def fun(x, scale):
        y = jnp.sin(x) * scale
        return {"y": y, "n": jnp.argmax(y)}, (y.sum(), "aux")

    x, scale = jnp.array([0.1, 0.2]), jnp.array(3.0)
    both = eqx_cc.filter_value_and_jacobian(fun, has_aux=True, granularity="scalar")
    (value, aux), ours = eqx.filter_jit(both)(x, scale)
    close((value, aux[0]), (fun(x, scale)[0], fun(x, scale)[1][0]))
    assert aux[1] == "aux"
    close(ours["y"], jnp.diag(jnp.cos(x) * scale))
    assert not ours["n"].any() and ours["n"].shape == (2,)


def test_the_sign_of_zero():
    fun = lambda x: jnp.arctan2(0.0 * x - 0.0, -1.0 + 0.0 * x) * x  # noqa: E731
    assert_jacobian_close(fun, np.array([0.3, -1.2, 2.0]), granularity="auto")
    with pytest.raises(ValueError, match="sign of a zero"):
        cc_jacobian(fun, granularity="scalar")(jnp.ones(3))


def test_values_that_are_not_finite():
    """Zero by structure stays zero; but the value is what the function returns."""

    def fun(x):
        return jnp.array([x[0] * 0.0, jnp.where(x[1] > 0, jnp.log(x[1]), 0.0)])

    both = eqx_cc.filter_value_and_jacobian(fun, granularity="scalar")
    value, ours = jax.jit(both)(jnp.array([jnp.inf, -1.0]))
    np.testing.assert_array_equal(value, [np.nan, 0.0])
    np.testing.assert_array_equal(ours, np.zeros((2, 2)))


#
# Under every transformation
#


def _batches(n: int, *shape: int):
    return Q + 0.1 * np.random.default_rng(n).normal(size=(*shape, 3))


TRANSFORMED = {
    "jit": lambda jac: jax.jit(jac)(Q),
    "eager": lambda jac: jac(Q),
    "vmap": lambda jac: jax.vmap(jac)(_batches(0, 5)),
    "vmap in axis 1": lambda jac: jax.vmap(jac, 1, 2)(_batches(0, 5).T),
    "vmap of vmap": lambda jac: jax.vmap(jax.vmap(jac))(_batches(1, 2, 4)),
    "vmap of none": lambda jac: jax.vmap(jac)(np.ones((0, 3))),
    "scan": lambda jac: lax.scan(lambda q, _: (q + jac(q)[0], jac(q)), Q, length=3),
    "while": lambda jac: lax.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] - 0.1 * jac(c[1])[1]), (0, Q)
    ),
    "vmap of scan": lambda jac: jax.vmap(
        lambda q: lax.scan(lambda q, _: (q + jac(q)[0], jac(q)), q, length=2)
    )(_batches(2, 3)),
    "cond": lambda jac: lax.cond(Q[0] > 0, jac, lambda q: 2 * jac(q), Q),
    "grad": lambda jac: jax.grad(lambda q: jnp.sum(jac(q) ** 2))(Q),
    "grad of vmap": lambda jac: jax.grad(lambda q: jnp.sum(jax.vmap(jac)(q) ** 2))(
        _batches(3, 2)
    ),
    "jacfwd": lambda jac: jax.jacfwd(jac)(Q),
    "jacrev": lambda jac: jax.jacrev(jac)(Q),
    "jvp": lambda jac: jax.jvp(jac, (Q,), (Q,)),
    "linearize": lambda jac: jax.linearize(jac, Q)[1](Q),
    "remat": lambda jac: jax.grad(lambda q: jnp.sum(jax.checkpoint(jac)(q) ** 2))(Q),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformed(name):
    run = TRANSFORMED[name]
    ours, reference = jax.jit(lambda: (run(jacobian), run(expected)))()
    close(ours, reference)


def test_transformed_without_native_calls(monkeypatch):
    monkeypatch.setenv("EQX_CC_NATIVE", "off")
    jax.clear_caches()
    names = "vmap of vmap", "scan", "grad of vmap", "jacrev"
    runs = [TRANSFORMED[name] for name in names]
    ours, reference = jax.jit(
        lambda: ([run(jacobian) for run in runs], [run(expected) for run in runs])
    )()
    close(ours, reference)


def test_captured():
    """What the function captures may be mapped while its argument is not, and the
    other way round."""

    def ours(q, p):
        fun = lambda p: arm(p) * jnp.sum(q) + q[:2]  # noqa: E731
        return cc_jacobian(fun, granularity="scalar")(p)

    def theirs(q, p):
        return jax.jacfwd(lambda p: arm(p) * jnp.sum(q) + q[:2])(p)

    batch = _batches(4, 3)
    for axes in ((0, None), (None, 0), (0, 0)):
        args = [batch if axis == 0 else jnp.asarray(Q) for axis in axes]
        run = lambda f: jax.jit(jax.vmap(f, axes))(*args)  # noqa: E731
        close(run(ours), run(theirs))
    nested = lambda f: jax.jit(  # noqa: E731
        jax.vmap(jax.vmap(f, (None, 0)), (0, None))
    )(batch, batch)
    close(nested(ours), nested(theirs))
    grads = lambda f: jax.jit(jax.grad(lambda q: jnp.sum(f(q, Q) ** 2)))(Q)  # noqa: E731
    close(grads(ours), grads(theirs))


def blocks_of(x, p):
    """Of everything that a block may hold: what is shared and depends on the batch, on
    what is not in it (`p`), and on neither; choices; entries that are known."""
    shared, fixed = jnp.sin(x[0] * x[1]), jnp.exp(jnp.cos(p[1]))
    chosen = jnp.where(x[2] > p[0], shared * fixed, jnp.tanh(x[2]) * shared)
    large = jnp.clip(x * fixed, -1.0, 1.0)
    return jnp.stack([chosen, shared / x[2], 3.0 * x[1], p[0] * x[0], *(large**3)])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_blocks_of_batches(dtype):
    """Batches that fit into blocks, that do not, and that are shorter than one."""
    p = jnp.asarray([0.1, 0.7], dtype)
    fun = lambda x: blocks_of(x, p)  # noqa: E731
    ours = jax.jit(jax.vmap(cc_jacobian(fun, granularity="scalar")))
    points = np.random.default_rng(0).normal(size=(300, 3))
    reference = jax.jit(jax.vmap(jax.jacfwd(fun)))(jnp.asarray(points, dtype))
    for size in (1, 100, 128, 129, 300):
        batch = ours(jnp.asarray(points[:size], dtype))
        close(batch, reference[:size], rtol=10 * RTOL[dtype])


def test_large_results_are_scattered(monkeypatch):
    """Where there is no native call. Entries are shared, known or zero."""
    monkeypatch.setattr(_layout, "_MAX_CONCATENATED", 2)
    monkeypatch.setenv("EQX_CC_NATIVE", "off")
    jax.clear_caches()

    def fun(x):
        return jnp.array([jnp.sin(x[0]), jnp.sin(x[0]) * x[1], 3.0 * x[2], 1.0])

    ours, xs = cc_jacobian(fun, granularity="scalar"), _batches(7, 2)
    lowered = jax.jit(ours).lower(xs[0])
    assert "stablehlo.scatter" in lowered.as_text()
    close(lowered.compile()(xs[0]), jax.jacfwd(fun)(xs[0]))
    loss = lambda f: jax.grad(lambda xs: jnp.sum(jax.vmap(f)(xs) ** 2))  # noqa: E731
    close(*jax.jit(lambda xs: (loss(ours)(xs), loss(jax.jacfwd(fun))(xs)))(xs))


def test_lowered_at_compile_time():
    """What is written once and for all has no constants that are arrays, as tracing has
    them there."""
    for template in (_emit._template, _cse._reciprocal_and_power):
        template.cache_clear()
    jax.clear_caches()
    fun, xs = lambda x: x ** (-2) / x[0], _batches(6, 4) + 0.5
    ours = jax.jit(jax.vmap(cc_jacobian(fun, granularity="scalar")))
    with jax.ensure_compile_time_eval():
        compiled = ours.lower(xs).compile()
    close(compiled(xs), jax.vmap(jax.jacfwd(fun))(xs))
    close(ours(xs), jax.vmap(jax.jacfwd(fun))(xs))


def test_blocks_of_large_results(monkeypatch):
    """They have fewer points."""
    monkeypatch.setattr(_batch, "MAX_BYTES", 1000)
    p, xs = jnp.asarray([0.1, 0.7]), _batches(5, 11)
    ours = jax.vmap(cc_jacobian(lambda x: blocks_of(x, p), granularity="scalar"))
    lowered = jax.jit(ours).lower(xs)
    assert "tensor<5x7x3xf64>" in lowered.as_text()
    close(lowered.compile()(xs), jax.vmap(jax.jacfwd(lambda x: blocks_of(x, p)))(xs))


@pytest.mark.slow
def test_hessian():
    fun = lambda q: jnp.sum(arm(q))  # noqa: E731
    ours = jax.jit(eqx_cc.filter_hessian(fun, granularity="scalar"))(jnp.asarray(Q))
    close(ours, jax.hessian(fun)(Q))
    third = filter_jacobian(eqx_cc.filter_hessian(fun), granularity="scalar")
    close(jax.jit(third)(jnp.asarray(Q)), jax.jacfwd(jax.hessian(fun))(Q))


def _normal(x):
    """As prices by the normal distribution: the derivative of `erf` is a function of
    scalars with a custom derivative in JAX 0.12."""
    a, b, c = x
    return lax.erf(a * c) * c + lax.erf(b * c) * a + lax.erfc(a - b)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_of_the_error_function_are_scalars(dtype):
    x = jnp.array([0.3, -0.8, 1.4], dtype)
    hessian = eqx_cc.filter_jacobian(jax.grad(_normal))
    [function] = native_functions(hessian, x)
    assert isinstance(function, ScalarFunction) and not any(function._stages.arrays)
    actual, expected = jax.jit(hessian)(x), jax.hessian(_normal)(x)
    np.testing.assert_allclose(actual, expected, rtol=RTOL[dtype], atol=RTOL[dtype])


@jax.custom_jvp
def tripled(x):
    return jnp.sin(x) * jnp.exp(x)


@tripled.defjvp
def _(primals, tangents):
    return tripled(*primals), 3.0 * tangents[0] * jnp.cos(primals[0])


@jax.custom_jvp
def constant(x):
    return jnp.ones_like(x) + 1.0


@constant.defjvp
def _(primals, tangents):
    return constant(*primals), jnp.cos(primals[0]) * tangents[0]


@pytest.mark.parametrize("vary", [lambda f: f, jax.vmap])
def test_rules_inside(vary):
    """Read in place for values; the derivatives of what is computed are by the rules.
    A body may not need its argument."""

    def fun(x):
        a, b, c = x
        rate = jax.grad(tripled)(a * b) + tripled(b) * tripled(c)
        return jnp.stack([rate * a, constant(b) * constant(c), rate * c])

    x = _batches(8, 2) if vary is jax.vmap else Q
    for order in range(1, 3):
        ours, reference = fun, fun
        for _ in range(order):
            ours, reference = filter_jacobian(ours), jax.jacfwd(reference)
        if vary is not jax.vmap:
            assert num_native(ours, x) == 1
        close(*jax.jit(lambda x: (vary(ours)(x), vary(reference)(x)))(x))
