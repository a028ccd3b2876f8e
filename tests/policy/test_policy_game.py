"""The elimination game costs what plans cost, and refuses what is no move."""

import random

import eqx_cc
import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.orders import published_graph
from eqx_cc import ComputationalGraph, Flops, Multiplications, Published, Traffic
from eqx_cc._graph.elimination import plan
from eqx_cc._orders.baseline import order_cost
from eqx_cc.policy import new_game, new_games, numbering, step


NAMES = ["RoeFlux_1d", "RobotArm_6DOF", "HumanHeartDipole", "PropaneCombustion"]
COSTS = [Published(), Multiplications(), Flops(), Traffic()]
_costs = pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.name)


@jax.jit
def _totals(game, state, moves):
    """The cost after every move, by batches."""

    def move(state, vertex):
        state, reward = jax.vmap(step)(game, state, vertex)
        return state, (state.total, reward)

    return jax.lax.scan(move, state, moves.T)


def _play(graphs, cost, orders, **kwargs):
    games, states = new_games(graphs, cost, **kwargs)
    longest = max(map(len, orders))
    moves = [
        [numbering(graph).index(name) for name in order] + [0] * (longest - len(order))
        for graph, order in zip(graphs, orders)
    ]
    moves = np.asarray(moves, np.int32).reshape(len(graphs), longest)
    states, (totals, rewards) = _totals(games, states, jnp.asarray(moves))
    assert states.finished.all() and not states.illegal.any()
    scored = -rewards.sum(0).astype(float) * games.baseline
    np.testing.assert_allclose(scored, states.total, rtol=1e-5)
    return totals, states


def _assert_costs(graphs, cost, seeds=3, **kwargs):
    """The total is that of the space, of any order; at every graph."""
    for seed in range(seeds):
        rng = random.Random(seed)
        orders = [rng.sample(g.intermediates, len(g.intermediates)) for g in graphs]
        _, states = _play(graphs, cost, orders, **kwargs)
        for i, (graph, order) in enumerate(zip(graphs, orders)):
            assert states.total[i] == order_cost(graph, order, cost)
            if isinstance(cost, Multiplications):
                counted = plan(graph, tuple(order)).num_multiplications
                assert states.total[i] == counted


@_costs
def test_published_graphs(cost):
    for name in NAMES:
        _assert_costs([published_graph(name)], cost, seeds=1)


@_costs
def test_random_graphs_in_one_batch(cost):
    _assert_costs([helpers.random_graph(seed) for seed in range(40)], cost)


def _perceptron(w, v, x):
    return jnp.tanh(v @ jnp.tanh(w @ x)) * x


def _stencil(x):
    y = jnp.sin(x[1:]) * x[:-1]
    return jnp.sum(y) * x + jnp.exp(x), y[::2] * y[1::2]


def _constants(x):
    """Scalars, with coefficients that are known, and two that cancel."""
    a = jnp.sin(x)
    b = 2.0 * a - x
    return (b + a - b) * jnp.cos(x), -b


FUNCTIONS = {
    "perceptron": (_perceptron, (jnp.ones((3, 4)), jnp.ones((4, 3)), jnp.ones(4))),
    "stencil": (_stencil, (jnp.ones(5),)),
    "constants": (_constants, (jnp.ones(()),)),
    "nothing": (lambda x: x, (jnp.ones(3),)),
    "empty": (lambda x: jnp.sin(x) * x, (jnp.ones((0,)),)),
}


def _graph(name):
    fun, args = FUNCTIONS[name]
    return eqx_cc.trace(lambda xs: fun(*xs), args).graph


@pytest.mark.parametrize("name", ["stencil", "constants", "nothing", "empty"])
@_costs
def test_structured_graphs(name, cost):
    _assert_costs([_graph(name)], cost)


@_costs
def test_structured_graphs_in_one_batch(cost):
    """With a perceptron, of 8 vertices, and with scalars."""
    graphs = [_graph("perceptron"), _graph("stencil"), helpers.random_graph(0)]
    _assert_costs(graphs, cost, size=40)


def test_known_coefficients_in_one_batch():
    """Scalars that are known with some that are not."""
    graphs = [_graph("constants"), helpers.random_graph(1)]
    _assert_costs(graphs, Multiplications())
    _, state = new_game(graphs[0])
    assert jnp.isnan(state.edges).any() and (state.edges == -1).any()


def test_the_cost_of_every_vertex():
    """Before any move is made, and after some."""
    move = jax.jit(step)
    costs_of = jax.jit(lambda rules, edges: rules.costs(edges))
    chosen = zip(
        (_graph("stencil"), _graph("constants"), helpers.random_graph(2)), COSTS
    )
    for graph, cost in chosen:
        game, state = new_game(graph, cost)
        for name in graph.intermediates:
            costs = costs_of(game.rules, state.edges)
            for vertex in np.flatnonzero(state.remaining):
                after, _ = move(game, state, jnp.asarray(vertex))
                assert after.total - state.total == costs[vertex]
            vertex = numbering(graph).index(name)
            state, _ = move(game, state, jnp.asarray(vertex))


def test_illegal_moves_are_refused():
    graph = ComputationalGraph.from_edges(4, [0], [3], [(0, 1), (1, 2), (2, 3)])
    move, (game, start) = jax.jit(step), new_game(graph, size=6)
    state, _ = step(game, start, jnp.asarray(1))
    for vertex in (0, 1, 3, 5, 6, -1, 1000):  # Inputs, outputs, gone, padding, outside.
        new, reward = move(game, state, jnp.asarray(vertex))
        assert new.illegal and not state.illegal and reward == 0
        for name in ("edges", "remaining", "total"):
            assert (getattr(new, name) == getattr(state, name)).all()
    over, _ = step(game, state, jnp.asarray(2))
    assert over.finished and over.total == 2
    new, reward = step(game, over, jnp.asarray(2))
    assert new.finished and not new.illegal and reward == 0 and new.total == 2


def test_padding_changes_nothing():
    graph = helpers.random_graph(3)
    order = graph.intermediates[::-1]
    small, _ = _play([graph], Published(), [order])
    large, _ = _play([graph], Published(), [order], size=64)
    assert (small == large).all()


def test_what_is_refused():
    graph = helpers.random_graph(0)
    with pytest.raises(ValueError, match="`size` must be at least"):
        new_game(graph, size=3)
    with pytest.raises(ValueError, match="`graph` must have at most 2 patterns"):
        new_game(_graph("stencil"), Flops(), patterns=2)


def test_depth_and_height():
    edges = [(0, 2), (2, 3), (3, 4), (1, 4), (4, 5), (1, 5)]
    game, _ = new_game(ComputationalGraph.from_edges(6, [0, 1], [5], edges), size=7)
    assert game.depth.tolist() == [0, 0, 1, 2, 3, 4, 0]
    assert game.height.tolist() == [4, 2, 3, 2, 1, 0, 0]
