"""Functions that are evaluated in one native call are the same functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import cc_jacobian
from eqx_cc._solve.native_parts import natively


POINT = jnp.array([0.3, -1.2, 2.5])
OTHER = {"a": jnp.array(0.7), "n": jnp.array(3), "b": jnp.array(True)}


@jax.custom_jvp
def clipped(x):
    return jnp.clip(x, -1.0, 1.0)


@clipped.defjvp
def _(primals, tangents):
    return clipped(*primals), 100.0 * tangents[0]  # To be told from that of JAX.


def several(x, other):
    """Of arrays, numbers, integers and truth values; with a rule of its own."""
    y = jnp.stack([x[0] * x[1], clipped(x[2]), jnp.sin(other["a"]) / x[0]])
    where = other["b"] & (y > 0)
    return {"y": y, "n": other["n"] + 1, "where": where, "none": None, "x": x[1]}


def plain(fun, *args):
    return fun(*args)


def num_native(run, *args):
    return str(jax.make_jaxpr(run)(*args)).count("native_call[")


def close(ours, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), ours, expected
    )
    assert dtypes(ours) == dtypes(expected)


def dtypes(tree):
    return jax.tree.map(lambda x: x.dtype, tree)


def test_values():
    ours = jax.jit(lambda *args: natively(several, *args))
    assert num_native(ours, POINT, OTHER) == 1
    close(ours(POINT, OTHER), several(POINT, OTHER))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_batches_of_what_is_captured(axes):
    def run(way, x, p):
        return way(lambda x: jnp.sin(x * p) + p[0] * x[1], x)

    batch = jnp.linspace(0.5, 2.0, 12).reshape(4, 3)
    args = [POINT if axis is None else batch for axis in axes]
    ours, theirs = (
        jax.jit(jax.vmap(lambda x, p: run(way, x, p), axes))
        for way in (natively, plain)
    )
    close(ours(*args), theirs(*args))


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_are_those_of_the_rules(mode):
    """With respect to what is captured as well."""

    def run(way):
        fun = lambda x, a: clipped(x) * a + jnp.sin(a)  # noqa: E731
        derivative = mode(lambda x, a: way(lambda x: fun(x, a), x), (0, 1))
        return jax.jit(derivative)(POINT, OTHER["a"])

    close(run(natively), run(plain))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(value):
    """Zeros of a matrix would make it finite: such a function stays one of arrays."""
    matrix = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    ours = jax.jit(lambda x: natively(lambda x: matrix @ x, x))
    point = POINT.at[2].set(value)
    np.testing.assert_array_equal(ours(point), jax.jit(lambda x: matrix @ x)(point))


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: jax.lax.fori_loop(0, 3, lambda i, y: jnp.sin(y), x),
        lambda x: jnp.linalg.inv(jnp.outer(x, x) + jnp.eye(3)),
        lambda x: jnp.tile(x, 1000),
    ],
)
def test_others_are_as_they_were(fun):
    ours = jax.jit(lambda x: natively(fun, x))
    assert num_native(ours, POINT) == 0
    close(ours(POINT), jax.jit(fun)(POINT))


def test_effects_happen():
    calls = []

    def fun(x):
        jax.debug.callback(lambda x: calls.append(float(x)), x[0])
        return 2.0 * x

    jax.jit(lambda x: natively(fun, x))(POINT)
    jax.effects_barrier()
    assert calls == [0.3]


def test_what_is_captured_and_not_needed():
    def run(way, a, c):
        fun = lambda y: (jnp.sin(c), y - jnp.tanh(y) * a)[1]  # noqa: E731
        return jnp.sum(way(fun, POINT))

    ours, expected = (
        jax.jit(jax.grad(lambda a, c: run(way, a, c)))(1.0, 2.0)
        for way in (natively, plain)
    )
    close(ours, expected)


def test_no_tracer_is_kept():
    with jax.checking_leaks():
        jax.jit(lambda a: natively(lambda x: jnp.sin(x) * a, POINT))(2.0)


def test_what_is_captured_and_split_over_devices():
    """Its entries cannot be taken one by one."""
    mesh = jax.make_mesh((1,), ("i",))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("i"))
    array = jax.device_put(jnp.arange(4.0), split)
    fun = lambda x, c: jnp.sin(x[0]) * c  # noqa: E731
    value = jax.jit(lambda x, c: natively(lambda x: fun(x, c), x))
    close(value(POINT, array), fun(POINT, array))
    ours = jax.jit(lambda x, c: cc_jacobian(lambda x: fun(x, c))(x))(POINT, array)
    expected = jax.jacfwd(lambda x: fun(x, jnp.arange(4.0)))(POINT)
    np.testing.assert_allclose(ours, expected)
