"""An independent part of a graph during a search."""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Callable, Sequence

from ..orderings import greedy
from ..state import members, total
from .lower_bounds import Cuts
from .reductions import Reduced


class Part:
    """Vertices to order, their best order so far, and the deadline.

    **Attributes:**

    - `space`, `start`: the space of the vertices, and the state before them.
    - `prefix`: vertices that are eliminated before.
    - `cuts`: the source of lower bounds, if every pair of edges costs the same.
    - `vertices`: ascending, so that they are the forward order as well.
    - `bounds`: a lower bound on the cost of each vertex.
    - `blocks`: disjoint sets of vertices, as bits, that give the lower bound.
    - `order`, `cost`: the best order that was offered.
    - `lower_bound`: a lower bound on the cost of every order.
    - `deadline`: when to stop, in seconds of `time.monotonic`.

    `improved` is called when the order or the bound is better; `interrupted` returns
    true if the user wants the search to end.
    """

    def __init__(
        self,
        reduced: Reduced,
        vertices: tuple[int, ...],
        cuts: Cuts | None,
        rng: random.Random,
        improved: Callable[[], None] = lambda: None,
        interrupted: Callable[[], bool] = lambda: False,
    ):
        self.space, self.start, self.vertices = reduced.space, reduced.start, vertices
        self.prefix, self.cuts = reduced.prefix, cuts
        self.bounds = {v: self._bound(v) for v in vertices}
        self.lower_bound = sum(self.bounds.values())
        self.blocks: frozenset[int] = frozenset()
        self.rng, self._improved, self._interrupted = rng, improved, interrupted
        self.deadline = math.inf
        first = vertices, vertices[::-1], greedy(self.space, self.start, vertices)
        self.cost, self.order = min((self._cost(order), order) for order in first)

    def _bound(self, vertex: int) -> int:
        group = self.space.group(vertex)
        return sum(self.cuts.cost(v, 0, 0) for v in group) if self.cuts else 0

    def table(self, block: int) -> dict[int, int]:
        """The least remaining cost of a block, by the set of eliminated vertices."""
        assert self.cuts is not None
        return self.cuts.table(tuple(members(block)))

    def bound_below(self, bound: int) -> None:
        """Raises the lower bound, if it is higher."""
        if bound > self.lower_bound:
            self.lower_bound = bound
            self._improved()

    def _cost(self, order: Sequence[int]) -> int:
        return total(self.space, self.start, order)

    def offer(self, order: Sequence[int]) -> None:
        """Keeps the order if it is the best so far."""
        cost = self._cost(order)
        if cost < self.cost:
            self.order, self.cost = tuple(order), cost
            self._improved()

    @contextlib.contextmanager
    def within(self, share: float, max_seconds: float = 600.0):
        """Moves the deadline to a share of the remaining time."""
        deadline, now = self.deadline, time.monotonic()
        self.deadline = now + min(share * (deadline - now), max_seconds)
        yield
        self.deadline = deadline

    @property
    def solved(self) -> bool:
        """True if no order costs less."""
        return self.cost <= self.lower_bound

    @property
    def finished(self) -> bool:
        """True if the search should stop."""
        late = time.monotonic() > self.deadline
        return late or self.solved or self._interrupted()
