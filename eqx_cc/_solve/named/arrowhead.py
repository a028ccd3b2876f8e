"""A solver for arrowheads."""

from __future__ import annotations

import equinox as eqx
import lineax as lx
import numpy as np

from ..factorisations.base import AbstractFactorisation
from ..factorisations.composite import BorderedLU
from ..factorisations.dense import DenseInverse
from ..factorisations.reordered import in_order
from ..matrix.positions import merge, Positions
from ..matrix.structure import Structure
from .base import (
    AbstractSparseSolver,
    AUTO,
    check_count,
    check_unreordered,
    checked_core,
    unsuited,
)
from .block_diagonal import BlockDiagonal


class Arrowhead(AbstractSparseSolver):
    r"""An arrowhead: a core $D$ that is easy to factor, by default a diagonal, and a
    few rows and columns after it that may be full,

    $$\begin{pmatrix} D & B \\ C & E \end{pmatrix},$$

    solved by the Schur complement $E - C D^{-1} B$. The solution is refined once, and
    its residual is checked.

    **Arguments:**

    - `width`: the number of rows and columns in the border.
    - `core`: the solver for $D$, which states its structure: one of
        [`eqx_cc.Banded`][], [`eqx_cc.BlockDiagonal`][], [`eqx_cc.BlockTridiagonal`][]
        and [`eqx_cc.SuperLU`][].
    - `reorder`: if `True` then the rows and columns with the most entries are moved to
        the border.
    - `inner`: the solver for systems of up to 2,048 rows whose residual stays large, as
        it may if $D$ is singular.

    If a `lx.MatrixLinearOperator` has entries outside of the structure then the
    solution is NaN, and lineax's result codes report it.

    !!! Example

        ```python
        solution = lx.linear_solve(operator, vector, eqx_cc.Arrowhead(width=2))
        print(solution.value)
        solver = eqx_cc.Arrowhead(width=1, core=eqx_cc.Banded())
        ```

        ```text
        [0.25       0.07692308 0.03571429]
        ```

    ??? cite "Reference"

        G. H. Golub and C. F. Van Loan. *Matrix Computations*, section 3.2. Johns
        Hopkins University Press, 4th edition, 2013.
    """

    width: int = eqx.field(static=True, default=1)
    core: lx.AbstractLinearSolver = BlockDiagonal(width=1)
    reorder: bool = eqx.field(static=True, default=False)
    inner: lx.AbstractLinearSolver = AUTO

    def __check_init__(self):
        check_count(self, "width", 1)
        checked_core(self)

    def sparse_plan(self, structure: Structure) -> AbstractFactorisation:
        """By the factorisation of the core."""
        size, inside = structure.size, structure.size - self.width
        if inside <= 0:
            return DenseInverse(size)
        order = np.arange(size)
        if self.reorder:
            full = np.argsort(-structure.degrees(), kind="stable")[: self.width]
            order = np.concatenate([np.setdiff1d(order, full), np.sort(full)])
        try:
            core = checked_core(self).sparse_plan(structure.restricted(order[:inside]))
        except ValueError as error:
            raise unsuited(self, f"its core does not suit `core`: {error}") from error
        return in_order(order, BorderedLU(size, self.width, core))

    def stated(self, size: int) -> Positions:
        """The border, and the core if it is stated."""
        check_unreordered(self)
        inside = max(0, size - self.width)
        core = checked_core(self).stated(inside)
        i, j = np.indices((size, size)).reshape(2, -1)
        border = np.maximum(i, j) >= inside
        rows = np.concatenate([core.rows, i[border]])
        columns = np.concatenate([core.columns, j[border]])
        return merge(rows, columns, (size, size))[0]
