"""The structure of a loop's Jacobian: the entries that so many iterations reach."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import cc_jacobian
from jax import lax
from test_control_flow import array, jit


def assert_exact(fun: Callable, x, *, most: float = 1):
    """The values are those of `jax.jacfwd`, and there are at most `most` times as many
    positions as non-zeros."""

    @jit
    def jacobians(x):
        blocks = cc_jacobian(fun, structured=True)(x)
        is_leaf = lambda leaf: hasattr(leaf, "to_bcoo")  # noqa: E731
        blocks = jax.tree.leaves(blocks, is_leaf=is_leaf)
        return [(b, b.materialise()) for b in blocks], jax.jacfwd(fun)(x)

    pairs, expected = jacobians(x)
    leaves, listed, nonzero = jax.tree.leaves(expected), 0, 0
    assert len(pairs) == len(leaves)
    for (block, dense), leaf in zip(pairs, leaves):
        np.testing.assert_allclose(dense, leaf, rtol=1e-11, atol=1e-13)
        listed += block.to_bcoo().nse
        nonzero += np.count_nonzero(leaf)
    assert listed <= most * nonzero


def periodic(y):
    return y + 0.1 * (jnp.roll(y, 1) - 2 * y + jnp.roll(y, -1)) * y


def bounded(y):
    inner = (y[2:] - 2 * y[1:-1] + y[:-2]) * y[1:-1]
    return y.at[1:-1].add(0.1 * inner)


EDGES = np.array([[0, 4], [4, 2], [2, 9], [9, 1], [7, 3], [3, 5], [6, 11], [8, 10]])


def mesh(y):
    """Fluxes over the edges of a network, whose ends are index tables."""
    a, b = EDGES.T
    flux = jnp.sin(y[a] - y[b]) * y[a]
    return y.at[a].add(-0.1 * flux).at[b].add(0.1 * flux)


def rolled(y):
    return jnp.roll(y, 1)


def cells(y):
    """Cells of three entries each, that do not mix."""
    return jnp.sin(y.reshape(-1, 3) @ jnp.array(array(3, 3, seed=1))).reshape(-1)


def steps(step: Callable, length: int) -> Callable:
    return lambda x: lax.fori_loop(0, length, lambda _, y: step(y), x)


STEPS: dict[str, tuple[Callable, int]] = {
    "periodic": (periodic, 24),
    "bounded": (bounded, 24),
    "mesh": (mesh, 12),
}


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("name", STEPS)
def test_a_few_steps(name, length):
    step, size = STEPS[name]
    assert_exact(steps(step, length), array(size))


@pytest.mark.parametrize("length", [9, 10])
@pytest.mark.parametrize("name", STEPS)
def test_many_steps(name, length):
    """A loop that is not unrolled, whose blocks are lists of entries."""
    step, size = STEPS[name]
    size = 2 * size if name != "mesh" else size
    assert_exact(steps(step, length), array(size))


def test_most_of_a_block_is_dense():
    block = cc_jacobian(steps(periodic, 20), structured=True)(array(24))
    assert block.structure == "dense"


@pytest.mark.parametrize("length", [2, 12])
def test_cells_stay_apart(length):
    assert_exact(steps(cells, length), array(12))


@pytest.mark.parametrize("length", [2, 12])
def test_permutations_stay_permutations(length):
    assert_exact(steps(rolled, length), array(30))


def while_of(step: Callable, most: float) -> Callable:
    """As many steps as it takes."""

    def fun(x):
        _, y = lax.while_loop(
            lambda state: state[0] < most + x[0] * 0,
            lambda state: (state[0] + 1, step(state[1])),
            (0.0, x),
        )
        return y

    return fun


def test_a_while_loop_of_cells():
    assert_exact(while_of(cells, 3.0), array(12))


def test_a_while_loop_in_parts():
    """A mesh of parts that no edge joins: each fills, and no entry between them."""
    block = cc_jacobian(while_of(mesh, 4.0), structured=True)(array(12))
    parts = [5, 3, 2, 2]  # Nodes of the four parts.
    assert block.to_bcoo().nse == sum(n * n for n in parts)
    assert_exact(while_of(mesh, 12.0), array(12))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 3])
def test_stacks_of_a_few_steps(length, reverse):
    def fun(x):
        y, xs = x[:14], x[14:]
        step = lambda y, u: (bounded(y).at[3].add(u * u), y[::5] * u)  # noqa: E731
        return lax.scan(step, y, xs, reverse=reverse)

    assert_exact(fun, array(14 + length), most=1.1)


def test_rows_of_a_few_steps():
    """Fewer results than operands: reverse accumulation."""

    def fun(weights, y):
        step = lambda y, w: (bounded(y) * w, y[3])  # noqa: E731
        return lax.scan(step, y, weights)

    assert_exact(lambda x: fun(x[:36].reshape(3, 12), x[36:]), array(48), most=1.1)


def test_stacks_of_many_steps():
    def fun(x):
        step = lambda y, u: (bounded(y).at[3].add(u * u), y[::9] * u)  # noqa: E731
        return lax.scan(step, x[:36], x[36:])

    block = jit(lambda x: cc_jacobian(fun, structured=True)(x))(array(46))
    expected = jit(jax.jacfwd(fun))(array(46))
    for ours, leaf in zip(block, expected):
        np.testing.assert_allclose(ours.materialise(), leaf, rtol=1e-11, atol=1e-13)
    assert block[0].to_bcoo().nse < 0.8 * expected[0].size


def test_nested_loops():
    assert_exact(steps(steps(periodic, 2), 2), array(24))
    assert_exact(steps(lambda y: while_of(cells, 2.0)(y) * y, 3), array(12))


def test_branches_of_many_kinds():
    """A branch with more kinds of terms than a cover keeps apart: a list."""

    def fun(x):
        return lax.cond(x[0] > 0.0, steps(periodic, 3), lambda y: 2.0 * y, x)

    assert_exact(fun, array(24))
