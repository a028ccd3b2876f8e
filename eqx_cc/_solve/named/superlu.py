"""A solver for general sparse matrices."""

from __future__ import annotations

import lineax as lx

from ..factorisations.base import AbstractFactorisation
from ..factorisations.superlu import HostLU
from ..matrix.positions import Positions
from ..matrix.structure import Structure
from ..select import SMALL
from .base import AbstractSparseSolver, AUTO, unsuited


class SuperLU(AbstractSparseSolver):
    """$LU$ factorisation of a general sparse matrix with pivoting, by SciPy's SuperLU
    on the host, in an order that keeps fill-in low.

    XLA calls it back. Therefore programs with it cannot be exported, and GPUs and TPUs
    wait for the host. The host keeps the last factors.

    The zeros of a `lx.MatrixLinearOperator` are not known while tracing. Use an
    operator that is a function, such as `lx.JacobianLinearOperator`.

    !!! Example

        ```python
        operator = lx.JacobianLinearOperator(fn, y)
        print(lx.linear_solve(operator, vector, eqx_cc.SuperLU()).value)
        ```

        ```text
        [0.25       0.07692308 0.03571429]
        ```

    ??? cite "Reference"

        J. W. Demmel, S. C. Eisenstat, J. R. Gilbert, X. S. Li and J. W. H. Liu. A
        supernodal approach to sparse partial pivoting. *SIAM Journal on Matrix Analysis
        and Applications*, 20(3):720-755, 1999.
    """

    @property
    def inner(self) -> lx.AbstractLinearSolver:
        """The default, which is not used: pivots are sought in all of the matrix."""
        return AUTO

    def sparse_plan(self, structure: Structure) -> AbstractFactorisation:
        """By its entries."""
        check_sparse(self, structure)
        return HostLU.of(structure.positions)

    def stated(self, size: int) -> Positions:
        """A pattern is never stated."""
        raise unknown_zeros(self)


def check_sparse(solver: AbstractSparseSolver, structure: Structure) -> None:
    """Raises a `ValueError` if more than half of the entries may differ from zero."""
    count, all_entries = structure.matrix.nnz, structure.size**2
    if structure.size > SMALL and 2 * count > all_entries:
        raise unsuited(
            solver, f"{count} of its {all_entries} entries may differ from zero"
        )


def unknown_zeros(solver: AbstractSparseSolver) -> ValueError:
    """The error for a matrix of which the pattern is not known."""
    return unsuited(
        solver,
        "the zeros of a matrix are not known when tracing",
        "Give an operator that is a function, such as `lx.JacobianLinearOperator`.",
    )
