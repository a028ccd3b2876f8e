"""Selects the factorisation that suits a structure, when tracing."""

from __future__ import annotations

import functools as ft
from collections.abc import Callable

import numpy as np

from .factorisations.banded import BandedLU
from .factorisations.base import AbstractFactorisation
from .factorisations.block_tridiagonal import BlockTridiagonalLU
from .factorisations.blocks import BlockInverse, DiagonalInverse
from .factorisations.composite import BorderedLU, LowRankUpdate
from .factorisations.klu import is_installed, NativeKLU
from .factorisations.reordered import in_order
from .factorisations.superlu import HostLU
from .matrix.positions import Positions
from .matrix.structure import Structure


# Smaller systems are solved as dense ones.
SMALL = 24
# A row or column with more than this part of all entries is moved to the border, which
# may be this part of all rows.
_FULL, _BORDER = 0.25, 0.125
# The widest band of which blocks are eliminated, as a part of all rows: a dense
# factorisation takes two thirds of the cube.
_BAND = 0.2
# Nanoseconds for blocks and for dense matrices, with the powers of sizes that go with
# them.
_BY_BLOCKS, _DENSELY = 1.5, 0.05


def is_sparse(size: int, nonzeros: int) -> bool:
    """True if a matrix has so few entries that its structure may be of use."""
    return size >= SMALL and nonzeros <= 0.25 * size**2


@ft.lru_cache(maxsize=256)
def select(positions: Positions, rank: int) -> AbstractFactorisation | None:
    """The factorisation for matrices with entries at these positions, plus a term of
    that rank; None if a dense solve is better."""
    size = positions.num_rows
    if size != positions.num_columns or rank > _BORDER * size:
        return None
    sparse = _first_suitable(_CANDIDATES, Structure.of(positions))
    if sparse is None or rank == 0:
        return sparse
    return LowRankUpdate(sparse, rank, size)


def _first_suitable(
    candidates: tuple[Callable, ...], structure: Structure
) -> AbstractFactorisation | None:
    if structure.size == 0 or structure.is_singular:
        return None
    choices = (candidate(structure) for candidate in candidates)
    return next((choice for choice in choices if choice is not None), None)


def _bordered(structure: Structure) -> AbstractFactorisation | None:
    """Full rows and columns last."""
    size = structure.size
    full = structure.degrees() > max(8, _FULL * size)
    (border,), (inside,) = np.nonzero(full), np.nonzero(~full)
    if not 0 < len(border) <= _BORDER * size:
        return None
    candidates = tuple(c for c in _CANDIDATES if c is not _bordered)
    core = _first_suitable(candidates, structure.restricted(inside))
    if core is None:
        return None
    order = np.concatenate([inside, border])
    return in_order(order, BorderedLU(size, len(border), core))


def _narrowed(structure: Structure) -> AbstractFactorisation | None:
    """Bands or blocks in the order of reverse Cuthill and McKee, which interleaves
    species on a grid, for one thing; or a solver for general sparse matrices, whose own
    orders fill in fewer entries than a wide band has."""
    size, order = structure.size, structure.narrow_order()
    narrow = structure.restricted(order)
    banded = BandedLU.of(narrow)
    if banded is not None:
        return in_order(order, banded)
    width = max(narrow.bandwidths())
    if width <= _BAND * size:
        time = _BY_BLOCKS * size * width**2
        choice = in_order(order, BlockTridiagonalLU(size, width))
    else:
        time, choice = _DENSELY * size**3, None
    general = NativeKLU if is_installed() else HostLU
    if time <= general.least_nanoseconds:
        return choice
    sparse = general.of(structure.positions)
    return sparse if sparse.nanoseconds() < time else choice


# The first that suits is taken. A candidate takes a `Structure`, and returns a
# factorisation, or None.
_CANDIDATES: tuple[Callable[[Structure], AbstractFactorisation | None], ...] = (
    DiagonalInverse.of,
    BandedLU.of,
    _bordered,
    BlockInverse.of,
    _narrowed,
)
