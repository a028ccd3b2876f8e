"""Direct solvers by the name of a structure: arrowheads, low rank, small, sparse."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import lineax as lx
import numpy as np
from jaxtyping import PyTree

from ..direct import AbstractDirectSolver, Factored
from ..factorisations.base import AbstractPlan
from ..factorisations.blocks import InversePlan
from ..factorisations.composite import BorderedPlan, in_order, LowRankPlan
from ..factorisations.inverse import Small
from ..factorisations.residual import is_regular
from ..factorisations.superlu import SuperLUPlan
from ..matrix.positions import merge, Positions
from ..matrix.ravel import Flat, size_of
from ..matrix.structure import Structure
from ..matrix.tags import tags_of
from ..select import SMALL
from ..system import Choice, given_matrix, of_function, of_operator, System
from .bands import BlockDiagonal
from .base import (
    AbstractSparseSolver,
    AbstractStructuredSolver,
    AUTO,
    check_count,
    check_order,
    check_real_and_square,
    checked_core,
    named,
    unsuited,
)


# The most rows of a matrix of which an inverse is as good as its factors.
_INVERTED = 64
_DIAGONAL = BlockDiagonal(width=1)


class Arrowhead(AbstractSparseSolver):
    r"""An arrowhead: a core $D$ that is easy to factor, by default a diagonal, and a
    few rows and columns after it that may be full,

    $$\begin{pmatrix} D & B \\ C & E \end{pmatrix},$$

    solved by the Schur complement $E - C D^{-1} B$. The solution is refined once, and
    its residual is looked at.

    **Arguments:**

    - `width`: the number of rows and columns in the border.
    - `core`: the solver of which $D$ has the structure: one of [`eqx_cc.Banded`][],
        [`eqx_cc.BlockDiagonal`][], [`eqx_cc.BlockTridiagonal`][] and
        [`eqx_cc.SuperLU`][].
    - `reorder`: whether to move those rows and columns to the border that have most
        entries.
    - `inner`: what solves the system if the residual stays large, of up to 2,048 rows:
        $D$ may be singular though the whole is not.

    If a `lx.MatrixLinearOperator` has entries outside of the structure then the
    solution is NaN, and lineax's result codes report it.

    !!! Example

        ```python
        lx.linear_solve(operator, vector, eqx_cc.Arrowhead(width=2))
        solver = eqx_cc.Arrowhead(width=1, core=eqx_cc.Banded())
        ```

    ??? cite "Reference"

        G. H. Golub and C. F. Van Loan. *Matrix Computations*, section 3.2. Johns
        Hopkins University Press, 4th edition, 2013.
    """

    width: int = eqx.field(static=True, default=1)
    core: lx.AbstractLinearSolver = _DIAGONAL
    reorder: bool = eqx.field(static=True, default=False)
    inner: lx.AbstractLinearSolver = AUTO

    def __check_init__(self):
        check_count(self, "width", 1)
        checked_core(self)

    def sparse_plan(self, structure: Structure) -> AbstractPlan:
        """By the plan of the core."""
        size = structure.size
        inside = size - self.width
        if inside <= 0:
            return InversePlan(size)
        order = np.arange(size)
        if self.reorder:
            full = np.argsort(-structure.degrees(), kind="stable")[: self.width]
            order = np.concatenate([np.setdiff1d(order, full), np.sort(full)])
        try:
            core = checked_core(self).sparse_plan(structure.restricted(order[:inside]))
        except ValueError as error:
            raise unsuited(self, f"its core does not suit `core`: {error}") from error
        return in_order(order, BorderedPlan(size, self.width, core))

    def stated(self, size: int) -> Positions:
        """The border, and the core if it is stated."""
        check_order(self)
        inside = max(0, size - self.width)
        core = checked_core(self).stated(inside)
        i, j = np.indices((size, size)).reshape(2, -1)
        border = np.maximum(i, j) >= inside
        rows = np.concatenate([core.rows, i[border]])
        columns = np.concatenate([core.columns, j[border]])
        return merge(rows, columns, (size, size))[0]


class Woodbury(AbstractStructuredSolver):
    r"""A matrix that is easy to factor, by default a diagonal, and one of low rank that
    is added to it, by the formula of Woodbury:

    $$(S + U V)^{-1} = (1 - S^{-1} U (1 + V S^{-1} U)^{-1} V) S^{-1}.$$

    Elimination finds $U$ and $V$: they lead into a vertex that is narrower than both
    ends, and out of it, as the mean of a state does. The solution is refined once, and
    its residual is looked at.

    **Arguments:**

    - `core`: the solver of which $S$ has the structure, as for [`eqx_cc.Arrowhead`][].
    - `inner`: what solves the system if the residual stays large, of up to 2,048 rows:
        $S$ may be singular though the whole is not.

    A small matrix (of up to 24 rows) that is found without such a vertex, as it has no
    more numbers than $U$ and $V$, is inverted. The rank of a `lx.MatrixLinearOperator`
    is not known when tracing: add it up of operators.

    !!! Example

        ```python
        left = lx.MatrixLinearOperator(jnp.ones((3, 1)))
        right = lx.MatrixLinearOperator(jnp.ones((1, 3)))
        lx.linear_solve(operator + left @ right, vector, eqx_cc.Woodbury())
        ```

    ??? cite "Reference"

        W. W. Hager. Updating the inverse of a matrix. *SIAM Review*, 31(2):221-239,
        1989.
    """

    core: lx.AbstractLinearSolver = _DIAGONAL
    inner: lx.AbstractLinearSolver = AUTO

    def __check_init__(self):
        checked_core(self)

    @property
    def low_rank(self) -> bool:
        """Yes."""
        return True

    def plan(self, positions: Positions, rank: int) -> AbstractPlan:
        """By the plan of the core, or an inverse if that is small and does not fit."""
        size = positions.num_rows
        try:
            core = checked_core(self).plan(positions, 0)
        except ValueError as error:
            if size <= SMALL:
                return InversePlan(size)
            found = f"with a part of rank {rank}" if rank else "with none of low rank"
            raise unsuited(
                self, f"{found}, what is left does not suit `core`: {error}"
            ) from error
        return LowRankPlan(core, rank, size) if rank else core

    def stated(self, size: int) -> Positions:
        """Low rank is never stated."""
        raise unsuited(
            self,
            "the rank of what is in a matrix is not known when tracing",
            "Add it up of operators, or give `lx.JacobianLinearOperator`.",
        )


class SuperLU(AbstractSparseSolver):
    """$LU$ factorisation of a general sparse matrix with pivoting, by SciPy's SuperLU
    on the host: an order that keeps fill-in low is its own.

    It is reached by a callback, so that programs with it are not for export, and wait
    for the host on GPUs and TPUs. The host keeps the last factors. It takes no
    arguments.

    The zeros of a `lx.MatrixLinearOperator` are not known when tracing: give an
    operator that is a function.

    !!! Example

        ```python
        operator = lx.JacobianLinearOperator(fn, y)
        lx.linear_solve(operator, vector, eqx_cc.SuperLU())
        ```

    ??? cite "Reference"

        J. W. Demmel, S. C. Eisenstat, J. R. Gilbert, X. S. Li and J. W. H. Liu. A
        supernodal approach to sparse partial pivoting. *SIAM Journal on Matrix Analysis
        and Applications*, 20(3):720-755, 1999.
    """

    @property
    def inner(self) -> lx.AbstractLinearSolver:
        """Not asked: pivots are sought in all of the matrix."""
        return AUTO

    def sparse_plan(self, structure: Structure) -> AbstractPlan:
        """By its entries."""
        count = structure.matrix.nnz
        if structure.size > SMALL and 4 * count > structure.size**2:
            raise unsuited(
                self, f"{count} of its {structure.size**2} entries may differ from zero"
            )
        return SuperLUPlan.of(structure.positions)

    def stated(self, size: int) -> Positions:
        """A pattern is never stated."""
        raise unsuited(
            self,
            "the zeros of a matrix are not known when tracing",
            "Give an operator that is a function, such as `lx.JacobianLinearOperator`.",
        )


class SmallInverse(AbstractDirectSolver):
    """The inverse of a small matrix, by elimination of Gauss and Jordan with row
    pivoting, and one step of refinement.

    On CPU, it is native code that single numbers go through: for up to four rows, two
    products take less time than the substitutions of LAPACK, and for many right-hand
    sides with larger ones.

    **Arguments:**

    - `inner`: what solves the system if the residual is larger than that of an $LU$
        factorisation.

    Matrices of more than 64 rows raise a `ValueError`.

    !!! Example

        ```python
        lx.linear_solve(operator, vector, eqx_cc.SmallInverse())
        ```
    """

    inner: lx.AbstractLinearSolver = AUTO

    def init(self, operator: lx.AbstractLinearOperator, options: dict) -> Factored:
        """Builds and inverts the matrix of `operator`."""
        del options
        flat = Flat.of(operator.in_structure(), operator.out_structure())
        self._check(flat)
        tags = tags_of(operator)
        if size_of(flat.taken[0]) == 0:
            return Factored(None, None, None, flat, False, tags)
        given = given_matrix(operator)
        matrix = of_operator(operator, _DENSE).matrix if given is None else given
        own = Small.of(matrix().astype(flat.dtype))
        regular = None
        if not self.assume_full_rank():
            regular = is_regular(own.matrix, own)
        return Factored(own, None, None, flat, False, tags, is_regular=regular)

    def system(
        self, fun: Callable, x: PyTree, tags: frozenset[object] = frozenset()
    ) -> System:
        """The dense Jacobian of a function, at `x`."""
        del tags
        self._check(Flat.of(x, x))
        return of_function(fun, x, _DENSE)

    def _check(self, flat: Flat) -> None:
        check_real_and_square(self, flat)
        size = size_of(flat.taken[0])
        if size > _INVERTED:
            raise ValueError(
                f"`{named(self)}` is for up to {_INVERTED} rows, but got `operator` "
                f"with {size}. Use `lx.LU()`."
            )


_DENSE = Choice(lambda size, count: False)
