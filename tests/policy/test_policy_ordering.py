"""Policies as orderings: of scalars, of structured blocks, and while tracing."""

import functools as ft
import importlib.util
import itertools as it

import equinox as eqx
import eqx_cc
import helpers
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from benchmarks.cases.tasks import TASKS
from benchmarks.orders import published_graph
from eqx_cc import (
    AbstractCost,
    Annealing,
    Flops,
    MinimalMarkowitz,
    Multiplications,
    Published,
)
from eqx_cc._orders.baseline import order_cost
from eqx_cc._orders.cache import default_cache
from eqx_cc._orders.orderings import check_order
from eqx_cc.policy import (
    AbstractPolicy,
    AlphaZero,
    evaluate,
    GraphPolicy,
    held_out,
    Markowitz,
    new_game,
    numbering,
    PolicyAnnealing,
    PolicyOrdering,
    pretrained,
)
from eqx_cc.policy._game.host import hosted_rollout
from eqx_cc.policy._search.shorten import shortened
from jaxtyping import Array, Float


@ft.cache
def _policy():
    return GraphPolicy(8, 1, key=jr.key(0))


@ft.cache
def _trained():
    """Not really, but it does not play as it does at first."""
    return eqx.tree_at(
        lambda policy: policy.heads.logits.second.weight,
        _policy(),
        3.0 * jr.normal(jr.key(1), (1, 8), jnp.float32),
    )


def _cost(graph, ordering, cost: AbstractCost = Published()):
    order = ordering(graph)
    check_order(graph, order)
    return order_cost(graph, order, cost)


def _structured():
    fun = lambda x: (jnp.sum(jnp.sin(x[1:]) * x[:-1]) * x, jnp.exp(x)[::2])  # noqa: E731
    return eqx_cc.trace(fun, jnp.ones(5)).graph


def test_untrained_it_is_markowitz():
    for name in ("RoeFlux_1d", "PropaneCombustion"):
        graph = TASKS[name].graph
        assert PolicyOrdering(_policy())(graph) == MinimalMarkowitz()(graph)


def test_more_games_are_no_worse():
    one, many = 0, 0
    for graph in held_out(3, 20, 30):
        costs = [
            _cost(graph, PolicyOrdering(Markowitz(), beam=beam, cost="published"))
            for beam in (1, 16)
        ]
        assert costs[1] <= costs[0]
        one, many = one + costs[0], many + costs[1]
    assert many < one


def test_simulations():
    """On average they are better than the Markowitz rule alone."""
    pytest.importorskip("mctx")
    graphs = [helpers.random_graph(seed, inner=12) for seed in range(20)]
    graphs = [graph for graph in graphs if len(graph.intermediates) >= 6]
    ordering = PolicyOrdering(Markowitz(), num_simulations=16, cost="published")
    searched = sum(_cost(graph, ordering) for graph in graphs)
    assert searched < sum(_cost(graph, MinimalMarkowitz()) for graph in graphs)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PolicyOrdering(Markowitz(), num_simulations=2),
        lambda: PolicyAnnealing(Markowitz(), num_simulations=2),
        lambda: AlphaZero(),
    ],
    ids=["ordering", "annealing", "agent"],
)
def test_names_the_extra_that_is_missing(make, monkeypatch):
    """Before any work: where the ordering or the agent is made."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'mctx.*pip install "eqx_cc\[policy\]"'):
        make()


@pytest.mark.parametrize("edges", [[], [(0, 1)], [(0, 1), (1, 2)]], ids=str)
def test_next_to_nothing(edges):
    graph = eqx_cc.ComputationalGraph.from_edges(3, [0], [2], edges)
    ordering = PolicyOrdering(_policy(), beam=3)
    assert ordering(graph) == graph.intermediates


@pytest.mark.parametrize("cost", [Published(), Multiplications(), Flops()])
def test_move_by_move(cost):
    """Outside of JAX it is the same game: of scalars, known or not, and of blocks."""
    graphs = [
        _structured(),
        eqx_cc.trace(lambda x: jnp.sin(x) * 2.0 - x * x, jnp.ones(())).graph,
        helpers.random_graph(3),
    ]
    for graph in graphs:
        short = shortened(graph, cost)
        moves = hosted_rollout(_trained(), short.graph, cost, 32)
        names = [numbering(short.graph)[v] for v in moves]
        assert PolicyOrdering(_trained(), cost=cost)(graph) == (*short.prefix, *names)


def test_the_beam_looks_at_games_of_one_state_once():
    """A beam that is wide enough for all orders finds the best of them."""
    graph = helpers.random_graph(11, inner=5)
    assert len(graph.intermediates) >= 4
    orders = it.permutations(graph.intermediates)
    least = min(order_cost(graph, order, Published()) for order in orders)
    ordering = PolicyOrdering(_policy(), beam=64, cost="published")
    assert _cost(graph, ordering) == least


def test_too_many_patterns():
    """Then the game is played outside of JAX."""
    graph = TASKS["KerrSenMetric"].graph
    with pytest.raises(ValueError, match="`graph` must have at most 64 patterns"):
        new_game(graph)
    assert PolicyOrdering(_policy())(graph) == MinimalMarkowitz()(graph)
    assert PolicyOrdering(_trained())(graph) != MinimalMarkowitz()(graph)


def test_what_is_eliminated_first():
    """What is left keeps its costs, whatever is done with it."""
    for seed in range(20):
        graph = helpers.random_graph(seed)
        short = shortened(graph, Published())
        order = short.prefix + short.graph.intermediates
        assert sorted(order) == list(graph.intermediates)
        rest = order_cost(short.graph, short.graph.intermediates, Published())
        assert order_cost(graph, order, Published()) == short.cost + rest
    assert any(shortened(helpers.random_graph(s), Published()).prefix for s in range(9))
    assert shortened(_structured(), Published()).prefix == ()


@pytest.mark.parametrize("jit", [False, True])
def test_jacobians(jit):
    """As an order, while JAX traces and while it does not."""
    ordering = PolicyOrdering(_policy(), beam=2)
    fun = lambda x: jnp.cumsum(jnp.sin(x) * x)[:-1] / jnp.sum(x)  # noqa: E731
    jacobian = eqx_cc.filter_jacobian(fun, order=ordering)
    x = jnp.arange(1.0, 5.0)
    ours = (eqx.filter_jit(jacobian) if jit else jacobian)(x)
    assert jnp.allclose(ours, jax.jacfwd(fun)(x), rtol=1e-12)


def test_optimise(tmp_path):
    """What is found is kept, unless the default is better, and polished by annealing if
    one likes."""
    cache, graph = eqx_cc.OrderCache(tmp_path), held_out(1, 60, 61)[0]

    def optimised(ordering):
        return eqx_cc.optimise(
            graph, ordering=ordering, cost="published", cache=cache, progress=False
        )

    plain = optimised(PolicyOrdering(_policy()))
    assert cache.get(graph, Published()) == plain
    assert plain.cost <= _cost(graph, PolicyOrdering(_policy()))
    polished = optimised(PolicyAnnealing(_policy(), seconds=1.0))
    assert polished.cost <= plain.cost
    assert "PolicyAnnealing, seed 0" in polished.found_by


class _Ranked(AbstractPolicy):
    """Plays an order that it was given."""

    ranks: Float[Array, " m"]

    def __init__(self, vertices, order):
        places = [order.index(v) if v in order else 0 for v in vertices]
        self.ranks = jnp.asarray(places, float)

    def __call__(self, game, state):
        padded = jnp.zeros(state.remaining.size).at[: self.ranks.size].set(self.ranks)
        logits = -padded.astype(jnp.float32)
        return jnp.where(state.remaining, logits, -jnp.inf), jnp.zeros((), jnp.float32)


def test_annealing_begins_with_what_is_proposed():
    """With no time to search, what it finds is what was proposed, if that is good."""
    whole = published_graph("RoeFlux_1d")
    best = default_cache().get(whole, Published())
    assert best is not None and best.optimal
    graph = shortened(whole, Published()).graph
    order = tuple(vertex for vertex in best if vertex in graph.intermediates)
    policy = _Ranked(numbering(graph), order)
    assert PolicyOrdering(policy)(graph) == order
    annealed = PolicyAnnealing(policy, seconds=0.0, cost="published").search(graph)
    alone = Annealing(seconds=0.0, cost="published").search(graph)
    assert annealed.cost <= order_cost(graph, order, Published()) < alone.cost


def test_what_comes_with_the_package():
    """On graphs that it never saw it is better than the Markowitz rule, as it is on a
    function; it is one policy, whatever is traced when it is asked for."""
    ratios = evaluate(pretrained(), held_out(16, 20, 40))
    assert ratios.mean() < 0.97
    ordering = PolicyOrdering(pretrained(), cost="published")
    assert _cost(TASKS["RoeFlux_1d"].graph, ordering) <= 330
    pretrained.cache_clear()
    inside = jax.jit(lambda x: (x, jax.tree.leaves(pretrained()))[0])
    assert inside(1.0) == 1.0
    leaves = jax.tree.leaves(eqx.filter(pretrained(), eqx.is_array))
    assert sum(leaf.nbytes for leaf in leaves) < 3e6
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in leaves)  # No tracers.


def test_equal_where_the_policy_is_the_same():
    other = GraphPolicy(8, 1, key=jr.key(0))
    for kind in (PolicyOrdering, PolicyAnnealing):
        assert kind(_policy()) == kind(_policy()) and kind(_policy()) != kind(other)
        assert hash(kind(_policy())) == hash(kind(_policy()))
        assert kind(_policy()) != kind(_policy(), beam=2)
    assert PolicyOrdering(_policy()).cost == Multiplications()


def test_bad_settings():
    for simulations, beam in ((-1, 1), (0, 0)):
        with pytest.raises(ValueError, match="`num_simulations` must not be negative"):
            PolicyOrdering(_policy(), simulations, beam)
