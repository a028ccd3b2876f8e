"""The entries of the blocks of a scan, iteration by iteration.

The blocks of a scan have one structure for all iterations: what is stacked for each of
them is a full row. That of a running sum has a triangle of entries, as iteration `t`
has seen the inputs up to `t` only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..._sparsity.pattern import Pattern
from ..entries import boolean_matrix, flat_positions, positions_of
from .body import Ends


# Iterations times blocks, and entries of these together, beyond which patterns do.
_MAX_PRODUCTS = 1 << 9
_MAX_ENTRIES = 1 << 18


@dataclass(frozen=True)
class ScanEntries:
    """Finds the entries of blocks `(result, operand)` of a scan, with boolean matrices.

    `body` has the patterns of its body's blocks; `sizes` are those of the operands, and
    of slices where these are stacked. Operands are constants, carries and stacks.
    """

    ends: tuple[Ends, ...]
    body: tuple[tuple[Ends, Pattern], ...]
    sizes: tuple[int, ...]
    num_consts: int
    num_carry: int
    length: int
    reverse: bool

    def __call__(self) -> Sequence[np.ndarray | None]:
        """The positions, ascending in the ravelled blocks; None where they would take
        too long."""
        unknown = [None] * len(self.ends)
        if not 0 < self.length * len(self.body) <= _MAX_PRODUCTS:
            return unknown
        if self.length * sum(p.num_nonzeros for _, p in self.body) > _MAX_ENTRIES:
            return unknown
        lists: dict[Ends, list[Any]] = {ends: [] for ends in self.ends}
        state: dict[Ends, Any] = {}
        for t in range(self.length)[:: -1 if self.reverse else 1]:
            after = self._after(state, t)
            state = {ends: m for ends, m in after.items() if ends[0] < self.num_carry}
            if sum(m.nnz for m in after.values()) * self.length > _MAX_ENTRIES:
                return unknown
            for (r, s), matrix in after.items():
                if r >= self.num_carry and (r, s) in lists:
                    first = t * matrix.shape[0] * matrix.shape[1]
                    lists[r, s].append(first + flat_positions(matrix))
        return [self._found(ends, lists[ends], state) for ends in self.ends]

    def _found(self, ends: Ends, stacked: list[np.ndarray], state) -> np.ndarray:
        if ends[0] < self.num_carry:
            stacked = [flat_positions(state[ends])] if ends in state else []
        return np.sort(np.concatenate([np.zeros(0, np.int64), *stacked]))

    def _after(self, state: Mapping[Ends, Any], t: int) -> dict[Ends, Any]:
        """The blocks of all results of an iteration."""
        after: dict[Ends, Any] = {}
        is_first = not state and t == (self.length - 1 if self.reverse else 0)
        for (r, s), matrix in self._matrices.items():
            carry = s - self.num_consts
            if not 0 <= carry < self.num_carry:
                _include(after, (r, s), self._placed(matrix, s, t))
            elif is_first:
                _include(after, (r, s), matrix)
            else:
                for (c, source), before in state.items():
                    if c == carry:
                        _include(after, (r, source), matrix @ before)
        return after

    def _placed(self, matrix: Any, source: int, t: int) -> Any:
        """The block of a slice as one of the whole stack."""
        from scipy.sparse import csr_array

        if source < self.num_consts:
            return matrix
        matrix = matrix.tocoo()
        columns = matrix.col.astype(np.int64) + t * self.sizes[source]
        shape = matrix.shape[0], self.length * self.sizes[source]
        return csr_array((matrix.data, (matrix.row, columns)), shape=shape)

    @cached_property
    def _matrices(self) -> dict[Ends, Any]:
        return {ends: boolean_matrix(p, positions_of(p)) for ends, p in self.body}


def _include(matrices: dict[Ends, Any], ends: Ends, matrix: Any) -> None:
    matrices[ends] = matrices[ends] + matrix if ends in matrices else matrix
