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

from ..state import members, State
from .component import Part
from .reductions import is_chain


_MOST_NODES = 100_000  # Some hundred megabytes.


class _Node(NamedTuple):
    """Some vertices have been eliminated, at a cost of `spent`."""

    bound: int  # What any order that begins like this costs at least.
    depth: int  # Minus the number of vertices eliminated: among equals, the most first.
    serial: int
    spent: int
    state: State
    left: frozenset[int]
    gone: int
    order: tuple[int, ...]


def solve(part: Part) -> None:
    """Finds the best order of a part, with proof, or raises its lower bound until the
    part is finished.

    What is left to do depends on the state alone, so that of all orders which lead to
    the same state only the cheapest is followed; and a state is not followed if even
    the bounds of what is left make it no better than what is known.
    """
    serial, cheapest, left = it.count(), {}, _Left(part)
    vertices = frozenset(part.vertices)
    bound = left.least(left.paid)
    root = _Node(bound, 0, next(serial), 0, part.start, vertices, left.paid, ())
    open_ = [root]
    while open_ and not part.finished and len(cheapest) < _MOST_NODES:
        node = heapq.heappop(open_)
        part.bound_below(min(node.bound, part.cost))
        if not node.left:
            part.offer(node.order)
            continue
        for vertex in _candidates(part, node):
            if part.finished:
                return
            new = _after(part, left, node, vertex, next(serial))
            key = _key(part, new)
            if new.bound < part.cost and new.spent < cheapest.get(key, part.cost):
                cheapest[key] = new.spent
                heapq.heappush(open_, new)
    if not open_:
        part.bound_below(part.cost)


class _Left:
    """What is left to pay at least, by the sum of what blocks of vertices must cost.

    `paid` are vertices of these blocks that were eliminated before the part is.
    """

    def __init__(self, part: Part):
        self._part = part
        tables = {block: part.table(block) for block in part.blocks}
        self._tables = {v: (b, t) for b, t in tables.items() for v in members(b)}
        own = {w for v in part.vertices for w in part.space.group(v)}
        self.paid = sum(1 << v for v in self._tables.keys() - own)
        self._single = [v for v in part.vertices if v not in self._tables]

    def least(self, gone: int) -> int:
        blocks = {block: table for block, table in self._tables.values()}
        inside = sum(table[gone & block] for block, table in blocks.items())
        return inside + sum(self._part.bounds[v] for v in self._single)

    def drop(self, gone: int, vertex: int) -> int:
        """How much less it is once the vertex is gone too."""
        if vertex not in self._tables:
            return self._part.bounds[vertex]
        drop = 0
        for v in self._part.space.group(vertex):
            block, table = self._tables[v]
            drop += table[gone & block] - table[gone & block | 1 << v]
            gone |= 1 << v
        return drop


def _candidates(part: Part, node: _Node) -> Iterable[int]:
    """The vertices that may come next: one alone where that is known to be best."""
    for vertex in sorted(node.left):
        if is_chain(part.space, node.state, vertex):
            return (vertex,)
    return sorted(node.left)


def _after(part: Part, left: _Left, node: _Node, vertex: int, serial: int) -> _Node:
    cost, state = part.space.eliminate(node.state, vertex)
    return _Node(
        node.bound + cost - left.drop(node.gone, vertex),
        node.depth - 1,
        serial,
        node.spent + cost,
        state,
        node.left - {vertex},
        node.gone | sum(1 << v for v in part.space.group(vertex)),
        (*node.order, vertex),
    )


def _key(part: Part, node: _Node) -> Hashable:
    # Where every pair costs the same, the vertices that are gone tell the state.
    return node.gone if part.space.unit is not None else part.space.key(node.state)
