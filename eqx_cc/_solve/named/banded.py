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

    Vertex elimination builds the matrix and finds the bands. A `ValueError` is raised
    while tracing if the matrix is not banded. On CPU, native code factors it.

    **Arguments:**

    - `lower`, `upper`: the number of bands below and above the diagonal; by default as
        many as elimination finds. State them for `lx.MatrixLinearOperator` and
        `lx.PyTreeLinearOperator`, whose zeros are not known when tracing, unless tags
        say that the matrix is diagonal or tridiagonal. If the matrix has other entries
        then the solution is NaN, and lineax's result codes report it.
    - `reorder`: if `True` then rows and columns are reordered (reverse Cuthill-McKee)
        where this makes the bands narrower, as for several species on a grid.
    - `inner`: the solver for systems whose residual stays large, as it may with more
        than eight bands on one side, where pivots are sought within blocks only. It
        also solves singular systems, if it is made for these.

    Tags are trusted, as in lineax: entries that are zero by a tag are ignored.

    !!! Example

        ```python
        operator = lx.JacobianLinearOperator(fn, y)
        print(lx.linear_solve(operator, vector, eqx_cc.Banded()).value)
        operator = lx.MatrixLinearOperator(jnp.tri(3, k=1) + jnp.eye(3))
        print(lx.linear_solve(operator, vector, eqx_cc.Banded(lower=2, upper=1)).value)
        ```

        ```text
        [0.25       0.07692308 0.03571429]
        [0.4 0.2 0.2]
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
