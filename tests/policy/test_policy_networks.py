"""Policies: whatever vertices are called, and however many there are."""

import functools as ft

import equinox as eqx
import eqx_cc
import helpers
import jax
import jax.numpy as jnp
import jax.random as jr
import jaxtyping
import numpy as np
import pytest
from benchmarks.orders import published_graph
from eqx_cc import ComputationalGraph, Flops, MinimalMarkowitz, Published
from eqx_cc._orders.baseline import order_cost
from eqx_cc.policy import (
    EdgeTransformer,
    EliminationState,
    GraphPolicy,
    Markowitz,
    new_game,
    new_games,
    numbering,
    pretrained,
    rollout,
    step,
)


pytestmark = pytest.mark.usefixtures("quickly_compiled")


def _trained(policy):
    """With other weights than those it begins with, some of which are zero."""
    weights, rest = eqx.partition(policy, eqx.is_array)
    leaves, tree = jax.tree.flatten(weights)
    noise = [
        leaf + 0.2 * jr.normal(jr.key(i), leaf.shape, leaf.dtype)
        for i, leaf in enumerate(leaves)
    ]
    return eqx.combine(jax.tree.unflatten(tree, noise), rest)


UNTRAINED = {
    "markowitz": Markowitz,
    "graph": lambda: GraphPolicy(8, 2, key=jr.key(0)),
    "transformer": lambda: EdgeTransformer(8, 2, 2, key=jr.key(0)),
}
_policies = pytest.mark.parametrize("name", [*UNTRAINED, "pretrained"])
_untrained = pytest.mark.parametrize("name", UNTRAINED)


@ft.cache
def _policy(name):
    return pretrained() if name == "pretrained" else _trained(UNTRAINED[name]())


@ft.cache
def _jitted(name):
    return eqx.filter_jit(_policy(name))


def _structured():
    fun = lambda x: (jnp.sum(jnp.sin(x[1:]) * x[:-1]) * x, jnp.exp(x)[::2])  # noqa: E731
    return eqx_cc.trace(fun, jnp.ones(5)).graph


_step = jax.jit(step)


@ft.cache
def _states(size=None):
    """Before the first move, and after two, of two graphs under two cost models."""
    positions = []
    for graph, cost in (
        (helpers.random_graph(5), Published()),
        (_structured(), Flops()),
    ):
        game, state = new_game(graph, cost, size=size)
        positions.append((game, state))
        for name in graph.intermediates[::3][:2]:
            state, _ = _step(game, state, jnp.asarray(numbering(graph).index(name)))
        positions.append((game, state))
    return positions


def _permuted(tree, order, n):
    """The arrays that have an axis of vertices with it in another order. None of the
    others is as long."""

    def permute(leaf):
        for axis in range(leaf.ndim):
            if leaf.shape[axis] == n:
                leaf = jnp.take(leaf, order, axis)
        return leaf

    return jax.tree.map(permute, tree)


@_policies
def test_equivariant_to_renumbering(name):
    policy, rng = _jitted(name), np.random.default_rng(0)
    for game, state in _states(size=29):
        n = state.remaining.size
        order = jnp.asarray(rng.permutation(n))
        logits, value = policy(game, state)
        others = policy(_permuted(game, order, n), _permuted(state, order, n))
        assert np.ptp(np.asarray(logits[state.remaining])) > 0
        np.testing.assert_allclose(others[0], logits[order], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(others[1], value, rtol=1e-4)


@_policies
def test_invariant_to_padding(name):
    policy = _jitted(name)
    for small, large in zip(_states(), _states(size=29)):
        n = small[1].remaining.size
        (logits, value), padded = policy(*small), policy(*large)
        np.testing.assert_allclose(padded[0][:n], logits, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(padded[1], value, rtol=1e-4)
        assert (padded[0][n:] == -jnp.inf).all()


@_policies
def test_only_what_remains(name):
    policy = _jitted(name)
    for game, state in _states():
        logits, value = policy(game, state)
        assert (jnp.isfinite(logits) == state.remaining).all()
        assert jnp.isfinite(value) and value <= 0
        assert logits.dtype == value.dtype == jnp.float32


@_policies
def test_of_no_vertex_and_of_one(name):
    """With and without padding; the one is an input and an output."""
    for ends in ([], [0]):
        graph = ComputationalGraph.from_edges(len(ends), ends, ends, [])
        for size in (1, 8):
            game, state = new_game(graph, Published(), size=size)
            logits, value = _jitted(name)(game, state)
            assert (logits == -jnp.inf).all() and value == 0


@_policies
@pytest.mark.parametrize("edges", [[], [(0, 2)], [(0, 1), (1, 2)]], ids=str)
def test_next_to_nothing(name, edges):
    graph = ComputationalGraph.from_edges(3, [0], [2], edges)
    for size in (3, 8):
        game, state = new_game(graph, Published(), size=size)
        logits, value = _jitted(name)(game, state)
        assert (jnp.isfinite(logits) == state.remaining).all()
        assert jnp.isfinite(value) and (state.finished <= (value == 0))


@pytest.mark.parametrize("name", ["graph", "transformer"])
def test_gradients_are_finite(name):
    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(policy, game, state):
        logits, value = policy(game, state)
        return jnp.max(logits) + value

    for game, state in _states(size=29):
        leaves = jax.tree.leaves(gradient(_policy(name), game, state))
        assert all(jnp.isfinite(leaf).all() for leaf in leaves)
        assert sum(bool(jnp.any(leaf != 0)) for leaf in leaves) > len(leaves) / 2


@_untrained
def test_untrained_it_is_the_markowitz_rule(name):
    """Exactly, ties included."""
    graphs = [published_graph("HumanHeartDipole"), *map(helpers.random_graph, range(9))]
    games, states = new_games(graphs, Published())
    play = eqx.filter_jit(eqx.filter_vmap(rollout, in_axes=(None, 0, 0)))
    states, orders = play(UNTRAINED[name](), games, states)
    for i, graph in enumerate(graphs):
        expected = MinimalMarkowitz()(graph)
        assert states.total[i] == order_cost(graph, expected, Published())
        assert tuple(numbering(graph)[v] for v in orders[i] if v >= 0) == expected


def test_random_play_is_drawn_by_the_key():
    graph = helpers.random_graph(7)
    game, start = new_game(graph, Published())
    play = eqx.filter_jit(rollout)
    one, two, other = (
        play(Markowitz(1.0), game, start, jr.key(seed)) for seed in (0, 0, 1)
    )
    assert (one[1] == two[1]).all() and not (one[1] == other[1]).all()
    for state, order in (one, other):
        moves = [numbering(graph)[v] for v in order if v >= 0]
        assert sorted(moves) == list(graph.intermediates)
        assert state.total == order_cost(graph, moves, Published())


def test_shapes_are_checked():
    """In tests, by jaxtyping and beartype."""
    _, state = new_game(_structured(), Flops())
    n = state.remaining.size
    for edges in (state.edges[:-1], state.edges[None], state.edges[: n - 1, : n - 1]):
        with pytest.raises(jaxtyping.TypeCheckError):
            EliminationState(edges, state.remaining, state.total, state.illegal)


def test_bad_widths():
    with pytest.raises(ValueError, match="`width` must be a multiple of `heads`"):
        EdgeTransformer(10, heads=4, key=jr.key(0))
