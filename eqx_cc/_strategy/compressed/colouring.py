"""Groups of columns of a sparse matrix that do not overlap.

rustworkx, of the extra `sparse`, colours the graph of conflicts: each column is a
vertex, and two that have an entry in one row are neighbours. (Curtis, Powell and Reid,
*On the estimation of sparse Jacobian matrices*, 1974; Coleman and Moré, *Estimation of
sparse Jacobian matrices and graph coloring problems*, 1983.)
"""

from __future__ import annotations

import functools as ft
import importlib.util

import numpy as np


@ft.cache
def is_installed() -> bool:
    """True if rustworkx can be imported. Nothing is imported to see that."""
    return importlib.util.find_spec("rustworkx") is not None


def fewest_colours(rows: np.ndarray) -> int:
    """A lower bound of the number of colours: the entries of the fullest row."""
    return int(np.bincount(rows, minlength=1).max())


def colour_columns(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """A colour for each column, from 0 on. No two columns of one colour have an entry
    in the same row. The entries of the matrix are at `rows` and `columns`.

    The entries (0, 0), (0, 1), (1, 1) and (1, 2): the colours 1, 0, 1.
    """
    import rustworkx
    from scipy import sparse

    matrix = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape)
    conflicts = sparse.triu(matrix.T @ matrix, 1).tocoo()
    pairs = zip(conflicts.row.tolist(), conflicts.col.tolist())
    graph = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(shape[1]))
    graph.add_edges_from_no_data(list(pairs))
    colours = rustworkx.graph_greedy_color(graph)
    return np.array([colours[column] for column in range(shape[1])], np.int32)
