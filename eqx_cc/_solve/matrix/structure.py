"""The structure of a square matrix, when tracing: bands, blocks and orders."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from .positions import merge, Positions


class Structure(NamedTuple):
    """The structure of a square matrix."""

    matrix: sparse.csr_matrix

    @classmethod
    def of(cls, positions: Positions) -> Structure:
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
        entries = self.matrix.tocoo()
        return merge(entries.row, entries.col, (self.size, self.size))[0]

    @property
    def is_singular(self) -> bool:
        """True if the matrix is singular whatever the entries are."""
        return bool(csgraph.structural_rank(self.matrix) < self.size)

    def degrees(self) -> np.ndarray:
        """The number of entries in each row or column, whichever has more."""
        rows = np.diff(self.matrix.indptr)
        return np.maximum(rows, np.diff(self.matrix.tocsc().indptr))

    def bandwidths(self) -> tuple[int, int]:
        """The number of bands below the diagonal and above it."""
        entries = self.matrix.tocoo()
        offsets = entries.col.astype(int) - entries.row
        return -int(offsets.min(initial=0)), int(offsets.max(initial=0))

    def restricted(self, places: np.ndarray) -> Structure:
        return Structure(self.matrix[places][:, places])

    def narrow_order(self) -> np.ndarray:
        """The order of reverse Cuthill and McKee, or none if that has wider bands."""
        order = csgraph.reverse_cuthill_mckee(self.symmetric, symmetric_mode=True)
        if max(self.restricted(order).bandwidths()) >= max(self.bandwidths()):
            return np.arange(self.size)
        return order

    def components(self) -> np.ndarray:
        """The connected-component label of each row."""
        return csgraph.connected_components(self.matrix, directed=False)[1]

    def largest_component(self) -> int:
        """The number of rows of the largest component."""
        return int(np.bincount(self.components()).max(initial=0))

    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """The lesser of row and column of each entry, and the greater."""
        entries = self.matrix.tocoo()
        return (
            np.minimum(entries.row, entries.col),
            np.maximum(entries.row, entries.col),
        )

    def fits_blocks(self, width: int, reach: int) -> bool:
        """True if all entries are in blocks of `width` that are up to `reach` blocks
        from the diagonal."""
        low, high = self.spans()
        return bool(np.all(high // width - low // width <= reach))

    def block_width(self) -> int:
        """The least width of equal blocks along the diagonal that have all entries."""
        low, high = self.spans()
        # The number of entries that a cut before each row would cross. For one entry at
        # (0, 2) of four rows that is [0, 1, 1, 0]: blocks have 3 rows, or 4.
        crossed = np.zeros(self.size + 1, int)
        np.add.at(crossed, low + 1, 1)
        np.add.at(crossed, high + 1, -1)
        crossed = np.cumsum(crossed)[: self.size]
        widths = range(1, self.size + 1)
        return next(w for w in widths if not np.any(crossed[w::w]))

    def tridiagonal_width(self) -> int:
        """The least width of blocks of which the matrix is tridiagonal."""
        low, high = self.spans()
        far = np.arange(self.size)  # The last row or column that each one reaches.
        np.maximum.at(far, low, high)
        widest = max(1, *self.bandwidths())
        index = np.arange(self.size)
        widths = range(widest // 2 + 1, widest + 1)
        fits = (w for w in widths if np.all(far < (index // w + 2) * w))
        return next(fits, widest)
