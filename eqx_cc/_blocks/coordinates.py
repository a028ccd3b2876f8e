"""The positions of the entries of a block, as NumPy arrays: they are static."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from .._sparsity.positions.table import ravelled
from .._sparsity.term import Term


Positions: TypeAlias = np.ndarray


def coordinates(
    term: Term, out_shape: tuple[int, ...], in_shape: tuple[int, ...]
) -> tuple[Positions, Positions]:
    """The row and the column of each entry of a term, in the ravelled output and
    input; those of a diagonal of length two are `[0, 1]` and `[0, 1]`."""
    sizes = dict(enumerate(term.sizes))
    rows = ravelled(term.out, out_shape, sizes)
    return rows, ravelled(term.inp, in_shape, sizes)


class Entries:
    """Positions in a ravelled block, ascending, which compare as a whole."""

    def __init__(self, flat: Positions):
        self.flat = flat
        self._key = flat.tobytes()

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entries) and self._key == other._key

    def __repr__(self) -> str:
        return f"{len(self.flat)} entries"

    def transposed(self, height: int, width: int) -> Entries:
        """The same ones in the transposed matrix, of which these are the sizes."""
        rows, columns = np.divmod(self.flat, max(1, height))
        return Entries(np.sort(columns * width + rows))


def unravelled(positions: Positions, shape: tuple[int, ...]) -> Positions:
    """A row of indices for each position in a ravelled array."""
    if math.prod(shape) == 0 or not shape:
        return np.zeros((len(positions), len(shape)), np.int32)
    return np.stack(np.unravel_index(positions, shape), -1).astype(np.int32)
