"""Batches of programs of scalars: as vectors by all threads, or in native calls."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import cc_jacobian
from eqx_cc._scalarise.native import vectors as _vectors
from helpers import RTOL
from jax import lax


def field(x, p):
    """With what is shared and depends on the batch, on what is not in it (`p`), and on
    neither; choices; entries that are known, and one that is an input."""
    shared, fixed = jnp.sin(x[0] * x[1]), jnp.exp(jnp.cos(p[1]))
    chosen = jnp.where(x[2] > p[0], shared * fixed, jnp.tanh(x[2]) * shared)
    large = jnp.clip(x * fixed, -1.0, 1.0)
    return jnp.stack(
        [chosen, shared / x[2], 3.0 * x[1], p[0] * x[0], x[0], *(large**3)]
    )


P = np.array([0.1, 0.7])


def points(*shape: int, dtype="float64"):
    return jnp.asarray(np.random.default_rng(0).normal(size=(*shape, 3)), dtype)


def of_scalars(fun):
    return cc_jacobian(fun, granularity="scalar")


def close(ours, reference, rtol=1e-12):
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, reference)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol),
        ours,
        reference,
    )


def small_call(fun, *args) -> bool:
    return "small_call" in jax.jit(fun).lower(*args).as_text()


@pytest.fixture
def by_threads(monkeypatch):
    """Batches of all sizes are split over several threads."""
    monkeypatch.setattr(_vectors, "_MIN_THREADED", 0)
    monkeypatch.setattr(_vectors, "_num_threads", lambda: 8)
    jax.clear_caches()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(1,), (5,), (0,), (2, 4)])
def test_points(by_threads, shape, dtype):
    p, xs = jnp.asarray(P, dtype), points(*shape, dtype=dtype)

    def run(transform):
        jacobian = transform(lambda x: field(x, p))
        for _ in shape:
            jacobian = jax.vmap(jacobian)
        return jacobian

    assert not small_call(run(of_scalars), xs)
    ours, reference = jax.jit(lambda x: (run(of_scalars)(x), run(jax.jacfwd)(x)))(xs)
    close(ours, reference, rtol=10 * RTOL[dtype])
    assert ours.dtype == reference.dtype


TRANSFORMED = {
    "axis 1": lambda jac: jax.vmap(jac, (1, None), 2)(points(4).T, P),
    "captured": lambda jac: jax.vmap(jac, (None, 0))(points(), np.stack([P, -P])),
    "both": lambda jac: jax.vmap(jac)(points(2), np.stack([P, -P])),
    "nested": lambda jac: jax.vmap(jax.vmap(jac, (None, 0)), (0, None))(
        points(3), np.stack([P, -P])
    ),
    "scan": lambda jac: jax.vmap(
        lambda x: lax.scan(lambda x, _: (x + jac(x, P)[0], jac(x, P)), x, length=2)
    )(points(3)),
    "grad": lambda jac: jax.grad(
        lambda x: jnp.sum(jax.vmap(jac, (0, None))(x, P) ** 2)
    )(points(2)),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformed(by_threads, name):
    def run(transform):
        jacobian = lambda x, p: transform(lambda x: field(x, p))(x)  # noqa: E731
        return TRANSFORMED[name](jacobian)

    close(*jax.jit(lambda: (run(of_scalars), run(jax.jacfwd)))())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite(by_threads, value):
    """As point by point."""
    xs = points(3).at[1, 0].set(value)
    jacobian = of_scalars(lambda x: field(x, P))
    ours, reference = jax.jit(
        lambda xs: (jax.vmap(jacobian)(xs), lax.map(jacobian, xs))
    )(xs)
    np.testing.assert_allclose(ours, reference, rtol=1e-12)


def test_arrays_between_scalars(by_threads):
    """A system that is solved inside is one of arrays."""

    def fun(x):
        matrix = jnp.outer(jnp.sin(x), x) + 4.0 * jnp.eye(3)
        return jnp.cos(jnp.linalg.solve(matrix, x)) * x

    run = lambda way: jax.vmap(way(fun))  # noqa: E731
    close(*jax.jit(lambda x: (run(of_scalars)(x), run(jax.jacfwd)(x)))(points(4)))


@pytest.mark.parametrize("threads", [1, 64])
def test_branches_for_the_whole_batch(by_threads, monkeypatch, threads):
    """An error that no point has is not raised, as one would be if its branch ran."""
    monkeypatch.setattr(_vectors, "_num_threads", lambda: threads)

    def fun(x):
        return eqx.error_if(jnp.sin(x), jnp.any(x > 10.0), "too large") ** 2

    run = lambda way: jax.jit(jax.vmap(way(fun)))(points(4))  # noqa: E731
    close(run(of_scalars), run(jax.jacfwd))


def test_integers_and_no_inputs(by_threads):
    fun = lambda x: (x[0] * x[1], jnp.float32(2.0), jnp.int32(3), x[2])  # noqa: E731
    run = lambda way: jax.vmap(lambda x: way(fun)(x)[::3])  # noqa: E731
    close(*jax.jit(lambda x: (run(of_scalars)(x), run(jax.jacfwd)(x)))(points(4)))


def dear(x):
    """Results that share most of what they take."""
    y = jnp.sin(jnp.cos(jnp.exp(x[0])) * x[1])
    return [k * y + x[k % 2] * y**2 for k in range(12)]


def turned(x):
    return jnp.sin(x) * jnp.cos(x[::-1])


def long(x):
    """A chain of values that would all be stored."""
    for _ in range(9):
        x = turned(x)
    return x


@pytest.mark.parametrize(
    "fun, threads, size, native",
    [
        (long, 1, 4096, True),
        (long, 2, 4096, True),  # Too many for what a thread saves.
        (long, 32, 4096, False),
        (long, 32, 2, True),
        (turned, 1, 4096, True),
        (turned, 2, 4096, False),
        (turned, 8, 4096, False),
        (turned, 8, 2, True),
        (lambda x: [x[0] * x[1], x[0] + jnp.sin(x[1])], 1, 8, False),
        (dear, 1, 8, True),
        (dear, 2, 4096, False),
    ],
)
def test_choice(monkeypatch, fun, threads, size, native):
    """Vectors where there are threads for them, or where results share little and are
    vectors in any case."""
    monkeypatch.setattr(_vectors, "_num_threads", lambda: threads)
    jax.clear_caches()
    x = points(size)
    if isinstance(jax.eval_shape(fun, x[0]), list):
        given, of = [x[:, 0], x[:, 1]], lambda way: way(lambda pair: fun(pair))
    else:
        given, of = x, lambda way: way(fun)
    assert small_call(jax.vmap(of(of_scalars)), given) == native
    close(*(jax.jit(jax.vmap(of(way)))(given) for way in (of_scalars, jax.jacfwd)))
