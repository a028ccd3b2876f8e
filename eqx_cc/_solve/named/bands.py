"""Direct solvers by the name of a structure: bands, and blocks along the diagonal."""

from __future__ import annotations

import equinox as eqx
import lineax as lx
import numpy as np

from ..factorisations.banded import BandedPlan
from ..factorisations.base import AbstractPlan
from ..factorisations.block_tridiagonal import BlockTridiagonalPlan
from ..factorisations.blocks import BlocksPlan, DiagonalPlan
from ..factorisations.composite import in_order
from ..matrix.positions import banded, Positions
from ..matrix.structure import Structure
from .base import (
    AbstractSparseSolver,
    AUTO,
    blocked,
    check_count,
    check_order,
    is_wide,
    unstated,
    unsuited,
)


# The most bands on either side that are carried as single numbers.
_PIVOTED = 8


class Banded(AbstractSparseSolver):
    r"""$LU$ factorisation of a banded matrix, with partial pivoting, in linear time:

    $$A_{ij} = 0 \quad \text{unless} \quad -\text{lower} \le j - i \le \text{upper}.$$

    The matrix is built by vertex elimination, which finds the bands; if there are none
    then a `ValueError` says so when tracing. On CPU it is native code.

    **Arguments:**

    - `lower`, `upper`: the number of bands below the diagonal, and above it; by default
        as many as are found. They have to be stated for `lx.MatrixLinearOperator` and
        `lx.PyTreeLinearOperator`, whose zeros are not known when tracing, unless tags
        say that the matrix is diagonal or tridiagonal. If there are other entries than
        is stated then the solution is NaN, and lineax's result codes report it.
    - `reorder`: whether to reorder rows and columns (reverse Cuthill-McKee) where that
        makes bands narrower, as for several species on a grid, one after the other.
    - `inner`: what solves the system if the residual stays large, as it may with more
        than eight bands on one side, where pivots are sought in blocks alone; and what
        may be singular, if it is for that.

    Tags are believed, as lineax does: entries that are zero by them are not looked at.

    !!! Example

        ```python
        operator = lx.JacobianLinearOperator(fn, y)
        lx.linear_solve(operator, vector, eqx_cc.Banded())
        operator = lx.MatrixLinearOperator(jnp.tri(3, k=1) + jnp.eye(3))
        lx.linear_solve(operator, vector, eqx_cc.Banded(lower=2, upper=1))
        ```

    ??? cite "References"

        G. H. Golub and C. F. Van Loan. *Matrix Computations*, section 4.3. Johns
        Hopkins University Press, 4th edition, 2013.

        E. Cuthill and J. McKee. Reducing the bandwidth of sparse symmetric matrices.
        *Proceedings of the 24th National Conference of the ACM*, 157-172, 1969.
    """

    lower: int | None = eqx.field(static=True, default=None)
    upper: int | None = eqx.field(static=True, default=None)
    reorder: bool = eqx.field(static=True, default=False)
    inner: lx.AbstractLinearSolver = AUTO

    def __check_init__(self):
        check_count(self, "lower", 0)
        check_count(self, "upper", 0)

    def sparse_plan(self, structure: Structure) -> AbstractPlan:
        """By single numbers, or by blocks if there are many bands."""
        order = _order(structure, self.reorder)
        found = structure.restricted(order).bandwidths()
        stated = self.lower, self.upper
        lower, upper = (b if a is None else a for a, b in zip(stated, found))
        size = structure.size
        is_open = None in stated and is_wide(max(lower, upper), size)
        if is_open or lower < found[0] or upper < found[1]:
            raise unsuited(
                self,
                f"of {size} rows, with {found[0]} bands below the diagonal and "
                f"{found[1]} above it" + _in_best_order(self.reorder),
            )
        lower, upper = (min(own, size - 1) for own in (lower, upper))
        if max(lower, upper) > _PIVOTED:
            return in_order(order, _tridiagonal(size, max(lower, upper)))
        return in_order(order, BandedPlan(size, max(1, lower), upper))

    def stated(self, size: int) -> Positions:
        """The bands, if both numbers are stated."""
        if self.lower is None or self.upper is None:
            raise unstated(self, "lower", "upper")
        check_order(self)
        return banded(size, self.lower, self.upper)


class BlockTridiagonal(AbstractSparseSolver):
    r"""$LU$ factorisation of a block-tridiagonal matrix, of blocks of equal width $w$:

    $$A_{ij} = 0 \quad \text{unless} \quad
    \left| \lfloor i / w \rfloor - \lfloor j / w \rfloor \right| \le 1.$$

    A last block may be smaller. Pivots are sought within blocks; the solution is
    refined once, and its residual is looked at.

    **Arguments:**

    - `width`: $w$; by default the least that has all entries that are found. It has to
        be stated for `lx.MatrixLinearOperator` and `lx.PyTreeLinearOperator`, whose
        zeros are not known when tracing. If there are entries outside of the blocks
        then the solution is NaN, and lineax's result codes report it.
    - `reorder`: whether to reorder rows and columns first (reverse Cuthill-McKee).
    - `inner`: what solves the system if the residual stays large, of up to 2,048 rows.

    !!! Example

        ```python
        operator = lx.JacobianLinearOperator(fn, y)
        lx.linear_solve(operator, vector, eqx_cc.BlockTridiagonal())
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

    def sparse_plan(self, structure: Structure) -> AbstractPlan:
        """By blocks that have all entries."""
        order = _order(structure, self.reorder)
        turned = structure.restricted(order)
        width = self.width
        if width is None:
            width = turned.tridiagonal_width()
            fits = not is_wide(width, structure.size)
        else:
            fits = turned.is_block_tridiagonal(width)
        if not fits:
            raise unsuited(
                self,
                f"of {structure.size} rows, it is block-tridiagonal from a width of "
                f"{turned.tridiagonal_width()} on" + _in_best_order(self.reorder),
            )
        return in_order(order, _tridiagonal(structure.size, width))

    def stated(self, size: int) -> Positions:
        """The blocks, if their width is stated."""
        if self.width is None:
            raise unstated(self, "width")
        check_order(self)
        return blocked(size, self.width, 1)


class BlockDiagonal(AbstractSparseSolver):
    r"""The inverses of equal blocks along the diagonal, all at once:

    $$A_{ij} = 0 \quad \text{unless} \quad
    \lfloor i / w \rfloor = \lfloor j / w \rfloor.$$

    A last block may be smaller. The solution is refined once, and its residual is
    looked at. (Blocks of one number are divided by.)

    **Arguments:**

    - `width`: $w$; by default the least that has all entries that are found. It has to
        be stated for `lx.MatrixLinearOperator` and `lx.PyTreeLinearOperator`, whose
        zeros are not known when tracing. If there are entries outside of the blocks
        then the solution is NaN, and lineax's result codes report it.
    - `reorder`: whether to put next to each other what hangs together first.
    - `inner`: what solves the system if the residual stays large, of up to 2,048 rows.

    !!! Example

        ```python
        operator = lx.MatrixLinearOperator(jnp.eye(3))
        lx.linear_solve(operator, vector, eqx_cc.BlockDiagonal(width=3))
        ```
    """

    width: int | None = eqx.field(static=True, default=None)
    reorder: bool = eqx.field(static=True, default=False)
    inner: lx.AbstractLinearSolver = AUTO

    def __check_init__(self):
        check_count(self, "width", 1)

    def sparse_plan(self, structure: Structure) -> AbstractPlan:
        """By blocks that have all entries."""
        size, order = structure.size, np.arange(structure.size)
        if self.reorder:
            order = np.argsort(structure.components(), kind="stable")
        turned, width = structure.restricted(order), self.width
        if width is None:
            width = turned.block_width()
            fits = not is_wide(width, size)
        else:
            fits = turned.is_block_diagonal(width)
        if not fits:
            raise unsuited(
                self,
                f"of {size} rows, it is block-diagonal from a width of "
                f"{turned.block_width()} on, and {structure.largest_component()} rows "
                "hang together in any order",
            )
        if width == 1:
            return in_order(order, DiagonalPlan(size))
        return in_order(order, BlocksPlan(size, min(width, size)))

    def stated(self, size: int) -> Positions:
        """The blocks, if their width is stated."""
        if self.width is None:
            raise unstated(self, "width")
        check_order(self)
        return blocked(size, self.width, 0)


def _order(structure: Structure, reorder: bool) -> np.ndarray:
    return structure.narrow_order() if reorder else np.arange(structure.size)


def _in_best_order(reorder: bool) -> str:
    return " in the order of reverse Cuthill and McKee" if reorder else ""


def _tridiagonal(size: int, width: int) -> AbstractPlan:
    return BlockTridiagonalPlan(size, min(width, size))
