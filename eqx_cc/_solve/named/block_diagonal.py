"""A solver for block-diagonal matrices."""

from __future__ import annotations

import equinox as eqx
import lineax as lx
import numpy as np

from ..factorisations.base import AbstractFactorisation
from ..factorisations.blocks import BlockInverse, DiagonalInverse
from ..factorisations.reordered import in_order
from ..matrix.positions import Positions
from ..matrix.structure import Structure
from .base import (
    AbstractSparseSolver,
    AUTO,
    block_width,
    check_count,
    stated_blocks,
    unsuited,
)


class BlockDiagonal(AbstractSparseSolver):
    r"""Inverts equal blocks along the diagonal, all at once:

    $$A_{ij} = 0 \quad \text{unless} \quad
    \lfloor i / w \rfloor = \lfloor j / w \rfloor.$$

    The last block may be smaller. The solution is refined once, and its residual is
    checked. (For blocks of one row, this is a division.)

    **Arguments:**

    - `width`: the width $w$; by default the least that includes all entries. State it
        for `lx.MatrixLinearOperator` and `lx.PyTreeLinearOperator`, whose zeros are not
        known when tracing. If there are entries outside of the blocks then the solution
        is NaN, and lineax's result codes report it.
    - `reorder`: if `True` then the rows of each connected component are put next to
        each other.
    - `inner`: the solver for systems of up to 2,048 rows whose residual stays large.

    !!! Example

        ```python
        operator = lx.MatrixLinearOperator(2 * jnp.eye(3))
        print(lx.linear_solve(operator, vector, eqx_cc.BlockDiagonal(width=3)).value)
        ```

        ```text
        [0.5 0.5 0.5]
        ```
    """

    width: int | None = eqx.field(static=True, default=None)
    reorder: bool = eqx.field(static=True, default=False)
    inner: lx.AbstractLinearSolver = AUTO

    def __check_init__(self):
        check_count(self, "width", 1)

    def sparse_plan(self, structure: Structure) -> AbstractFactorisation:
        """By blocks that have all entries."""
        size, order = structure.size, np.arange(structure.size)
        if self.reorder:
            order = np.argsort(structure.components(), kind="stable")
        permuted = structure.restricted(order)
        width = block_width(self, permuted, permuted.block_width, reach=0)
        if width is None:
            raise unsuited(
                self,
                f"of {size} rows, it is block-diagonal from a width of "
                f"{permuted.block_width()} on, and {structure.largest_component()} "
                "rows are connected in any order",
            )
        if width == 1:
            return in_order(order, DiagonalInverse(size))
        return in_order(order, BlockInverse(size, min(width, size)))

    def stated(self, size: int) -> Positions:
        """The blocks, if their width is stated."""
        return stated_blocks(self, size, reach=0)
