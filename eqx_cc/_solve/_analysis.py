"""Which factorisation suits a structure: symbolic, in NumPy and SciPy, when tracing."""

from __future__ import annotations

import functools as ft
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from ._banded import BandedPlan
from ._base import AbstractPlan
from ._blocks import BlocksPlan, DiagonalPlan
from ._composite import BorderedPlan, LowRankPlan, Order, ReorderedPlan
from ._positions import merge, Positions
from ._superlu import SuperLUPlan
from ._tridiagonal import BlockTridiagonalPlan


# Smaller systems are solved as dense ones.
SMALL = 24
# The widest band that is carried as single numbers: wider ones take long to compile,
# and fill the registers (`python -m benchmarks.solvers --shares`).
_WIDEST = 4
# A row or column with more than this part of all entries is moved to the border, which
# may be this part of all rows.
_FULL, _BORDER = 0.25, 0.125
# Blocks along the diagonal, and the widest band of which blocks are eliminated, as a
# part of all rows: a dense factorisation takes two thirds of the cube.
_BLOCK, _BAND = 16, 0.2
# Nanoseconds for blocks and for dense matrices, with the powers of sizes that go with
# them; and from when on SuperLU is considered.
_BY_BLOCKS, _DENSELY, _CONSIDERED = 1.5, 0.05, 5e6


def is_enough(size: int, nonzeros: int) -> bool:
    """Whether so few entries of a matrix are a structure worth looking at."""
    return size >= SMALL and nonzeros <= 0.25 * size**2


@ft.lru_cache(maxsize=256)
def plan_for(positions: Positions, rank: int) -> AbstractPlan | None:
    """How to factor matrices with these entries, and others of low rank besides; None
    if they had better be taken for dense."""
    size = positions.num_rows
    if size != positions.num_columns or rank > _BORDER * size:
        return None
    found = _plan(_Graph.of(positions), with_border=True)
    if found is None or rank == 0:
        return found
    return LowRankPlan(found, rank, size)


class _Graph(NamedTuple):
    """The structure of a square matrix."""

    matrix: sparse.csr_matrix

    @classmethod
    def of(cls, positions: Positions) -> _Graph:
        size = positions.num_rows
        ones = np.ones(len(positions), np.int8)
        where = positions.rows, positions.columns
        return cls(sparse.csr_matrix((ones, where), (size, size)))

    @property
    def size(self) -> int:
        return len(self.matrix.indptr) - 1

    @property
    def symmetric(self) -> sparse.csr_matrix:
        return sparse.csr_matrix(self.matrix + self.matrix.T)

    @property
    def positions(self) -> Positions:
        found = self.matrix.tocoo()
        return merge(found.row, found.col, (self.size, self.size))[0]

    @property
    def is_singular(self) -> bool:
        """Whether it is singular whatever the entries are."""
        return bool(csgraph.structural_rank(self.matrix) < self.size)

    def degrees(self) -> np.ndarray:
        """For every number, the entries in its row or in its column: the more."""
        rows = np.diff(self.matrix.indptr)
        return np.maximum(rows, np.diff(self.matrix.tocsc().indptr))

    def bandwidths(self) -> tuple[int, int]:
        """The number of bands below the diagonal and above it."""
        found = self.matrix.tocoo()
        offsets = found.col.astype(int) - found.row
        return -int(offsets.min(initial=0)), int(offsets.max(initial=0))

    def restricted(self, places: np.ndarray) -> _Graph:
        return _Graph(self.matrix[places][:, places])


def _plan(graph: _Graph, with_border: bool) -> AbstractPlan | None:
    if graph.size == 0 or graph.is_singular:
        return None
    if graph.bandwidths() == (0, 0):
        return DiagonalPlan(graph.size)
    found = _banded(graph)
    if found is None and with_border:
        found = _bordered(graph)
    if found is None:
        found = _blocks(graph)
    if found is None:
        found = _reordered(graph)
    return found


def _bordered(graph: _Graph) -> AbstractPlan | None:
    """Full rows and columns last."""
    full = graph.degrees() > max(8, _FULL * graph.size)
    (border,), (inside,) = np.nonzero(full), np.nonzero(~full)
    if not 0 < len(border) <= _BORDER * graph.size:
        return None
    core = _plan(graph.restricted(inside), with_border=False)
    if core is None:
        return None
    plan = BorderedPlan(graph.size, len(border), core)
    return _in_order(np.concatenate([inside, border]), plan)


def _blocks(graph: _Graph) -> AbstractPlan | None:
    """What hangs together, side by side."""
    _, labels = csgraph.connected_components(graph.matrix, directed=False)
    sizes = np.bincount(labels)
    width = int(sizes.max())
    if width > min(_BLOCK, graph.size // 4) or np.any(sizes != width):
        return None
    return _in_order(np.argsort(labels, kind="stable"), BlocksPlan(graph.size, width))


def _banded(graph: _Graph) -> AbstractPlan | None:
    """Few bands."""
    lower, upper = graph.bandwidths()
    lower = max(1, lower)
    if max(lower, upper) > _WIDEST or 4 * max(lower, upper) > graph.size:
        return None
    return BandedPlan(graph.size, lower, upper)


def _reordered(graph: _Graph) -> AbstractPlan | None:
    """The order of reverse Cuthill and McKee has narrow bands: it interleaves what was
    one after the other, for one thing. SuperLU has orders of its own, for what fills
    fewer entries than a band has."""
    order = csgraph.reverse_cuthill_mckee(graph.symmetric, symmetric_mode=True)
    turned = graph.restricted(order)
    if max(turned.bandwidths()) >= max(graph.bandwidths()):
        order, turned = np.arange(graph.size), graph
    found = _banded(turned)
    if found is not None:
        return _in_order(order, found)
    width = max(turned.bandwidths())
    time = _BY_BLOCKS * graph.size * width**2
    if width <= _BAND * graph.size:
        found = _in_order(order, BlockTridiagonalPlan(graph.size, width))
    else:
        time = _DENSELY * graph.size**3
    if time > _CONSIDERED:
        general = SuperLUPlan.of(graph.positions)
        found = general if general.nanoseconds() < time else found
    return found


def _in_order(order: np.ndarray, plan: AbstractPlan) -> AbstractPlan:
    if np.array_equal(order, np.arange(len(order))):
        return plan
    return ReorderedPlan(Order(order), plan)
