"""The patterns that can arise when a graph is eliminated, whatever the order."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import NamedTuple, TypeAlias

import numpy as np

from ..._graph.graph import ComputationalGraph
from ..._orders.cost import AbstractCost
from ..._orders.state import Table


_Edge: TypeAlias = tuple[int, int]
_Codes: TypeAlias = frozenset[int]


class Tables(NamedTuple):
    """Patterns by their codes, of which 0 is no edge: `new[old, left, right]` is the
    code of `old + left @ right`, and `cost` its cost. `size[code]` is the number of
    values that an edge stores, and `edges` has the code of each edge of the graph."""

    new: np.ndarray
    cost: np.ndarray
    size: np.ndarray
    edges: dict[_Edge, int]


def tables(graph: ComputationalGraph, cost: AbstractCost, limit: int) -> Tables:
    """The tables of a graph under a cost model.

    Raises a `ValueError` if more than `limit` patterns may arise.
    """
    table = Table(cost)
    edges = {e: table.number(p) for e, p in cost.view(graph).edges.items()}
    _close(graph, table, edges, limit)
    count = len(table.patterns)
    new = np.broadcast_to(np.arange(count, dtype=np.int32)[:, None, None], (count,) * 3)
    new, costs = new.copy(), np.full((count,) * 3, np.nan)  # What cannot arise.
    costs[:, 0], costs[:, :, 0] = 0, 0  # No edge, nothing to do.
    for key, (step, code) in table.items():
        new[key], costs[key] = code, step
    size = [0 if p is None else p.num_values for p in table.patterns]
    return Tables(new, costs, np.asarray(size, float), edges)


def _close(
    graph: ComputationalGraph, table: Table, edges: dict[_Edge, int], limit: int
) -> None:
    """Adds to the table all patterns that can arise between each pair of vertices.

    Every vertex between the two adds at most once: were it more often, then known
    coefficients would grow without end. In which order they add makes no difference but
    to the rounding of such coefficients; two orders are tried.
    """
    _check(len(table.patterns) - 1, limit)
    codes_of: dict[_Edge, _Codes] = {edge: frozenset([c]) for edge, c in edges.items()}
    into: dict[int, set[int]] = {}
    out: dict[int, set[int]] = {}
    for u, v in edges:
        out.setdefault(u, set()).add(v)
        into.setdefault(v, set()).add(u)

    @cache
    def grown(old: _Codes, left: _Codes, right: _Codes) -> _Codes:
        new = set(old)
        for key in product(old, left, right):
            new.add(table[key][1])
            _check(len(table.patterns) - 1, limit)
        return frozenset(new)

    def between(u: int, w: int) -> _Codes:
        ways = sorted(out.get(u, set()) & into.get(w, set()) & inner)
        start = codes_of.get((u, w), frozenset([0]))
        codes: _Codes = frozenset()
        for order in (ways, ways[::-1]):
            new = start
            for v in order:
                new = grown(new, codes_of[v, w], codes_of[u, v])
            codes |= new
        return codes - {0}

    inner = {*graph.intermediates}
    vertices = sorted({v for edge in edges for v in edge})
    for span in range(2, len(vertices)):
        for u, w in zip(vertices, vertices[span:]):
            if codes := between(u, w):
                codes_of[u, w] = codes
                out.setdefault(u, set()).add(w)
                into.setdefault(w, set()).add(u)


def _check(count: int, limit: int) -> None:
    if count > limit:
        raise ValueError(
            f"`graph` must have at most {limit} patterns that can arise when it is "
            "eliminated; there are more. Known coefficients cause many patterns: the "
            "cost model 'published' treats them as unknown."
        )
