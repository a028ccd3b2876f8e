"""Building a computational graph edge by edge, with whatever yields its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._blocks.add import run_sum
from .._blocks.arrays import Values
from .._graph.graph import ComputationalGraph
from .._sparsity.pattern import add, identity, Pattern
from .._sparsity.recipes import Sum
from .entries import Part, Refinement


class Edge(NamedTuple):
    """The sources of an edge's values, and how they add up if there are several."""

    sources: tuple[Any, ...]
    sum: Sum | None


class GraphBuilder:
    """Collects vertices and edges in topological order."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.places: list[str] = []
        self.dtypes: list[np.dtype] = []
        self.dense_fallbacks: list[int] = []
        self._edges: dict[tuple[int, int], list[tuple[Pattern, Any]]] = {}
        # What is known of edges beyond their patterns, in the order of these.
        self._refinements: dict[tuple[int, int], list[Refinement | None]] = {}

    def copy(self) -> GraphBuilder:
        """An independent copy, which can be extended on its own."""
        new = GraphBuilder()
        for name, collection in vars(self).items():
            setattr(new, name, collection.copy())
        for name in ("_edges", "_refinements"):
            by_ends = getattr(self, name).items()
            setattr(new, name, {ends: list(parallel) for ends, parallel in by_ends})
        return new

    def vertex(self, dtype: np.dtype, label: str = "", place: str = "") -> int:
        """Adds a vertex; returns its number."""
        self.labels.append(label)
        self.places.append(place)
        self.dtypes.append(dtype)
        return len(self.labels) - 1

    def edge(
        self,
        u: int,
        v: int,
        pattern: Pattern,
        source: Any,
        refinement: Refinement | None = None,
    ) -> None:
        """Adds an edge, in parallel to those between the same vertices."""
        self._edges.setdefault((u, v), []).append((pattern, source))
        self._refinements.setdefault((u, v), []).append(refinement)

    def parts(self, edges: Iterable[tuple[int, int]]) -> dict[Any, tuple[Part, ...]]:
        """What edges are sums of, if there is more to it than their pattern."""
        patterns = {e: [pattern for pattern, _ in self._edges[e]] for e in edges}
        return {
            ends: tuple(zip(parallel, self._refinements[ends]))
            for ends, parallel in patterns.items()
            if len(parallel) > 1 or any(self._refinements[ends])
        }

    def outputs(
        self, ends: Sequence[tuple[int, tuple[int, ...]] | None], num_inputs: int
    ) -> list[int | None]:
        """The vertices that stand for outputs; these come as `(vertex, shape)`.

        A vertex that is an input, feeds others, or is output several times is copied.
        """
        count = Counter(end[0] for end in ends if end is not None)
        used = {u for u, _ in self._edges}.union(range(num_inputs))
        used |= {vertex for vertex, times in count.items() if times > 1}
        return [
            end if end is None else self._copy(*end) if end[0] in used else end[0]
            for end in ends
        ]

    def _copy(self, vertex: int, shape: tuple[int, ...]) -> int:
        dtype = self.dtypes[vertex]
        copy = self.vertex(dtype, "copy")
        is_complex = np.issubdtype(dtype, np.complexfloating)
        block = identity(shape, complex=is_complex)
        self.edge(vertex, copy, block, (None,) * len(block.terms))
        return copy

    def build(
        self, independents: list[int], dependents: list[int]
    ) -> tuple[ComputationalGraph, dict[tuple[int, int], Edge]]:
        """The graph, and where the values of its edges come from."""
        blocks, edges = [], {}
        for ends, parallel in self._edges.items():
            patterns, sources = zip(*parallel)
            pattern, recipe = patterns[0], None
            if len(patterns) > 1:
                pattern, recipe = add(*patterns)
            if not pattern.is_zero:
                blocks.append((ends, pattern))
                edges[ends] = Edge(sources, recipe)
        graph = ComputationalGraph(
            tuple(independents),
            tuple(dependents),
            tuple(blocks),
            tuple(self.labels),
            tuple(self.places),
            tuple(self.dense_fallbacks),
        )
        return graph, edges

    def values(
        self,
        edges: Mapping[tuple[int, int], Edge],
        read: Callable[[Any], Any] = lambda source: source,
    ) -> dict[tuple[int, int], Values]:
        """The values of the edges, with those of a source looked up by `read`."""
        values = {}
        for ends, edge in edges.items():
            parts = [read(source) for source in edge.sources]
            values[ends] = parts[0]
            if edge.sum is not None:
                terms = tuple(value for part in parts for value in part)
                values[ends] = run_sum(edge.sum, terms, self.dtypes[ends[1]])
        return values
