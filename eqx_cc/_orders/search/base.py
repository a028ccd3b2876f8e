"""The base class of searches: reductions, independent parts, and shares of time."""

from __future__ import annotations

import abc
import itertools as it
import numbers
import random
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import equinox as eqx

from ..._graph.graph import ComputationalGraph
from ..baseline import candidates, order_or_known, preferred
from ..cost import AbstractCost
from ..order import Order
from ..orderings import AbstractOrdering
from ..state import BitSpace, space
from .best_first import solve
from .component import Part
from .lower_bounds import Cuts
from .progress import interruptible, Report, SearchProgress
from .reductions import reduce


# Every search solves parts of up to so many vertices exactly, in milliseconds.
_MAX_SOLVED = 8
# Cuts of larger graphs would take seconds.
_MAX_BOUNDED = 500


class AbstractSearch(AbstractOrdering):
    """An ordering that searches for an order of least cost, within a time limit.

    The order is never worse than the best of forward, reverse, Markowitz and the
    learned rule, which a search begins with. A search stops once it has proved that no
    order costs less. Ctrl-C stops it too: the best order so far is returned. When
    tracing, each graph is searched once.

    **Attributes:**

    - `seconds`: the time limit.
    - `seed`: the seed of random choices. The order may still differ between machines,
        because a faster machine does more in the same time.
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
        """Searches anew, whatever orders are stored.

        **Arguments:**

        - `graph`: a [`eqx_cc.ComputationalGraph`][].
        - `report`: called with the least cost so far and the lower bound, whenever one
            of them is better.

        **Returns:** an [`eqx_cc.Order`][].
        """
        self._check(graph)
        started, found_by = time.monotonic(), f"{type(self).__name__}, seed {self.seed}"
        with interruptible() as interrupted:
            run = _GraphSearch(graph, self.cost, self.seed, report, interrupted)
            known = self._known(graph)
            try:
                for order in it.chain(known, self._proposals(graph)):
                    run.propose(order)
                    if interrupted():
                        break
                run.improve(self._improve, started + self.seconds)
                stopped = interrupted()
            except KeyboardInterrupt:
                stopped = True
            order = run.order(found_by, preferred(graph, known))
        order.found_by += ", interrupted" if stopped else ""
        order.interrupted = stopped
        order.seconds = time.monotonic() - started
        return order

    def _known(self, graph: ComputationalGraph) -> list[Order]:
        """Orders of the whole graph that need no search: the first to start from, and
        the order of the search must cost less than the best of them."""
        return candidates(graph, self.cost)

    def _proposals(self, graph: ComputationalGraph) -> Iterable[tuple[int, ...]]:
        """Other orders of the whole graph to start from."""
        return ()

    def _check(self, graph: ComputationalGraph) -> None:
        """Raises a `ValueError` if the search does not suit this graph."""

    def __check_init__(self):
        as_seconds(self.seconds)
        if not isinstance(self.seed, int):
            raise ValueError(f"`seed` must be an integer; got {self.seed!r}.")


def as_seconds(seconds: Any) -> float:
    """A user's `seconds` as a float. Raises a `ValueError` if it is no time."""
    if isinstance(seconds, numbers.Real) and float(seconds) >= 0:
        return float(seconds)
    # No moment is later than NaN: a search would never end.
    raise ValueError(
        f"`seconds` must be a number that is not negative; got {seconds!r}. With "
        "`math.inf`, a search runs until Ctrl-C."
    )


@lru_cache(maxsize=1024)
def _searched(search: AbstractSearch, graph: ComputationalGraph) -> Order:
    return search.search(graph)


class _GraphSearch:
    """A search of one graph, part after part."""

    def __init__(
        self,
        graph: ComputationalGraph,
        cost: AbstractCost,
        seed: int,
        report: Report,
        interrupted: Callable[[], bool],
    ):
        self._graph, self._cost, self._report = graph, cost, report
        self._space = space(graph, cost)
        self._reduced = reduce(self._space)
        cuts, small = None, len(self._space.inner) <= _MAX_BOUNDED
        if small and isinstance(self._space, BitSpace):
            cuts = Cuts(self._space)
        rng = random.Random(seed)
        self._parts = [
            Part(self._reduced, vertices, cuts, rng, self._improved, interrupted)
            for vertices in self._reduced.parts
        ]
        self._improved()

    def _improved(self) -> None:
        cost = self._reduced.cost + sum(part.cost for part in self._parts)
        self._bound = self._reduced.cost + sum(p.lower_bound for p in self._parts)
        self._report(SearchProgress(cost, self._bound))

    def propose(self, order: tuple[int, ...]) -> None:
        """Offers to each part its vertices in the sequence of an order of the graph."""
        position = {name: i for i, name in enumerate(order)}
        names = self._reduced.space.names
        for part in self._parts:
            part.offer(sorted(part.vertices, key=lambda v: position[names(v)[0]]))

    def improve(self, improve: Callable[[Part], None], end: float) -> None:
        """Searches each part in its share of the time, the smallest first."""
        remaining = sum(len(part.vertices) for part in self._parts)
        for part in self._parts:
            now, size = time.monotonic(), len(part.vertices)
            part.deadline = now + (end - now) * size / remaining
            remaining -= size
            if not part.finished and size <= _MAX_SOLVED:
                solve(part)
            if not part.finished:
                improve(part)

    def order(self, found_by: str, known: Order) -> Order:
        """The best order so far, or the known one if that is no worse."""
        orders = (part.order for part in self._parts)
        vertices = self._reduced.space.named(sum(orders, self._reduced.prefix))
        best = order_or_known(self._graph, vertices, self._cost, found_by, known)
        best.lower_bound = self._bound
        return best
