"""A solver for general sparse matrices, by a library that is an extra."""

from __future__ import annotations

import lineax as lx

from ..factorisations.base import AbstractFactorisation
from ..factorisations.klu import check_installed, NativeKLU
from ..matrix.positions import Positions
from ..matrix.structure import Structure
from .base import AbstractSparseSolver, AUTO
from .superlu import check_sparse, unknown_zeros


class KLU(AbstractSparseSolver):
    """$LU$ factorisation of a general sparse matrix by KLU of SuiteSparse, on CPU. Each
    pattern is analysed once, while tracing. Each matrix is factored once, for all
    right-hand sides and the transposed system.

    It needs the extra `sparse`: `pip install "eqx_cc[sparse]"`. XLA calls it directly,
    not by a callback as [`eqx_cc.SuperLU`][]. It always computes in double precision.
    The solution is refined once, and its residual is checked. lineax's result codes
    report a singular matrix.

    KLU keeps the last eight factorisations. A batch of more matrices is factored again
    for each right-hand side, unless the environment variable `KLUJAX_FACTOR_CACHE` is a
    larger number when the program starts.

    The zeros of a `lx.MatrixLinearOperator` are not known while tracing. Use an
    operator that is a function, such as `lx.JacobianLinearOperator`.

    **Raises:** an `ImportError` if the extra is not installed.

    !!! Example

        ```python
        operator = lx.JacobianLinearOperator(fn, y)
        lx.linear_solve(operator, vector, eqx_cc.KLU())
        ```

    ??? cite "Reference"

        T. A. Davis and E. Palamadai Natarajan. Algorithm 907: KLU, a direct sparse
        solver for circuit simulation problems. *ACM Transactions on Mathematical
        Software*, 37(3):36, 2010.
    """

    def __check_init__(self):
        check_installed("eqx_cc.KLU")

    @property
    def inner(self) -> lx.AbstractLinearSolver:
        """The solver of a system of which the residual stays large."""
        return AUTO

    def sparse_plan(self, structure: Structure) -> AbstractFactorisation:
        """By its entries."""
        check_sparse(self, structure)
        return NativeKLU.of(structure.positions)

    def stated(self, size: int) -> Positions:
        """A pattern is never stated."""
        raise unknown_zeros(self)
