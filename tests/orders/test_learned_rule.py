"""The learned rule: its features from scratch, its orders, and where it is used."""

import copy
import math
import pickle

import eqx_cc
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.orders import published_graph
from eqx_cc import (
    Flops,
    LearnedRule,
    MinimalMarkowitz,
    Multiplications,
    Published,
    RuleWeights,
    Traffic,
)
from eqx_cc._graph.elimination import Elimination
from eqx_cc._orders import baseline as _baseline
from eqx_cc._orders.baseline import baseline, order_cost, simple_order
from eqx_cc._orders.budget import BudgetExceeded
from eqx_cc._orders.cost import unknown
from eqx_cc._orders.rule.game import _reach, local_score
from eqx_cc._orders.rule.learned_rule import rule_order_and_cost
from eqx_cc._orders.rule.neighbourhoods import (
    BlockNeighbourhoods,
    Features,
    neighbourhoods,
    NumberNeighbourhoods,
    UnknownNeighbourhoods,
)
from eqx_cc._orders.rule.weights import packaged_weights
from eqx_cc._orders.state import space
from eqx_cc.policy import held_out
from helpers import random_graph


def _blocks(x):
    y = jnp.sin(x) * jnp.sum(x)
    z = y[1:] * y[:-1] + jnp.exp(x[0])
    return jnp.outer(z, y) @ y, jnp.cumsum(z)


def _numbers(x):
    """Scalars, with coefficients 1, -1 and 3, some of which cancel."""
    a, b = x[0] + x[1], x[0] - 3.0 * x[1]
    c, d = a - b, jnp.sin(a * b)
    e = c + d - a
    return jnp.stack([e * d, e - c, (c + b) * jnp.cos(e) + e])


BLOCKS = eqx_cc.trace(_blocks, jnp.ones(3)).graph
NUMBERS = eqx_cc.explain(_numbers, jnp.ones(2), granularity="scalar").graph
SPACES = {
    "bits": (random_graph(3), Published(), UnknownNeighbourhoods),
    "more bits": (random_graph(8), Published(), UnknownNeighbourhoods),
    "numbers": (NUMBERS, Multiplications(), NumberNeighbourhoods),
    "blocks": (BLOCKS, Multiplications(), BlockNeighbourhoods),
    "published blocks": (BLOCKS, Published(), BlockNeighbourhoods),
    "traffic": (BLOCKS, Traffic(), BlockNeighbourhoods),
    "scalars with sums": (NUMBERS, Flops(), BlockNeighbourhoods),
}
# So that each feature counts.
ANY = RuleWeights(1.0, 0.3, -0.2, 0.7, -0.4, 0.2, 0.5, 0.1, 0.2, -0.3, 0.1, 0.6, -0.5)


#
# Features
#


def _stored(edges) -> int:
    return sum(unknown(pattern).num_values for pattern in edges.values())


def _growth(old, new, vertex) -> float:
    """By how much the Markowitz degrees of the neighbours grow, from all edges."""
    growth = 0.0
    for u in old.ins[vertex]:
        if u in old.ins:
            more = _stored(new.outs[u]) - _stored(old.outs[u])
            growth += _stored(old.ins[u]) * more / _size(old, u)
    for w in old.outs[vertex]:
        if w in old.outs:
            more = _stored(new.ins[w]) - _stored(old.ins[w])
            growth += _stored(old.outs[w]) * more / _size(old, w)
    return growth


def _size(state, vertex) -> int:
    return math.prod(next(iter(state.outs[vertex].values())).in_shape)


def _features(state: Elimination, vertex: int, cost) -> Features:
    """The features of a vertex, by its elimination in a copy of the graph."""
    new, pairs = copy.deepcopy(state), 0
    for w, left in state.outs[vertex].items():
        for u, right in state.ins[vertex].items():
            pairs += cost(state.ins[w].get(u), left, right)
    step = new.eliminate(vertex)
    edges = {(u, w): state.ins[w].get(u) for u, w, _ in step.updates}
    old = {edge: pattern for edge, pattern in edges.items() if pattern is not None}
    after = {(u, w): new.ins[w][u] for u, w in edges if u in new.ins[w]}
    absorbed, total = _stored(old), _stored(after)
    before = _stored(state.ins[vertex]), _stored(state.outs[vertex])
    growth = _growth(state, new, vertex)
    return Features(pairs, *before, total - absorbed, absorbed, growth)


def _cancels(state: Elimination, vertex: int) -> bool:
    """True if an elimination removes other edges, which is not foreseen for numbers."""
    new = copy.deepcopy(state)
    step = new.eliminate(vertex)
    return any(u not in new.ins[w] for u, w, _ in step.updates)


@pytest.mark.parametrize("name", SPACES)
def test_features_from_scratch(name):
    graph, cost, kind = SPACES[name]
    view, states = cost.view(graph), space(graph, cost)
    state, near = Elimination(view), neighbourhoods(states, states.start)
    assert isinstance(near, kind)
    rng, left = np.random.default_rng(0), list(graph.intermediates)
    while left:
        for vertex in left:
            number = states.numbers[vertex]
            features = near.features(number)
            if kind is BlockNeighbourhoods or not _cancels(state, vertex):
                expected = pytest.approx([*_features(state, vertex, cost)])
                assert [*features] == expected, vertex
            assert near.degree(number) == features.before * features.after
            assert near.cost(number) == features.cost
        vertex = left.pop(rng.integers(len(left)))
        state.eliminate(vertex)
        near.eliminate(states.numbers[vertex])
        edges = {(u, w) for w, into in state.ins.items() for u in into}
        names = {number: vertex for vertex, number in states.numbers.items()}
        assert edges == {
            (names[u], names[w]) for w, into in enumerate(near.ins) for u in into
        }


def test_the_start_is_not_changed():
    for graph, cost, _ in SPACES.values():
        states = space(graph, cost)
        start = copy.deepcopy(states.start)
        rule_order_and_cost(states, [ANY, RuleWeights()])
        np.testing.assert_equal(states.start, start)


def test_vertices_that_an_elimination_touches():
    """The score of any other vertex is the same as before: what it returns, and the
    neighbours, are all whose fill-in may change."""
    for name in ("bits", "more bits", "numbers", "blocks"):
        graph, cost, _ = SPACES[name]
        states = space(graph, cost)
        near, left = neighbourhoods(states, states.start), list(states.inner)
        while left:
            vertex = left.pop(len(left) // 2)
            old = {v: near.features(v) for v in left}
            touched = {*near.ins[vertex], *near.outs[vertex]}
            touched |= {*near.eliminate(vertex)}
            for v in set(left) - touched:
                # The degrees of the neighbours of a vertex are seen later.
                assert near.features(v)[:5] == old[v][:5], (name, vertex, v)


def test_what_leads_where():
    ins = [{}, {}, {0: None, 1: None}, {2: None}, {1: None, 3: None}]
    inputs, depths = _reach(range(5), ins, [2, 3, 1, 1, 1])
    assert inputs == [2, 3, 5, 5, 5]
    assert depths == [0, 0, 1, 2, 3]


def test_the_score():
    features = Features(6, 2, 3, 4, 1, -5)
    score = local_score(ANY, features, 2)
    numbers = [6, 2, 3, 4, 1]
    expected = sum(w * math.log(1 + x) for w, x in zip(ANY, numbers))
    expected += ANY.change * -math.log(6)
    expected += ANY.relative_fill_in * (4 - 5) / 6 + ANY.relative_change * -5 / 4
    assert score == pytest.approx(expected)


#
# Orders
#


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("weights", [ANY, RuleWeights()], ids=["any", "cost"])
def test_a_permutation(name, weights):
    graph, cost, _ = SPACES[name]
    rule = LearnedRule(weights, cost)
    assert rule.weights == (weights,)
    order = rule(graph)
    assert sorted(order) == list(graph.intermediates)
    assert rule(graph) == order
    assert pickle.loads(pickle.dumps(rule)) == rule


def test_by_the_cost_alone_it_is_the_markowitz_rule():
    rule = LearnedRule(RuleWeights(), "published")
    for graph in [*map(random_graph, range(40)), *held_out(5, 40, 100)]:
        assert rule(graph) == MinimalMarkowitz()(graph)


@pytest.mark.parametrize("weights", [(), [1.0, 2.0], 3.0 * np.ones(13)], ids=str)
def test_what_are_no_weights(weights):
    with pytest.raises(ValueError, match="`weights` must be an `eqx_cc.RuleWeights`"):
        LearnedRule(weights)


def test_nothing_to_eliminate():
    graph = eqx_cc.ComputationalGraph.from_edges(2, [0], [1], [(0, 1)])
    assert LearnedRule()(graph) == ()


def test_jacobian_in_its_order():
    x = jnp.linspace(0.5, 1.5, 3)
    expected = eqx_cc.cc_jacobian(_blocks, order="reverse")(x)
    for jacobian, other in zip(
        eqx_cc.cc_jacobian(_blocks, order=LearnedRule())(x), expected
    ):
        np.testing.assert_allclose(jacobian, other, rtol=1e-12)


#
# The default
#


GRAPHS = [*map(random_graph, range(12)), *held_out(6, 20, 60), NUMBERS, BLOCKS]


@pytest.mark.parametrize("cost", [Multiplications(), Published(), Flops()])
def test_the_default_is_the_least_of_all(cost):
    for graph in GRAPHS:
        simple, order = simple_order(graph, cost), baseline(graph, cost)
        learned = order_cost(graph, LearnedRule(cost=cost)(graph), cost)
        assert order.cost == order_cost(graph, order, cost) <= simple.cost
        if graph is not BLOCKS:
            assert order.cost <= learned
        elif order.cost < simple.cost:
            bytes_moved = [
                order_cost(graph, each, Traffic()) for each in (order, simple)
            ]
            assert bytes_moved[0] <= bytes_moved[1]


def test_the_default_takes_it():
    """It is better on most random graphs, and `explain` names it."""
    graphs, cost = held_out(20, 40, 100), Published()
    orders = [baseline(graph, cost) for graph in graphs]
    assert sum("LearnedRule" in order.found_by for order in orders) >= 12


def test_the_default_moves_vertices_of_the_best_order(monkeypatch):
    """It is always the same, and never worse than without."""
    graphs, cost = held_out(20, 20, 60), Published()
    orders = [baseline(graph, cost) for graph in graphs]
    assert orders == [baseline(graph, cost) for graph in graphs]
    monkeypatch.setattr(_baseline, "refined", _raise(BudgetExceeded()))
    unrefined = [baseline(graph, cost) for graph in graphs]
    for order, other in zip(orders, unrefined):
        assert order.cost <= other.cost
        name = f"{other.found_by}, refined"
        assert order.found_by == (name if order.cost < other.cost else other.found_by)
    assert any(order.cost < other.cost for order, other in zip(orders, unrefined))


def _raise(error):
    def rule(*args):
        raise error

    return rule


def test_it_must_not_exceed_the_budget(monkeypatch):
    monkeypatch.setattr(_baseline, "rule_order_and_cost", _raise(BudgetExceeded()))
    cost = Multiplications()
    assert baseline(BLOCKS, cost) == simple_order(BLOCKS, cost)


@pytest.mark.parametrize("length", [3, 12])
def test_it_is_left_out_where_it_has_nothing_to_gain(length, monkeypatch):
    monkeypatch.setattr(_baseline, "rule_order_and_cost", _raise(AssertionError()))
    edges = [(i, i + 1) for i in range(length)]
    chain = eqx_cc.ComputationalGraph.from_edges(length + 1, [0], [length], edges)
    assert baseline(chain, Published()).cost == length - 1


@pytest.mark.parametrize(
    "name, count",
    [("RobotArm_6DOF", 231), ("HumanHeartDipole", 148), ("PropaneCombustion", 88)],
)
def test_published_graphs_at_first_sight(name, count):
    """No more than reinforcement learning was published to find."""
    graph = published_graph(name)
    order = LearnedRule(cost="published")(graph)
    assert order_cost(graph, order, Published()) <= count


def test_large_graphs_have_weights_of_their_own():
    """They are better there than the first of the others."""
    [graph], cost = held_out(1, 900, 900), Published()
    states = space(graph, cost)
    [large], small = packaged_weights(len(states.inner)), packaged_weights(500)
    assert large not in small
    _, paid = rule_order_and_cost(states)
    assert paid == rule_order_and_cost(states, [large])[1]
    assert paid < rule_order_and_cost(states, small[:1])[1]
