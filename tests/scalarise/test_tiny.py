"""Functions of a few dozen operations, which XLA fuses with the loop around them."""

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._scalarise.native import call as _call, layout as _layout
from helpers import native_functions
from jax import lax


def oregonator(y):
    a, b, c = y
    rates = 77.27 * (b + a * (1 - 8.375e-6 * a - b)), (c - (1 + a) * b) / 77.27
    return jnp.stack([*rates, 0.161 * (a - c)])


def pendulum(y):
    angle, speed = y
    return {"y": jnp.stack([speed, -jnp.sin(angle)]), "energy": 0.5 * speed**2}


def chain(y):
    return (jnp.roll(y, -1) - jnp.roll(y, 2)) * jnp.roll(y, 1)


def rotations(q):
    pose = jnp.eye(3)
    for angle in q:
        c, s = jnp.cos(angle), jnp.sin(angle)
        pose = pose @ jnp.array([[c, -s, 1.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return pose[:2, 2]


CASES = {
    "oregonator": (oregonator, 3, True),
    "several outputs": (pendulum, 2, True),
    "many rows": (chain, 10, False),
    "much that is shared": (rotations, 7, False),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_tiny(name):
    fun, size, is_tiny = CASES[name]
    y = jnp.linspace(0.3, 0.9, size)
    jacobian = eqx_cc.filter_value_and_jacobian(fun)
    [function] = native_functions(jacobian, y)
    assert function._is_tiny == is_tiny
    lowered = jax.jit(jacobian).lower(y)
    assert ("xla_cpu_small_call" in lowered.as_text()) == (not is_tiny)
    value, ours = lowered.compile()(y)
    jax.tree.map(np.testing.assert_allclose, value, fun(y))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13),
        ours,
        jax.jacfwd(fun)(y),
    )


def test_in_a_loop_and_in_a_batch():
    """A batch of tiny functions is a native loop, as it was."""
    jacobian, y = eqx_cc.filter_jacobian(oregonator), jnp.asarray([0.3, 0.2, 0.5])

    def loop(jacobian):
        return lax.fori_loop(0, 5, lambda _, y: y + 1e-3 * jnp.sum(jacobian(y), 0), y)

    np.testing.assert_allclose(
        jax.jit(loop, static_argnums=0)(jacobian),
        loop(jax.jacfwd(oregonator)),
        rtol=1e-12,
    )
    batch = jax.jit(jax.vmap(jacobian)).lower(jnp.ones((8, 3)))
    assert "xla_cpu_small_call" in batch.as_text()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("shape", [(2, 4), (2, 2, 3), (5,), (3, 1), (2, 0)])
@pytest.mark.parametrize("fuses", [False, True])
def test_rows_are_those_of_one_concatenation(fuses, shape, dtype, monkeypatch):
    monkeypatch.setattr(_layout, "FUSES_CONCATENATIONS", fuses)
    size = int(np.prod(shape))
    base = np.zeros(size, dtype)
    base[1::3] = 3 if dtype == "int32" else -0.0
    scalars = [jnp.asarray(k, dtype) for k in range(1, 4)]
    positions = tuple(range(0, size, 2))
    sources = tuple(k % 3 for k in positions)
    layout = _layout.Layout(shape, base.dtype, base.tobytes(), positions, sources)
    ours, theirs = (
        np.asarray(jax.jit(f, static_argnums=0)(layout, scalars))
        for f in (_layout.assembled_and_fused, _layout.assembled)
    )
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes()  # With the signs of zeros.


def test_infinities_are_not_multiplied():
    """Entries are selected: one that is infinite stays alone."""
    fun = lambda y: jnp.stack([jnp.sqrt(y[0]), y[1], y[0] * y[1]])  # noqa: E731
    y = jnp.asarray([0.0, 2.0])
    ours = jax.jit(eqx_cc.filter_jacobian(fun))(y)
    np.testing.assert_array_equal(ours, [[np.inf, 0], [0, 1], [2, 0]])


def test_work_that_is_repeated_counts(monkeypatch):
    monkeypatch.setattr(_call, "_LITTLE_WORK", 5)
    [function] = native_functions(eqx_cc.filter_jacobian(oregonator), jnp.ones(3))
    assert not function._is_tiny


def test_many_results_are_a_native_call():
    """Each would be a loop, which computes what they share."""
    for count, tiny in ((4, True), (5, False)):
        fun = lambda x, n=count: [jnp.sin(x) * k for k in range(1, n + 1)]  # noqa: E731
        [function] = native_functions(eqx_cc.filter_jacobian(fun), jnp.asarray(0.5))
        assert function._is_tiny == tiny
