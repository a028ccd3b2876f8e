"""A lower bound on what any order costs, from minimum cuts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from ._reduce import Reduced


def vertex_bounds(reduced: Reduced) -> dict[int, int]:
    r"""For each vertex that is left, the least that its elimination can cost.

    Once the set $S$ has been eliminated, the predecessors of $v$ are the vertices
    outside of $S$ from which a path through $S$ leads to $v$. Every path from an input
    to $v$ has one, the last of its vertices outside of $S$: they are a vertex cut, and
    no fewer than the minimum cut, which is the number of disjoint paths (Menger). The
    same holds for the successors, so that
    $\sum_v \mathrm{cut}(\text{inputs}, v) \, \mathrm{cut}(v, \text{outputs})$
    bounds the cost of every order.

    It is zero where pairs of edges differ in cost.
    """
    own, start = reduced.space, reduced.start
    inner = [v for part in reduced.parts for v in part]
    if own.unit is None:
        return dict.fromkeys(inner, 0)
    edges = {(v, w) for v in inner for w in own.successors(start, v)}
    edges |= {(u, v) for v in inner for u in own.predecessors(start, v)}
    before = _cuts(edges, inner)
    after = _cuts({(w, v) for v, w in edges}, inner)
    return {v: own.unit * len(own.names(v)) * before[v] * after[v] for v in inner}


def _cuts(edges: set[tuple[int, int]], vertices: Iterable[int]) -> dict[int, int]:
    """How many paths, disjoint but for their ends, lead from vertices that no edge
    leads to, to each of `vertices`."""
    targets = {v for _, v in edges}
    everything = {u for u, _ in edges} | targets
    # A vertex v is two, 2v and 2v + 1, with one path allowed from one to the other.
    arcs = [(2 * v, 2 * v + 1) for v in everything]
    arcs += [(2 * u + 1, 2 * v) for u, v in edges]
    source = 2 * max(everything, default=0) + 2
    arcs += [(source, 2 * v) for v in everything - targets]
    rows, columns = np.array(arcs, dtype=np.int32).reshape(-1, 2).T
    ones = np.ones(len(arcs), dtype=np.int32)
    capacities = csr_array((ones, (rows, columns)), shape=(source + 1, source + 1))
    return {
        v: int(maximum_flow(capacities, source, 2 * v).flow_value) for v in vertices
    }
