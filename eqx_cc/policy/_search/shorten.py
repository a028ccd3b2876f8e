"""Graphs of scalars without the vertices whose place in an order is known."""

from __future__ import annotations

from typing import NamedTuple

from ..._graph.graph import ComputationalGraph, SCALAR
from ..._orders.cost import AbstractCost
from ..._orders.search.reductions import without_chains
from ..._orders.state import BitSpace, space


class Shortened(NamedTuple):
    """A graph after some of its vertices were eliminated, and at what cost: there is a
    best order that begins so. The vertices of the graph keep their numbers."""

    prefix: tuple[int, ...]
    cost: int
    graph: ComputationalGraph


def shortened(graph: ComputationalGraph, cost: AbstractCost) -> Shortened:
    """Eliminates vertices between two others, as searches do too, where it is known to
    be safe; of structured graphs, none."""
    bits = space(graph, cost)
    if not isinstance(bits, BitSpace):
        return Shortened((), 0, graph)
    prefix, paid, state = without_chains(bits)
    if not prefix:
        return Shortened((), 0, graph)
    names = [bits.names(v)[0] for v in range(len(bits.start) // 2)]
    blocks = tuple(
        ((names[u], v_name), SCALAR)
        for v, v_name in enumerate(names)
        for u in sorted(bits.predecessors(state, v))
    )
    rest = ComputationalGraph(
        graph.independents, graph.dependents, blocks, graph.labels
    )
    return Shortened(tuple(names[v] for v in prefix), paid, rest)
