"""A solver for sums of a sparse matrix and one of low rank."""

from __future__ import annotations

import lineax as lx

from ..factorisations.base import AbstractFactorisation
from ..factorisations.composite import LowRankUpdate
from ..factorisations.dense import DenseInverse
from ..matrix.positions import Positions
from ..select import SMALL
from .base import AbstractStructuredSolver, AUTO, checked_core, unsuited
from .block_diagonal import BlockDiagonal


class Woodbury(AbstractStructuredSolver):
    r"""Solves with the sum of a matrix that is easy to factor (by default a diagonal)
    and one of low rank, by Woodbury's formula:

    $$(S + U V)^{-1} = (1 - S^{-1} U (1 + V S^{-1} U)^{-1} V) S^{-1}.$$

    Elimination finds $U$ and $V$: they lead into and out of a vertex that is narrower
    than both ends, such as the mean of a state. The solution is refined once, and its
    residual is checked.

    **Arguments:**

    - `core`: the solver for $S$, which states its structure, as for
        [`eqx_cc.Arrowhead`][].
    - `inner`: the solver for systems of up to 2,048 rows whose residual stays large, as
        it may if $S$ is singular.

    A matrix of up to 24 rows without such a vertex is inverted. The rank of a
    `lx.MatrixLinearOperator` is not known while tracing: use a sum of operators.

    !!! Example

        ```python
        left = lx.MatrixLinearOperator(jnp.ones((3, 1)))
        right = lx.MatrixLinearOperator(jnp.ones((1, 3)))
        solution = lx.linear_solve(operator + left @ right, vector, eqx_cc.Woodbury())
        print(solution.value)
        ```

        ```text
        [0.18346774 0.05645161 0.02620968]
        ```

    ??? cite "Reference"

        W. W. Hager. Updating the inverse of a matrix. *SIAM Review*, 31(2):221-239,
        1989.
    """

    core: lx.AbstractLinearSolver = BlockDiagonal(width=1)
    inner: lx.AbstractLinearSolver = AUTO

    def __check_init__(self):
        checked_core(self)

    @property
    def low_rank(self) -> bool:
        """True: the formula keeps them as factors."""
        return True

    def plan(self, positions: Positions, rank: int) -> AbstractFactorisation:
        """By the factorisation of the core, or an inverse if a small matrix does not
        suit that."""
        size = positions.num_rows
        try:
            core = checked_core(self).plan(positions, 0)
        except ValueError as error:
            if size <= SMALL:
                return DenseInverse(size)
            part = f"with a part of rank {rank}" if rank else "with none of low rank"
            raise unsuited(
                self, f"{part}, the rest does not suit `core`: {error}"
            ) from error
        return LowRankUpdate(core, rank, size) if rank else core

    def stated(self, size: int) -> Positions:
        """Low rank is never stated."""
        raise unsuited(
            self,
            "the rank of a term of a matrix is not known when tracing",
            "Give a sum of operators, or a `lx.JacobianLinearOperator`.",
        )
