"""A solver for block-tridiagonal matrices."""

from __future__ import annotations

import equinox as eqx
import lineax as lx

from ..factorisations.base import AbstractFactorisation
from ..factorisations.block_tridiagonal import BlockTridiagonalLU
from ..factorisations.reordered import in_order
from ..matrix.positions import Positions
from ..matrix.structure import Structure
from .base import (
    AbstractSparseSolver,
    AUTO,
    block_width,
    check_count,
    narrow_order,
    stated_blocks,
    unsuited,
)


class BlockTridiagonal(AbstractSparseSolver):
    r"""$LU$ factorisation of a block-tridiagonal matrix with blocks of equal width $w$:

    $$A_{ij} = 0 \quad \text{unless} \quad
    \left| \lfloor i / w \rfloor - \lfloor j / w \rfloor \right| \le 1.$$

    The last block may be smaller. Pivots are sought within blocks; the solution is
    refined once, and its residual is checked.

    **Arguments:**

    - `width`: the width $w$; by default the least that includes all entries. State it
        for `lx.MatrixLinearOperator` and `lx.PyTreeLinearOperator`, whose zeros are not
        known when tracing. If there are entries outside of the blocks then the solution
        is NaN, and lineax's result codes report it.
    - `reorder`: if `True` then rows and columns are reordered first (reverse
        Cuthill-McKee).
    - `inner`: the solver for systems of up to 2,048 rows whose residual stays large.

    !!! Example

        ```python
        operator = lx.JacobianLinearOperator(fn, y)
        print(lx.linear_solve(operator, vector, eqx_cc.BlockTridiagonal()).value)
        ```

        ```text
        [0.25       0.07692308 0.03571429]
        ```

    ??? cite "Reference"

        G. H. Golub and C. F. Van Loan. *Matrix Computations*, section 4.5. Johns
        Hopkins University Press, 4th edition, 2013.
    """

    width: int | None = eqx.field(static=True, default=None)
    reorder: bool = eqx.field(static=True, default=False)
    inner: lx.AbstractLinearSolver = AUTO

    def __check_init__(self):
        check_count(self, "width", 1)

    def sparse_plan(self, structure: Structure) -> AbstractFactorisation:
        """By blocks that have all entries."""
        order, in_words = narrow_order(self, structure)
        permuted, size = structure.restricted(order), structure.size
        width = block_width(self, permuted, permuted.tridiagonal_width, reach=1)
        if width is None:
            raise unsuited(
                self,
                f"of {size} rows, it is block-tridiagonal from a width of "
                f"{permuted.tridiagonal_width()} on" + in_words,
            )
        return in_order(order, BlockTridiagonalLU(size, min(width, size)))

    def stated(self, size: int) -> Positions:
        """The blocks, if their width is stated."""
        return stated_blocks(self, size, reach=1)
