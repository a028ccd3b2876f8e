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


_MAX_NODES = 100_000  # Some hundred megabytes.


class _Node(NamedTuple):
    """A state after `order`, which costs `spent`."""

    bound: int  # The least cost of any order that begins with `order`.
    depth: int  # Minus the length of `order`: among equals, the longest first.
    serial: int
    spent: int
    state: State
    remaining: frozenset[int]
    gone: int
    order: tuple[int, ...]


def solve(part: Part) -> None:
    """Finds the best order of a part and proves it, or raises its lower bound until the
    part is finished (A* search).

    The remaining cost depends on the state alone. So of all orders that lead to a state
    only the cheapest is followed, and none whose bound is not below the best cost.
    """
    serial, cheapest, heuristic = it.count(), {}, _Heuristic(part)
    vertices, paid = frozenset(part.vertices), heuristic.paid
    bound = heuristic.least(paid)
    root = _Node(bound, 0, next(serial), 0, part.start, vertices, paid, ())
    open_ = [root]
    while open_ and not part.finished and len(cheapest) < _MAX_NODES:
        node = heapq.heappop(open_)
        part.bound_below(min(node.bound, part.cost))
        if not node.remaining:
            part.offer(node.order)
            continue
        for vertex in _candidates(part, node):
            if part.finished:
                return
            new = _after(part, heuristic, node, vertex, next(serial))
            key = _key(part, new)
            if new.bound < part.cost and new.spent < cheapest.get(key, part.cost):
                cheapest[key] = new.spent
                heapq.heappush(open_, new)
    if not open_:
        part.bound_below(part.cost)


class _Heuristic:
    """The heuristic of A*: the least remaining cost, as a sum over blocks of vertices.

    `paid` are vertices of the blocks that are eliminated before the part, as bits.
    """

    def __init__(self, part: Part):
        self._part = part
        tables = {block: part.table(block) for block in part.blocks}
        self._tables = {v: (b, t) for b, t in tables.items() for v in members(b)}
        in_part = {w for v in part.vertices for w in part.space.group(v)}
        self.paid = sum(1 << v for v in self._tables.keys() - in_part)
        self._single = [v for v in part.vertices if v not in self._tables]

    def least(self, gone: int) -> int:
        """The least cost after the set `gone`."""
        blocks = dict(self._tables.values())
        inside = sum(table[gone & block] for block, table in blocks.items())
        return inside + sum(self._part.bounds[v] for v in self._single)

    def drop(self, gone: int, vertex: int) -> int:
        """The decrease of `least` when the vertex is eliminated after `gone`."""
        if vertex not in self._tables:
            return self._part.bounds[vertex]
        drop = 0
        for v in self._part.space.group(vertex):
            block, table = self._tables[v]
            drop += table[gone & block] - table[gone & block | 1 << v]
            gone |= 1 << v
        return drop


def _candidates(part: Part, node: _Node) -> Iterable[int]:
    """The vertices that may come next: a chain alone, if there is one."""
    for vertex in sorted(node.remaining):
        if is_chain(part.space, node.state, vertex):
            return (vertex,)
    return sorted(node.remaining)


def _after(
    part: Part, heuristic: _Heuristic, node: _Node, vertex: int, serial: int
) -> _Node:
    cost, state = part.space.eliminate(node.state, vertex)
    return _Node(
        node.bound + cost - heuristic.drop(node.gone, vertex),
        node.depth - 1,
        serial,
        node.spent + cost,
        state,
        node.remaining - {vertex},
        node.gone | sum(1 << v for v in part.space.group(vertex)),
        (*node.order, vertex),
    )


def _key(part: Part, node: _Node) -> Hashable:
    # Where every pair of edges costs the same, the eliminated set gives the state.
    return node.gone if part.space.unit is not None else part.space.key(node.state)
