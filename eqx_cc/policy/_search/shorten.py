"""Graphs of scalars without the vertices whose place in an order is known."""

from __future__ import annotations

from typing import NamedTuple

from ..._graph.graph import ComputationalGraph, SCALAR
from ..._orders.cost import AbstractCost
from ..._orders.search.reductions import without_chains
from ..._orders.state import Bits, space


class Shortened(NamedTuple):
    """A graph after some of its vertices were eliminated, and at what cost: there is a
    best order that begins so. The vertices of the graph keep their numbers."""

    prefix: tuple[int, ...]
    cost: int
    graph: ComputationalGraph


def shortened(graph: ComputationalGraph, cost: AbstractCost) -> Shortened:
    """Eliminates vertices between two others, as searches do too, where it is known to
    be safe; of structured graphs, none."""
    own = space(graph, cost)
    if not isinstance(own, Bits):
        return Shortened((), 0, graph)
    prefix, paid, state = without_chains(own)
    if not prefix:
        return Shortened((), 0, graph)
    name = own.names
    blocks = tuple(
        ((name(u)[0], name(v)[0]), SCALAR)
        for v in range(len(own.start) // 2)
        for u in sorted(own.predecessors(state, v))
    )
    rest = ComputationalGraph(
        graph.independents, graph.dependents, blocks, graph.labels
    )
    return Shortened(tuple(name(v)[0] for v in prefix), paid, rest)
