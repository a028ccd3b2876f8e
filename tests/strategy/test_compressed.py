"""Sweeps that are compressed by a colouring of the pattern, against JAX."""

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._strategy import select
from eqx_cc._strategy.compressed import sweeps as compressed
from eqx_cc._strategy.compressed.colouring import colour_columns, fewest_colours


pytest.importorskip("rustworkx")

NODES = np.random.default_rng(0).integers(0, 9, (7, 3))
KERNEL = np.random.default_rng(1).normal(size=(1, 1, 3, 3))


def mesh(x):
    corners = x[NODES]
    force = jnp.tanh(corners - corners.mean(1, keepdims=True)) * corners[:, :1]
    return jnp.zeros_like(x).at[NODES].add(force)


def image(x):
    kernel = jnp.asarray(KERNEL, x.dtype)
    y = jax.lax.conv_general_dilated(x.reshape(1, 1, 3, 3), kernel, (1, 1), "SAME")
    return jnp.sin(y).ravel()


def shifted(x):
    """Values that add up, known entries, and an output without entries."""
    return {"a": x + jnp.roll(x, 1) * x[::-1], "b": x[2:5], "c": jnp.zeros(2, x.dtype)}


def rows(x):
    """Rows of the Jacobian that are fuller than its columns."""
    return jnp.sum(jnp.sin(x.reshape(3, 3)) * x.reshape(3, 3) ** 2, axis=1)


def two(xs):
    return xs["u"][NODES[:, 0]] * xs["v"] ** 2, jnp.cumsum(xs["v"])[::2], xs["u"][0]


def no_forward_mode(x):
    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, g: (3 * x**2 * g,))
    return x * jnp.roll(x, 1), cube(x[0])


POINT = np.linspace(0.2, 1.7, 9)
CASES = {
    "mesh": (mesh, POINT),
    "image": (image, POINT),
    "shifted": (shifted, POINT),
    "rows": (rows, POINT),
    "one entry": (lambda x: jnp.sin(x[:1]), POINT),
    "scalars": (lambda x: (jnp.sin(x[2]), x[4] * x[5]), POINT),
    "two": (two, {"u": POINT, "v": POINT[:7]}),
    "a hessian": (jax.grad(lambda x: jnp.sum(x[1:] ** 2 * jnp.sin(x[:-1]))), POINT),
    "no forward mode": (no_forward_mode, POINT),
}


@pytest.fixture
def taken(monkeypatch):
    """Takes compressed sweeps wherever there is one; returns a list of their
    directions, one entry for each that has been taken."""
    taken = []

    def recorded(*args):
        prepared = compressed.compressed(*args)
        if prepared is not None:
            assert isinstance(prepared.method, compressed.CompressedSweep)
            taken.append(prepared.method.direction)
        return prepared

    monkeypatch.setattr(compressed, "_LESS", np.inf)
    monkeypatch.setattr(select, "compressed", recorded)
    return taken


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("name", CASES)
def test_against_jax(name, direction, dtype, taken, monkeypatch):
    fun, point = CASES[name]
    x = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), point)
    if name == "no forward mode":
        direction = "reverse"
    monkeypatch.setattr(compressed, "directions", lambda *_: (direction,))
    reference = jax.jacrev if direction == "reverse" else jax.jacfwd

    @jax.jit
    def both(x):
        blocks = eqx_cc.cc_jacobian(fun, structured=True)(x)
        is_block = lambda leaf: isinstance(leaf, eqx_cc.Partial)  # noqa: E731
        ours = jax.tree.map(lambda b: (b.todense(), b.data), blocks, is_leaf=is_block)
        return ours, jax.tree.map(lambda block: (block, ()), reference(fun)(x))

    ours, theirs = both(x)
    assert taken == [direction]
    dense = [leaf[0] for leaf in jax.tree.leaves(ours, is_leaf=_is_pair)]
    for a, b in zip(dense, jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-5 if dtype == "float32" else 1e-12)


def _is_pair(leaf):
    return isinstance(leaf, tuple) and len(leaf) == 2 and hasattr(leaf[0], "ndim")


def test_each_entry_is_stored_once(taken):
    def fun(x):
        return x * jnp.roll(x, 1) + jnp.zeros_like(x).at[NODES].add(x[NODES] ** 2)

    x = jnp.linspace(0.1, 1.0, 12)
    block = jax.jit(eqx_cc.cc_jacobian(fun, structured=True))(x)
    assert taken and block.num_values == block.to_bcoo().nse
    assert block.num_values == np.count_nonzero(jax.jacfwd(fun)(x))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_batches_and_derivatives(direction, taken, monkeypatch):
    monkeypatch.setattr(compressed, "directions", lambda *_: (direction,))
    xs = jnp.linspace(0.1, 1.0, 18).reshape(2, 9)
    ours = jax.vmap(lambda x: eqx_cc.cc_jacobian(mesh, structured=True)(x).todense())
    theirs = jax.vmap(jax.jacfwd(mesh))

    @jax.jit
    def gradients(xs):
        pair = ours, theirs
        return [jax.grad(lambda xs, f=f: jnp.sum(jnp.sin(f(xs))))(xs) for f in pair]

    np.testing.assert_allclose(*gradients(xs), rtol=1e-12)
    assert set(taken) == {direction}


def test_dense_results(taken):
    x = jnp.asarray(np.random.default_rng(2).uniform(0.1, 1.0, 60))
    nodes = np.random.default_rng(3).integers(0, 60, (90, 2))

    def forces(x):
        pull = jnp.sin(x[nodes[:, 0]] - x[nodes[:, 1]]) ** 2
        return jnp.zeros_like(x).at[nodes[:, 0]].add(pull)

    jacobian = eqx_cc.cc_jacobian(forces, granularity="array")
    ours, theirs = jax.jit(lambda x: (jacobian(x), jax.jacfwd(forces)(x)))(x)
    assert taken
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_factors_and_full_matrices_are_left_to_elimination(taken):
    x = jnp.linspace(0.1, 1.0, 9)
    block = eqx_cc.cc_jacobian(lambda x: x / jnp.sum(x), structured=True)
    assert jax.jit(block)(x).factors
    jax.jit(eqx_cc.cc_jacobian(lambda x: jnp.outer(x, x) @ x, structured=True))(x)
    mixed = lambda x: (x, jnp.asarray(x[:2] ** 2, jnp.float32))  # noqa: E731
    jax.jit(eqx_cc.cc_jacobian(mixed, structured=True))(x)
    eqx_cc.cc_jacobian(mesh, structured=True)(x)  # Not compiled.
    given = eqx_cc.cc_jacobian(mesh, order="reverse", structured=True)
    jax.jit(given)(x)
    assert not taken


@pytest.mark.parametrize("seed", range(5))
def test_colours(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.random((12, 20)) < 0.15
    rows, columns = np.nonzero(matrix)
    colours = colour_columns(rows, columns, matrix.shape)
    assert colours.shape == (20,) and colours.min() == 0
    assert colours.max() + 1 >= fewest_colours(rows) == matrix.sum(1).max()
    for colour in set(colours):
        assert matrix[:, colours == colour].sum(1).max() <= 1


def test_large_patterns_are_not_listed(taken, monkeypatch):
    """A full block of 10^8 entries, a band of 10^7, a row that is full."""
    monkeypatch.setattr(compressed, "positions", None)
    for fun, size in (
        (lambda x: jnp.sin(x) * jnp.sum(x**2) ** jnp.sin(x), 10_000),
        (lambda x: jnp.sin(x) * jnp.roll(x, 1), 10_000_000),
    ):
        jacobian = eqx_cc.cc_jacobian(fun, structured=True)
        x = jax.ShapeDtypeStruct((size,), jnp.float32)
        jax.make_jaxpr(lambda x, f=jacobian: f(x).values)(x)
    assert not taken


def test_many_conflicts_are_not_coloured(taken, monkeypatch):
    monkeypatch.setattr(compressed, "colour_columns", None)
    arrow = lambda x: x**2 * jnp.roll(x, 1) + x[0]  # noqa: E731
    total = lambda x: jnp.stack([jnp.sum(x**3), x[1]])  # noqa: E731
    monkeypatch.setattr(compressed, "_MOST", 100_000)
    for fun in (arrow, total):
        jacobian = eqx_cc.cc_jacobian(fun, structured=True)
        jax.make_jaxpr(lambda x, f=jacobian: f(x).values)(jnp.ones(30_000))
    assert not taken
