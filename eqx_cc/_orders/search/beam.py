"""Beam search over elimination orders."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from ..state import State
from .component import Part


class _Node(NamedTuple):
    """A state after `order`; nodes compare by a bound on the total cost, then at
    random."""

    bound: int
    tie: float
    state: State
    remaining: frozenset[int]
    order: tuple[int, ...]


def beam(part: Part, width: int, branching: int) -> None:
    """Keeps the `width` best nodes at every depth, each continued by the `branching`
    cheapest vertices."""
    nodes = [_Node(0, 0.0, part.start, frozenset(part.vertices), ())]
    for _ in part.vertices:
        best: dict[frozenset[int], _Node] = {}
        for node in nodes:
            if part.finished:
                return
            for vertex in _cheapest(part, node, branching):
                new = _after(part, node, vertex)
                if new.remaining not in best or new < best[new.remaining]:
                    best[new.remaining] = new
        nodes = heapq.nsmallest(width, best.values())
    for node in nodes:
        part.offer(node.order)


def _cheapest(part: Part, node: _Node, count: int) -> list[int]:
    def excess(vertex):
        cost = part.space.cost(node.state, vertex)
        return cost - part.bounds[vertex], cost, part.rng.random()

    return heapq.nsmallest(count, node.remaining, key=excess)


def _after(part: Part, node: _Node, vertex: int) -> _Node:
    cost, state = part.space.eliminate(node.state, vertex)
    bound = node.bound + cost - part.bounds[vertex]
    remaining, order = node.remaining - {vertex}, (*node.order, vertex)
    return _Node(bound, part.rng.random(), state, remaining, order)
