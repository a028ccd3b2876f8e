"""The computational graph: vertices, edges, and a pattern on every edge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from .._sparsity.keyed import keyed
from .._sparsity.pattern import Pattern
from .._sparsity.term import Term


# The edge between two scalars.
SCALAR = Pattern((), (), (Term((), (), (), ()),))


@keyed("independents", "dependents", "blocks")
@dataclass(frozen=True, eq=False)
class ComputationalGraph:
    """A linearised computational graph: the local partials between its vertices.

    Vertices are numbered in topological order. The *independents* are the inputs, the
    *dependents* the outputs, and every other vertex that lies on a path between the two
    is an *intermediate*, to be eliminated. No edge leaves a dependent: an output that
    is used again is a vertex of its own, a copy.

    !!! Example

        ```python
        edges = [(0, 2), (1, 2), (2, 3), (3, 4), (3, 5)]
        graph = eqx_cc.ComputationalGraph.from_edges(6, [0, 1], [4, 5], edges)
        print(graph.intermediates, eqx_cc.Exact()(graph).cost)
        ```

        ```text
        (2, 3) 6
        ```

    ??? cite "Reference"

        Griewank and Walther, *Evaluating Derivatives*, 2nd edition, chapters 9 and 10.
    """

    independents: tuple[int, ...]
    dependents: tuple[int, ...]
    blocks: tuple[tuple[tuple[int, int], Pattern], ...]
    labels: tuple[str, ...] = field(default=())
    places: tuple[str, ...] = field(default=())
    dense_fallbacks: tuple[int, ...] = field(default=())

    @staticmethod
    def from_edges(
        num_vertices: int,
        independents: Iterable[int],
        dependents: Iterable[int],
        edges: Iterable[tuple[int, int]],
    ) -> ComputationalGraph:
        """A graph of scalars from its edges, with unknown coefficients.

        **Arguments:**

        - `num_vertices`: the number of vertices, numbered from 0 in topological order.
        - `independents`, `dependents`: the inputs and the outputs.
        - `edges`: pairs `(from, to)`.

        **Returns:** a `ComputationalGraph`. A dependent that feeds other vertices
        becomes an intermediate with a copy (a vertex numbered from `num_vertices` on)
        as the output; its coefficient counts as unknown, like any other. Raises a
        `ValueError` if an edge does not go forward.
        """
        independents, dependents = tuple(independents), tuple(dependents)
        _check_vertices("independents", independents, num_vertices)
        _check_vertices("dependents", dependents, num_vertices)
        # An edge may be any pair, a list say.
        blocks = {(u, v): SCALAR for u, v in edges}  # noqa: C420
        for u, v in blocks:
            if not 0 <= u < v < num_vertices:
                raise ValueError(
                    "`edges` must go from a lower to a higher vertex below "
                    f"{num_vertices}; got ({u}, {v})."
                )
            if v in independents:
                raise ValueError(
                    f"`edges` must not lead into an independent; got ({u}, {v})."
                )
        used, outputs = {u for u, _ in blocks}, []
        for vertex in dependents:
            if vertex in used:
                blocks[vertex, num_vertices] = SCALAR
                vertex, num_vertices = num_vertices, num_vertices + 1
            outputs.append(vertex)
        labels = ("",) * num_vertices
        return ComputationalGraph(
            independents, tuple(outputs), tuple(blocks.items()), labels
        )

    @property
    def num_vertices(self) -> int:
        """Number of vertices, those that reach no output included."""
        return len(self.labels)

    @cached_property
    def edges(self) -> Mapping[tuple[int, int], Pattern]:
        """The pattern of every local partial `(from, to)` that lies on a path from an
        input to an output."""
        forward = sorted(edge for edge, _ in self.blocks)
        backward = sorted(((v, u) for u, v in forward), reverse=True)
        useful = _reached(self.independents, forward)
        useful &= _reached(self.dependents, backward)
        return {edge: p for edge, p in self.blocks if useful.issuperset(edge)}

    @cached_property
    def intermediates(self) -> tuple[int, ...]:
        """The vertices to eliminate, ascending."""
        inner = {vertex for edge in self.edges for vertex in edge}
        return tuple(sorted(inner.difference(self.independents, self.dependents)))

    @cached_property
    def fingerprint(self) -> str:
        """A hexadecimal digest of structure, patterns and known coefficients; equal
        for equal graphs in any process, for any names and values."""
        ends = self.independents, self.dependents
        vertices = sorted({*self.intermediates}.union(*ends))
        number = {vertex: i for i, vertex in enumerate(vertices)}
        edges = sorted(
            (number[u], number[v], _pattern_text(pattern))
            for (u, v), pattern in self.edges.items()
        )
        numbered = [[number[vertex] for vertex in side] for side in ends]
        return hashlib.sha256(repr((numbered, edges)).encode()).hexdigest()

    @property
    def _counts(self) -> str:
        return (
            f"{len(self.independents)} inputs, {len(self.intermediates)} "
            f"intermediates, {len(self.dependents)} outputs, {len(self.edges)} edges"
        )

    def __repr__(self) -> str:
        return f"ComputationalGraph({self._counts})"

    def __str__(self) -> str:
        lines = [f"ComputationalGraph: {self._counts}"]
        for (u, v), block in sorted(self.edges.items(), key=lambda e: e[0][::-1]):
            lines.append(f"  {u:>4} -> {v:<4} {self.labels[v]:<24} {block}")
        return "\n".join(lines)


def _reached(sources: Iterable[int], edges: Iterable[tuple[int, int]]) -> set[int]:
    """The vertices that edges, sorted by where they begin, lead to from `sources`."""
    reached = set(sources)
    for u, v in edges:
        if u in reached:
            reached.add(v)
    return reached


def _pattern_text(pattern: Pattern) -> str:
    """The text that stands for a pattern in fingerprints, which are kept in files."""
    flags = pattern.complex_out, pattern.complex_in
    return repr((pattern.out_shape, pattern.in_shape, pattern.terms, flags))


def _check_vertices(name: str, vertices: tuple[int, ...], num_vertices: int) -> None:
    outside = [v for v in vertices if not 0 <= v < num_vertices]
    if outside or len(set(vertices)) < len(vertices):
        raise ValueError(
            f"`{name}` must be distinct vertices below {num_vertices}; got {vertices}."
        )
