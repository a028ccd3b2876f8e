"""A solver for banded matrices."""

from __future__ import annotations

import equinox as eqx
import lineax as lx

from ..factorisations.banded import BandedLU
from ..factorisations.base import AbstractFactorisation
from ..factorisations.block_tridiagonal import BlockTridiagonalLU
from ..factorisations.reordered import in_order
from ..matrix.positions import banded, Positions
from ..matrix.structure import Structure
from .base import (
    AbstractSparseSolver,
    AUTO,
    check_count,
    check_unreordered,
    is_wide,
    narrow_order,
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
    - `inner`: the solver of the system if the residual stays large, as it may with more
        than eight bands on one side, where pivots are sought in blocks alone; and of
        systems that may be singular, if it is for these.

    Tags are believed, as lineax does: entries that are zero by them are ignored.

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

    def sparse_plan(self, structure: Structure) -> AbstractFactorisation:
        """By single numbers, or by blocks if there are many bands."""
        order, in_words = narrow_order(self, structure)
        actual = structure.restricted(order).bandwidths()
        stated = self.lower, self.upper
        lower, upper = (b if a is None else a for a, b in zip(stated, actual))
        size = structure.size
        is_open = None in stated and is_wide(max(lower, upper), size)
        if is_open or lower < actual[0] or upper < actual[1]:
            raise unsuited(
                self,
                f"of {size} rows, with {actual[0]} bands below the diagonal and "
                f"{actual[1]} above it" + in_words,
            )
        lower, upper = min(lower, size - 1), min(upper, size - 1)
        if max(lower, upper) > _PIVOTED:
            return in_order(order, BlockTridiagonalLU(size, max(lower, upper)))
        return in_order(order, BandedLU(size, max(1, lower), upper))

    def stated(self, size: int) -> Positions:
        """The bands, if both numbers are stated."""
        if self.lower is None or self.upper is None:
            raise unstated(self, "lower", "upper")
        check_unreordered(self)
        return banded(size, self.lower, self.upper)
