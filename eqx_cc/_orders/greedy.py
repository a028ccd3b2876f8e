"""The Markowitz rule on a space."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from .state import AbstractSpace, State


def greedy(
    space: AbstractSpace,
    start: State,
    vertices: Sequence[int],
    preference: Callable[[int], float] = lambda vertex: -vertex,
    slack: Callable[[], float] = lambda: 1.0,
) -> tuple[int, ...]:
    """The Markowitz rule: a vertex of least cost next.

    Among equals one of least `preference` (the last, unless said otherwise). Costs are
    multiplied by `slack()` whenever they are computed.
    """

    def key(vertex):
        return space.cost(state, vertex) * slack(), preference(vertex)

    state, order = start, []
    keys = {vertex: key(vertex) for vertex in vertices}
    queue = [(own, vertex) for vertex, own in keys.items()]
    heapq.heapify(queue)
    while queue:
        own, vertex = heapq.heappop(queue)
        if keys.get(vertex) != own:  # It has changed since.
            continue
        del keys[vertex]
        touched = *space.predecessors(state, vertex), *space.successors(state, vertex)
        _, state = space.eliminate(state, vertex)
        order.append(vertex)
        for other in touched:
            if other in keys:
                keys[other] = key(other)
                heapq.heappush(queue, (keys[other], other))
    return tuple(order)
