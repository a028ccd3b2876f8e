"""Jacobians that are computed some rows or columns at a time."""

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._strategy import select as _select
from jax import lax


W = np.linspace(-1, 1, 12).reshape(4, 3)


def several(tree):
    """Of arrays of two types, a scalar and an integer, with an output that is empty."""
    x, y = tree["x"], tree["y"]
    z = jnp.tanh(jnp.asarray(W, x.dtype) @ x) * tree["s"].astype(x.dtype)
    return z, {"sum": jnp.sum(y**2) + tree["s"], "none": y[:0], "n": tree["n"] + 1}


POINT = {
    "x": jnp.linspace(0.1, 0.9, 3),
    "y": jnp.linspace(-1, 1, 6, dtype=jnp.float32).reshape(2, 3),
    "s": jnp.float32(0.3),
    "n": jnp.array(2),
}


def close(ours, expected, rtol=1e-6):
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol),
        ours,
        expected,
    )
    types = lambda tree: jax.tree.map(lambda x: (x.dtype, x.shape), tree)  # noqa: E731
    assert types(ours) == types(expected)


@pytest.mark.parametrize("order", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("size", [1, 2, 4, 1000])
def test_trees(order, size):
    run = eqx_cc.filter_jacobian(several, order=order, chunk_size=size)
    close(run(POINT), eqx_cc.filter_jacobian(several)(POINT))


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (5,)])
def test_shapes(order, shape):
    x = jnp.full(shape, 0.7)
    fun = lambda x: jnp.outer(x, jnp.sin(x))  # noqa: E731
    run = jax.jit(eqx_cc.cc_jacobian(fun, order=order, chunk_size=2))
    close(run(x), jax.jacfwd(fun)(x))
    assert run(x).shape == jax.jacfwd(fun)(x).shape


def test_transformations_values_and_hessians():
    def fun(x):
        return jnp.sum(jnp.sin(x) * x[::-1] ** 2), x

    x = jnp.linspace(0.2, 1.1, 5)
    options = {"has_aux": True, "chunk_size": 2}
    (value, aux), gradient = eqx_cc.filter_value_and_jacobian(fun, **options)(x)
    np.testing.assert_allclose(gradient, jax.grad(lambda x: fun(x)[0])(x))
    np.testing.assert_allclose(value, fun(x)[0])
    np.testing.assert_array_equal(aux, x)
    hessian, aux = eqx_cc.filter_hessian(fun, **options)(x)
    expected = jax.hessian(lambda x: fun(x)[0])(x)
    np.testing.assert_allclose(hessian, expected, rtol=1e-10)
    xs = jnp.stack([x, 2 * x])
    batched = jax.vmap(eqx_cc.filter_hessian(lambda x: fun(x)[0], chunk_size=3))(xs)
    np.testing.assert_allclose(batched[0], expected, rtol=1e-10)


def largest(fun, *args):
    """The entries of the largest array inside of loops."""

    def walk(jaxpr, inside):
        for eqn in jaxpr.eqns:
            bodies = [v.jaxpr for v in eqn.params.values() if hasattr(v, "jaxpr")]
            for body in bodies:
                yield from walk(body, inside or eqn.primitive.name == "scan")
            if inside:
                yield from (v.aval.size for v in eqn.outvars)

    return max(walk(jax.make_jaxpr(fun)(*args).jaxpr, False), default=0)


def test_memory_of_a_chunk():
    def fun(x):
        return jnp.sum(jnp.sin(jnp.outer(x, jnp.arange(50.0))) ** 2, axis=1)

    x = jnp.linspace(0.1, 1, 40)
    run = eqx_cc.filter_jacobian(fun, order="forward", chunk_size=3)
    assert largest(run, x) == 3 * 40 * 50
    close(run(x), jax.jacfwd(fun)(x))


def test_the_default_takes_chunks_of_what_is_large(monkeypatch):
    monkeypatch.setattr(_select, "_LARGE", 8 * 5 * 40 * 40)

    def fun(x):  # Forward mode is faster: the largest array has 40 * 40 entries.
        y = lax.fori_loop(0, 3, lambda _, y: jnp.sin(y @ y.T), jnp.outer(x, x))
        return jnp.concatenate([y.sum(0), y.sum(1)])

    x = jnp.linspace(0.1, 1, 40)
    run = eqx.filter_jit(eqx_cc.filter_jacobian(fun))
    report = str(eqx_cc.explain(fun, x))
    assert "columns at a time" in report
    close(run(x), jax.jacfwd(fun)(x), rtol=1e-9)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"chunk_size": 0}, "at least 1"),
        ({"chunk_size": -3}, "at least 1"),
        ({"chunk_size": 2, "structured": True}, "dense Jacobians"),
        ({"chunk_size": 2, "order": "markowitz"}, "sweeps"),
        ({"chunk_size": 2, "order": "measured"}, "sweeps"),
        ({"chunk_size": 2, "order": (3, 2)}, "sweeps"),
        ({"chunk_size": 2, "granularity": "scalar"}, "sweeps"),
    ],
)
def test_contradictions(options, message):
    for transform in eqx_cc.filter_jacobian, eqx_cc.cc_jacobian:
        with pytest.raises(ValueError, match=message):
            transform(jnp.sin, **options)


def test_not_an_integer():
    with pytest.raises(TypeError, match="must be an integer"):
        eqx_cc.filter_jacobian(jnp.sin, chunk_size=True)


def test_what_has_no_such_sweep():
    def fun(x):
        return lax.while_loop(lambda x: x[0] < 3, lambda x: 2 * x, x)

    x = jnp.array([1.0, 2.0])
    close(eqx_cc.filter_jacobian(fun, chunk_size=1)(x), jax.jacfwd(fun)(x))
    with pytest.raises(TypeError, match="no sweep"):
        eqx_cc.filter_jacobian(fun, chunk_size=1, order="reverse")(x)

    def branches(x):
        return x if x[0] > 0 else -x

    with pytest.raises(ValueError, match="can be traced"):
        eqx_cc.filter_jacobian(branches, chunk_size=1)(x)
