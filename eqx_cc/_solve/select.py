"""Which factorisation suits a structure: symbolic, in NumPy and SciPy, when tracing."""

from __future__ import annotations

import functools as ft

import numpy as np

from .factorisations.banded import BandedPlan
from .factorisations.base import AbstractPlan
from .factorisations.block_tridiagonal import BlockTridiagonalPlan
from .factorisations.blocks import BlocksPlan, DiagonalPlan
from .factorisations.composite import BorderedPlan, in_order, LowRankPlan
from .factorisations.superlu import SuperLUPlan
from .matrix.positions import Positions
from .matrix.structure import Structure


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
    found = _plan(Structure.of(positions), with_border=True)
    if found is None or rank == 0:
        return found
    return LowRankPlan(found, rank, size)


def _plan(graph: Structure, with_border: bool) -> AbstractPlan | None:
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


def _bordered(graph: Structure) -> AbstractPlan | None:
    """Full rows and columns last."""
    full = graph.degrees() > max(8, _FULL * graph.size)
    (border,), (inside,) = np.nonzero(full), np.nonzero(~full)
    if not 0 < len(border) <= _BORDER * graph.size:
        return None
    core = _plan(graph.restricted(inside), with_border=False)
    if core is None:
        return None
    plan = BorderedPlan(graph.size, len(border), core)
    return in_order(np.concatenate([inside, border]), plan)


def _blocks(graph: Structure) -> AbstractPlan | None:
    """What hangs together, side by side."""
    labels = graph.components()
    sizes = np.bincount(labels)
    width = int(sizes.max())
    if width > min(_BLOCK, graph.size // 4) or np.any(sizes != width):
        return None
    return in_order(np.argsort(labels, kind="stable"), BlocksPlan(graph.size, width))


def _banded(graph: Structure) -> AbstractPlan | None:
    """Few bands."""
    lower, upper = graph.bandwidths()
    lower = max(1, lower)
    if max(lower, upper) > _WIDEST or 4 * max(lower, upper) > graph.size:
        return None
    return BandedPlan(graph.size, lower, upper)


def _reordered(graph: Structure) -> AbstractPlan | None:
    """The order of reverse Cuthill and McKee has narrow bands: it interleaves what was
    one after the other, for one thing. SuperLU has orders of its own, for what fills
    fewer entries than a band has."""
    order = graph.narrow_order()
    turned = graph.restricted(order)
    found = _banded(turned)
    if found is not None:
        return in_order(order, found)
    width = max(turned.bandwidths())
    time = _BY_BLOCKS * graph.size * width**2
    if width <= _BAND * graph.size:
        found = in_order(order, BlockTridiagonalPlan(graph.size, width))
    else:
        time = _DENSELY * graph.size**3
    if time > _CONSIDERED:
        general = SuperLUPlan.of(graph.positions)
        found = general if general.nanoseconds() < time else found
    return found
