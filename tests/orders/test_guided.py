"""Searches that the learned rule guides: where they begin, and what they draw."""

import itertools as it
import random

import pytest
from benchmarks.curves import PlainAnnealing
from benchmarks.orders import published_graph
from eqx_cc import Annealing, BeamSearch, Multiplications, Published
from eqx_cc._orders import baseline as _baseline
from eqx_cc._orders.baseline import order_cost
from eqx_cc._orders.orderings import greedy
from eqx_cc._orders.rule.game import Opening
from eqx_cc._orders.rule.learned_rule import rule_order_and_cost
from eqx_cc._orders.rule.weights import packaged_weights
from eqx_cc._orders.search import annealing
from eqx_cc._orders.search.annealing import drawn_weights, play
from eqx_cc._orders.search.component import Part
from eqx_cc._orders.search.reductions import reduce
from eqx_cc._orders.state import space, total
from eqx_cc.policy import held_out
from helpers import random_graph


def _parts(graph, cost):
    reduced = reduce(space(graph, cost))
    return [Part(reduced, v, None, random.Random(0)) for v in reduced.parts]


@pytest.mark.parametrize("cost", [Published(), Multiplications()])
def test_games_of_parts_and_twins(cost):
    """A game of a part of a graph, whose twins are one vertex, costs what it says."""
    for graph in [*map(random_graph, range(30)), *held_out(3, 30, 60)]:
        for part in _parts(graph, cost):
            opening = Opening(part.space, part.start, part.vertices)
            for weights in (*packaged_weights(), drawn_weights(random.Random(1), 1)):
                order, paid = opening.play(weights)
                assert sorted(order) == sorted(part.vertices)
                assert paid == total(part.space, part.start, order)


def test_games_do_not_change_each_other():
    [part] = _parts(published_graph("RoeFlux_1d"), Published())
    opening = Opening(part.space, part.start, part.vertices)
    first = [opening.play(weights) for weights in packaged_weights()]
    assert [opening.play(weights) for weights in packaged_weights()] == first


def test_noise_makes_other_games():
    [part] = _parts(published_graph("RoeFlux_1d"), Published())
    opening, rng = Opening(part.space, part.start, part.vertices), random.Random(0)
    assert len({opening.play(drawn_weights(rng, 1)) for _ in range(5)}) > 1


def test_annealing_begins_with_games(monkeypatch):
    """The first cycle starts from an order that is no worse than that of the rule, and
    simple orders have their turns."""
    graph, cost = published_graph("RoeFlux_1d"), Published()
    [part] = _parts(graph, cost)
    starts = []

    def cool(part, order, begin, moves, heat):
        starts.append((total(part.space, part.start, order), heat))
        return order

    monkeypatch.setattr(annealing, "cool", cool)
    monkeypatch.setattr(Part, "finished", property(lambda _: len(starts) == 4))
    annealing.anneal(part)
    _, paid = rule_order_and_cost(part.space)
    assert starts[0][0] <= paid
    assert [heat for _, heat in starts] == [0.3, 1.0, 1.0, 1.0]
    markowitz = greedy(part.space, part.start, part.vertices)
    assert starts[1][0] == total(part.space, part.start, markowitz)


def test_games_end_when_they_find_nothing(monkeypatch):
    [part] = _parts(published_graph("RoeFlux_1d"), Published())
    opening, count = Opening(part.space, part.start, part.vertices), it.count()
    monkeypatch.setattr(Opening, "play", lambda *_: (next(count), (part.order, 0))[1])
    play(part, opening)
    assert next(count) == len(packaged_weights()) + annealing._PATIENCE


def test_plain_annealing_never_sees_the_rule(monkeypatch):
    """It is what the benchmarks compare with."""

    def fail(*args):
        raise AssertionError("the rule was asked")

    graph = published_graph("HumanHeartDipole")
    monkeypatch.setattr(Opening, "play", fail)
    order = PlainAnnealing(seconds=5.0, cost="published").search(graph)
    assert order_cost(graph, order, Published()) == 148
    with pytest.raises(AssertionError, match="the rule was asked"):
        Annealing(seconds=5.0, cost="published").search(graph)


def test_a_search_finds_what_needs_no_search_once(monkeypatch):
    """The rule plays for the whole graph once, whatever the search does with it."""
    played, counted = [], _baseline.rule_order_and_cost
    monkeypatch.setattr(
        _baseline, "rule_order_and_cost", lambda *a: (played.append(1), counted(*a))[1]
    )
    graph = published_graph("RoeFlux_1d")
    order = BeamSearch(seconds=0.1, cost="published").search(graph)
    assert played == [1]
    assert order.cost <= _baseline.baseline(graph, Published()).cost
