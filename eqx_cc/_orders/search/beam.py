"""Beam search over elimination orders."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import NamedTuple

from ..state import State
from .component import Part


class _Node(NamedTuple):
    """Some vertices have been eliminated; ordered by a bound on the whole, then by
    chance."""

    bound: int
    tie: float
    state: State
    left: frozenset[int]
    order: tuple[int, ...]


def beam(part: Part, width: int, branching: int) -> None:
    """Keeps the `width` best beginnings at every depth, each continued by the
    `branching` vertices that are cheapest next."""
    nodes = [_Node(0, 0.0, part.start, frozenset(part.vertices), ())]
    for _ in part.vertices:
        found: dict[Hashable, _Node] = {}
        for node in nodes:
            if part.finished:
                return
            for vertex in _cheapest(part, node, branching):
                new = _after(part, node, vertex)
                key = new.left
                if key not in found or new < found[key]:
                    found[key] = new
        nodes = heapq.nsmallest(width, found.values())
    for node in nodes:
        part.offer(node.order)


def _cheapest(part: Part, node: _Node, count: int) -> list[int]:
    def excess(vertex):
        cost = part.space.cost(node.state, vertex)
        return cost - part.bounds[vertex], cost, part.rng.random()

    return heapq.nsmallest(count, node.left, key=excess)


def _after(part: Part, node: _Node, vertex: int) -> _Node:
    cost, state = part.space.eliminate(node.state, vertex)
    bound = node.bound + cost - part.bounds[vertex]
    left, order = node.left - {vertex}, (*node.order, vertex)
    return _Node(bound, part.rng.random(), state, left, order)
