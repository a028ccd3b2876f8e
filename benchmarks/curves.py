"""Multiplications against seconds: searches with and without the learned rule."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import eqx_cc
from eqx_cc import (
    AbstractSearch,
    Annealing,
    ComputationalGraph,
    LearnedRule,
    MinimalMarkowitz,
    Order,
    RandomisedMarkowitz,
)
from eqx_cc._orders.baseline import simple_order
from eqx_cc._orders.rule.game import Opening
from eqx_cc._orders.search.annealing import anneal, drawn_weights
from eqx_cc._orders.search.component import Part
from eqx_cc._orders.state import space
from eqx_cc.policy import PolicyOrdering, pretrained

from .reports.rule_tables import GUIDED, PLAIN


COST = eqx_cc.Published()
_GAMES = "rule, 16 noisy games"
_MOST_OF_A_NETWORK = 300  # Vertices; more take minutes.

Row = dict[str, Any]


class PlainAnnealing(Annealing):
    """Annealing that never sees the learned rule."""

    def _known(self, graph: ComputationalGraph) -> list[Order]:
        return [simple_order(graph, self.cost)]

    def _improve(self, part: Part) -> None:
        anneal(part, guided=False)


class PlainMarkowitz(RandomisedMarkowitz):
    """The randomised Markowitz rule, without the learned one to begin with."""

    def _known(self, graph: ComputationalGraph) -> list[Order]:
        return [simple_order(graph, self.cost)]


def measure_curves(
    groups: Mapping[str, Sequence[ComputationalGraph]],
    seconds: float,
    timed: Callable[[Any, ComputationalGraph], tuple[int, float]],
) -> Iterator[Row]:
    """Every new least cost of a search, with the second at which it was there."""
    searches = {
        GUIDED: Annealing(seconds=seconds, cost=COST),
        PLAIN: PlainAnnealing(seconds=seconds, cost=COST),
        "randomised Markowitz": PlainMarkowitz(seconds=seconds, cost=COST),
    }
    single = {"Markowitz": MinimalMarkowitz(), "rule": LearnedRule(cost=COST)}
    network = {"policy, greedy": PolicyOrdering(pretrained(), cost=COST)}
    for group, graphs in groups.items():
        for i, graph in enumerate(graphs):
            row = {"part": "curve", "group": group, "name": str(i)}
            small = len(graph.intermediates) <= _MOST_OF_A_NETWORK
            for contestant, ordering in (single | (network if small else {})).items():
                yield row | result(contestant, *timed(ordering, graph))
            yield row | result(_GAMES, *_noisy_games(graph))
            for contestant, search in searches.items():
                for cost, gone in _traced(search, graph):
                    yield row | result(contestant, cost, gone)


def result(contestant: str, cost: int, seconds: float) -> Row:
    """The columns of a row that are measured."""
    return {"contestant": contestant, "cost": int(cost), "seconds": seconds}


def _noisy_games(graph: ComputationalGraph) -> tuple[int, float]:
    started, rng = time.monotonic(), random.Random(0)
    states = space(graph, COST)
    opening = Opening(states, states.start, states.inner)
    weights = [drawn_weights(rng, len(states.inner)) for _ in range(16)]
    costs = [opening.play(each)[1] for each in weights]
    return min(costs), time.monotonic() - started


def _traced(
    search: AbstractSearch, graph: ComputationalGraph
) -> list[tuple[int, float]]:
    started, events = time.monotonic(), []
    search.search(
        graph, lambda now: events.append((now.cost, time.monotonic() - started))
    )
    return events
