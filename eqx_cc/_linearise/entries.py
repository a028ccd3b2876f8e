"""The entries of a Jacobian that a path leads to, one by one.

Terms that overlap share storage that is wider than both, as it takes less time: the two
rows of `[[a, b, 0], [0, c, d]]` may be stored as a full matrix. The positions of what
is listed for a user, or for another library, are followed through the graph instead:

    reached[v] = union over u of local[u, v] @ reached[u]

with boolean matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from .._graph.graph import ComputationalGraph
from .._sparsity.entries import positions
from .._sparsity.pattern import Pattern


# Computes positions for several blocks, ascending in each ravelled block; None where
# they are those of the pattern. A `Refinement` is one of these, a `Part` a pattern with
# its own.
Refine: TypeAlias = Callable[[], Sequence[np.ndarray | None]]
Refinement: TypeAlias = tuple[Refine, int]
Part: TypeAlias = tuple[Pattern, Refinement | None]
Edge: TypeAlias = tuple[int, int]

# Nothing is followed beyond so many edges, and so many entries of them together.
_MAX_EDGES = 1 << 9
_MAX_ENTRIES = 1 << 18


def reached_entries(
    graph: ComputationalGraph, parts: Mapping[Edge, tuple[Part, ...]]
) -> dict[Edge, np.ndarray]:
    """The positions, ascending in the ravelled block, of each block from an independent
    to a dependent; no blocks at all if that takes too long.

    `parts` has what edges are sums of, where that is more than their pattern.
    """
    return _cached(graph, tuple(sorted(parts.items(), key=lambda item: item[0])))


# Few, as they may be large.
@lru_cache(maxsize=32)
def _cached(graph: ComputationalGraph, parts) -> dict[Edge, np.ndarray]:
    by_edge = dict(parts)
    edges = {
        edge: by_edge.get(edge, ((pattern, None),))
        for edge, pattern in graph.edges.items()
    }
    entries = sum(p.num_nonzeros for e in edges.values() for p, _ in e)
    if len(edges) > _MAX_EDGES or entries > _MAX_ENTRIES:
        return {}
    reached = _reached(graph, edges)
    if reached is None:
        return {}
    return {
        (u, v): flat_positions(reached[v][u])
        for v in graph.dependents
        for u in graph.independents
        if u in reached.get(v, ())
    }


def _reached(graph: ComputationalGraph, edges: Mapping[Edge, tuple[Part, ...]]) -> Any:
    """For each vertex and each independent, the boolean matrix between them; None if
    these have too many entries."""
    matrices: dict[int, dict[int, Any]] = {u: {} for u in graph.independents}
    total = 0
    for (u, v), parts in sorted(edges.items(), key=lambda item: item[0][::-1]):
        local = _matrix(parts)
        # An independent reaches itself by the identity.
        sources = matrices[u] or {u: None}
        row = matrices.setdefault(v, {})
        for source, before in sources.items():
            product = local if before is None else boolean_product(local, before)
            if product is None:
                return None
            row[source] = row[source] + product if source in row else product
            total += row[source].nnz
            if total > _MAX_ENTRIES:
                return None
    return matrices


def boolean_product(left: Any, right: Any) -> Any:
    """The entries of a product; None where they are too many. Those of a full matrix
    and another one are full columns, or rows."""
    from scipy.sparse import csr_array

    if left.nnz < math.prod(left.shape) and right.nnz < math.prod(right.shape):
        return left @ right
    rows, columns = np.unique(left.nonzero()[0]), np.unique(right.indices)
    if len(rows) * len(columns) > _MAX_ENTRIES:
        return None
    at = np.repeat(rows, len(columns)), np.tile(columns, len(rows))
    shape = left.shape[0], right.shape[1]
    return csr_array((np.ones(len(at[0]), bool), at), shape=shape)


def _matrix(parts: Sequence[Part]) -> Any:
    """The boolean matrix of an edge, from the ravelled input to the output."""
    pattern = parts[0][0]
    return boolean_matrix(pattern, np.concatenate([_entries(part) for part in parts]))


def _entries(part: Part) -> np.ndarray:
    pattern, refinement = part
    refined = refinement and refinement[0]()[refinement[1]]
    return positions_of(pattern) if refined is None else refined


def positions_of(pattern: Pattern) -> np.ndarray:
    """The positions of the entries of a pattern in the ravelled block."""
    lists = [positions(term, pattern.shape) for term in pattern.terms]
    return np.concatenate([np.zeros(0, np.int64), *lists])


def boolean_matrix(pattern: Pattern, flat: np.ndarray) -> Any:
    """The matrix, from the ravelled input to the output, with entries at positions
    `flat` of the ravelled block. Those that occur several times become one."""
    from scipy.sparse import csr_array

    shape = math.prod(pattern.out_shape), math.prod(pattern.in_shape)
    entries = np.ones(len(flat), bool), np.divmod(flat, max(1, shape[1]))
    return csr_array(entries, shape=shape)


def flat_positions(matrix: Any) -> np.ndarray:
    """The positions of the entries of a matrix in the ravelled block, ascending."""
    matrix = matrix.tocoo()
    return np.sort(matrix.row.astype(np.int64) * matrix.shape[1] + matrix.col)
