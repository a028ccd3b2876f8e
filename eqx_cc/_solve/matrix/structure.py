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

    def restricted(self, places: np.ndarray) -> Structure:
        return Structure(self.matrix[places][:, places])

    def narrow_order(self) -> np.ndarray:
        """The order of reverse Cuthill and McKee, or none if that has wider bands."""
        order = csgraph.reverse_cuthill_mckee(self.symmetric, symmetric_mode=True)
        if max(self.restricted(order).bandwidths()) >= max(self.bandwidths()):
            return np.arange(self.size)
        return order

    def components(self) -> np.ndarray:
        """For every number, that of what it hangs together with."""
        return csgraph.connected_components(self.matrix, directed=False)[1]

    def largest_component(self) -> int:
        """The most rows that hang together."""
        return int(np.bincount(self.components()).max(initial=0))

    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """For every entry, the lesser of its row and column, and the greater."""
        found = self.matrix.tocoo()
        return np.minimum(found.row, found.col), np.maximum(found.row, found.col)

    def is_block_diagonal(self, width: int) -> bool:
        """Whether all entries are in blocks of that width along the diagonal."""
        low, high = self.spans()
        return bool(np.all(low // width == high // width))

    def block_width(self) -> int:
        """The least width of equal blocks along the diagonal that have all entries."""
        low, high = self.spans()
        crossed = np.zeros(self.size + 1, int)  # How many entries a cut would cross.
        np.add.at(crossed, low + 1, 1)
        np.add.at(crossed, high + 1, -1)
        crossed = np.cumsum(crossed)[: self.size]
        widths = range(1, self.size + 1)
        return next(w for w in widths if not np.any(crossed[w::w]))

    def is_block_tridiagonal(self, width: int) -> bool:
        """Whether all entries are in blocks of that width along the diagonal, or next
        to them."""
        low, high = self.spans()
        return bool(np.all(high // width - low // width <= 1))

    def tridiagonal_width(self) -> int:
        """The least width of blocks of which the matrix is tridiagonal."""
        low, high = self.spans()
        far = np.arange(self.size)
        np.maximum.at(far, low, high)
        most = max(1, *self.bandwidths())
        index = np.arange(self.size)
        widths = range(most // 2 + 1, most + 1)
        fits = (w for w in widths if np.all(far < (index // w + 2) * w))
        return next(fits, most)
