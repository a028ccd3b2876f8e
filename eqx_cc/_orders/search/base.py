"""What all searches have in common: reductions, parts, time, and what they return."""

from __future__ import annotations

import abc
import numbers
import random
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx

from ..._graph.graph import ComputationalGraph
from ..cost import AbstractCost
from ..order import Order
from ..orderings import (
    AbstractOrdering,
    Forward,
    MinimalFill,
    MinimalMarkowitz,
    Reverse,
)
from ..state import Bits, space, total
from .best_first import solve
from .component import Part
from .interrupt import interruptible
from .lower_bounds import Cuts
from .reductions import reduce


class Progress(NamedTuple):
    """How far a search has come: the least cost found and the bound below it."""

    cost: int
    lower_bound: int


Report = Callable[[Progress], None]

# Parts of so few vertices are solved exactly by every search, in milliseconds.
_SMALL = 8
# Cuts of larger graphs would take seconds.
_MOST_BOUNDED = 500


class AbstractSearch(AbstractOrdering):
    """An ordering that looks for an order of least cost, for as long as it is given.

    What it finds is never worse than the best of forward, reverse and Markowitz. It
    stops at once when it has proved that no order costs less. Ctrl-C stops it too: the
    best order so far is returned. When tracing, an order is searched for once a graph.

    **Attributes:**

    - `seconds`: how long it may take.
    - `seed`: of its random choices. The order may still differ between two machines,
        which do not do as much in the same time.
    - `cost`: the cost model, an [`eqx_cc.AbstractCost`][].

    !!! Example

        ```python
        order = eqx_cc.Annealing(seconds=1).search(graph)
        order.cost
        ```
    """

    seconds: eqx.AbstractVar[float]
    seed: eqx.AbstractVar[int]
    cost: eqx.AbstractVar[AbstractCost]

    @abc.abstractmethod
    def _improve(self, part: Part) -> None:
        """Offers orders to the part until it is finished, or there are no more."""

    def __call__(self, graph: ComputationalGraph) -> Order:
        return _searched(self, graph)

    def search(
        self, graph: ComputationalGraph, report: Report = lambda progress: None
    ) -> Order:
        """Searches anew, whatever was found before.

        **Arguments:**

        - `graph`: a [`eqx_cc.ComputationalGraph`][].
        - `report`: called with the least cost so far and its lower bound, whenever
            there is a better one.

        **Returns:** an [`eqx_cc.Order`][].
        """
        self._check(graph)
        started, found_by = time.monotonic(), f"{type(self).__name__}, seed {self.seed}"
        with interruptible() as interrupted:
            run = _Run(graph, self.cost, self.seed, report, interrupted)
            try:
                for order in self._proposals(graph):
                    run.propose(order)
                    if interrupted():
                        break
                run.improve(self._improve, started + self.seconds)
                stopped = interrupted()
            except KeyboardInterrupt:
                stopped = True
            order = run.order(found_by)
        order.found_by += ", interrupted" if stopped else ""
        order.seconds = time.monotonic() - started
        return order

    def _proposals(self, graph: ComputationalGraph) -> Iterable[tuple[int, ...]]:
        """Orders of the whole graph to begin with, besides the simple ones."""
        return ()

    def _check(self, graph: ComputationalGraph) -> None:
        """Raises a `ValueError` if the search is not one for this graph."""

    def __check_init__(self):
        as_seconds(self.seconds)
        if not isinstance(self.seed, int):
            raise ValueError(f"`seed` must be an integer; got {self.seed!r}.")


def as_seconds(seconds: Any) -> float:
    """A time that a user gave, if it is one."""
    if isinstance(seconds, numbers.Real) and float(seconds) >= 0:
        return float(seconds)
    # No moment is later than NaN: a search would never end.
    raise ValueError(
        f"`seconds` must be a number that is not negative; got {seconds!r}. With "
        "`math.inf` a search goes on until Ctrl-C."
    )


@lru_cache(maxsize=1024)
def _searched(search: AbstractSearch, graph: ComputationalGraph) -> Order:
    return search.search(graph)


class _Run:
    """One search of one graph, part after part."""

    def __init__(
        self,
        graph: ComputationalGraph,
        cost: AbstractCost,
        seed: int,
        report: Report,
        interrupted: Callable[[], bool],
    ):
        self._graph, self._cost, self._report = graph, cost, report
        self._reduced = reduce(own := space(graph, cost))
        small = len(own.inner) <= _MOST_BOUNDED
        cuts = Cuts(own) if small and isinstance(own, Bits) else None
        rng = random.Random(seed)
        self._parts = [
            Part(self._reduced, vertices, cuts, rng, self._improved, interrupted)
            for vertices in self._reduced.parts
        ]
        self._improved()

    def _improved(self) -> None:
        self._report(self._progress)

    @property
    def _progress(self) -> Progress:
        cost = self._reduced.cost + sum(part.cost for part in self._parts)
        bound = self._reduced.cost + sum(part.lower_bound for part in self._parts)
        return Progress(cost, bound)

    def propose(self, order: tuple[int, ...]) -> None:
        """Offers every part what an order of the graph has of it."""
        place = {name: i for i, name in enumerate(order)}
        names = self._reduced.space.names
        for part in self._parts:
            part.offer(sorted(part.vertices, key=lambda v: place[names(v)[0]]))

    def improve(self, improve: Callable[[Part], None], end: float) -> None:
        """Gives every part its share of the time, the smallest first."""
        left = sum(len(part.vertices) for part in self._parts)
        for part in self._parts:
            now, size = time.monotonic(), len(part.vertices)
            part.deadline = now + (end - now) * size / left
            left -= size
            if not part.finished and size <= _SMALL:
                solve(part)
            if not part.finished:
                improve(part)

    def order(self, found_by: str) -> Order:
        """What was found, unless an order that needs no search is better."""
        found = Order(
            self._found,
            cost=order_cost(self._graph, self._found, self._cost),
            cost_model=self._cost.name,
            found_by=found_by,
        )
        best = min(found, baseline(self._graph, self._cost), key=lambda o: o.cost)
        best.lower_bound = self._progress.lower_bound
        return best

    @property
    def _found(self) -> tuple[int, ...]:
        parts = [part.order for part in self._parts]
        return self._reduced.names(sum(parts, self._reduced.prefix))


def baseline(graph: ComputationalGraph, cost: AbstractCost) -> Order:
    """The best order that needs no search: Markowitz, reverse, forward or that of
    minimal fill."""
    own, orders = _Costs(graph, cost), []
    greedy: list[AbstractOrdering] = [MinimalMarkowitz()]
    if any(block.out_shape or block.in_shape for block in graph.edges.values()):
        greedy.append(MinimalFill())  # For scalars the two are the same.
    for ordering in (*greedy, Reverse(), Forward()):
        order, name = ordering(graph), type(ordering).__name__
        orders.append(
            Order(order, cost=own(order), cost_model=cost.name, found_by=name)
        )
    return min(orders, key=lambda order: order.cost)


def order_cost(
    graph: ComputationalGraph, order: Iterable[int], cost: AbstractCost
) -> int:
    """What an order of the intermediates of a graph costs under a cost model."""
    return _Costs(graph, cost)(order)


class _Costs:
    """What orders of a graph cost."""

    def __init__(self, graph: ComputationalGraph, cost: AbstractCost):
        self._space = space(graph, cost)
        self._numbers = {self._space.names(v)[0]: v for v in self._space.inner}

    def __call__(self, order: Iterable[int]) -> int:
        numbers = (self._numbers[name] for name in order)
        return total(self._space, self._space.start, numbers)
