"""Best-first search over the sets of vertices that have been eliminated.

??? cite "References"

    M. Bentert, A. Crane, P. G. Drange, Y. Mizutani and B. D. Sullivan, *Structural
    Optimal Jacobian Accumulation and Minimum Edge Count are NP-Complete Under Vertex
    Elimination*, arXiv:2506.17521, 2025 (dynamic programming over subsets).

    P. E. Hart, N. J. Nilsson and B. Raphael, *A Formal Basis for the Heuristic
    Determination of Minimum Cost Paths*, IEEE Transactions on Systems Science and
    Cybernetics 4, 1968.
"""

from __future__ import annotations

import heapq
import itertools as it
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from ._part import Part
from ._space import State


_MOST_NODES = 200_000  # That memory can hold.


class _Node(NamedTuple):
    """Some vertices have been eliminated, at a cost of `spent`."""

    bound: int  # What any order that begins like this costs at least.
    depth: int  # Minus the number of vertices eliminated: among equals, the most first.
    serial: int
    spent: int
    state: State
    left: frozenset[int]
    order: tuple[int, ...]


def solve(part: Part) -> None:
    """Finds the best order of a part, with proof, or raises its lower bound until the
    part is finished.

    What is left to do depends on the state alone, so that of all orders which lead to
    the same state only the cheapest is followed; and a state is not followed if even
    the bounds of what is left make it no better than what is known.
    """
    serial, cheapest = it.count(), {}
    vertices = frozenset(part.vertices)
    open_ = [_Node(part.lower_bound, 0, next(serial), 0, part.start, vertices, ())]
    while open_ and not part.finished and len(cheapest) < _MOST_NODES:
        node = heapq.heappop(open_)
        part.lower_bound = max(part.lower_bound, min(node.bound, part.cost))
        if not node.left:
            part.offer(node.order)
            continue
        for vertex in _candidates(part, node):
            new = _after(part, node, vertex, next(serial))
            key = _key(part, new)
            if new.bound < part.cost and new.spent < cheapest.get(key, part.cost):
                cheapest[key] = new.spent
                heapq.heappush(open_, new)
    if not open_:
        part.lower_bound = part.cost


def _candidates(part: Part, node: _Node) -> Iterable[int]:
    """The vertices that may come next: one alone where that is known to be best."""
    for vertex in sorted(node.left):
        if part.space.cost(node.state, vertex) == part.space.unit:
            return (vertex,)  # One predecessor, one successor.
    return sorted(node.left)


def _after(part: Part, node: _Node, vertex: int, serial: int) -> _Node:
    cost, state = part.space.eliminate(node.state, vertex)
    return _Node(
        node.bound + cost - part.bounds[vertex],
        node.depth - 1,
        serial,
        node.spent + cost,
        state,
        node.left - {vertex},
        (*node.order, vertex),
    )


def _key(part: Part, node: _Node) -> Hashable:
    # Where every pair costs the same, the vertices that are left tell the state.
    return node.left if part.space.unit is not None else part.space.key(node.state)
