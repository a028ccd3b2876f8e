"""The interface of a factorisation."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Num

from ..matrix.assemble import Matrix


class AbstractFactorisation(abc.ABC):
    """Factors matrices of one structure, and solves with the factors.

    An instance is static and hashable: it is selected from the pattern, when tracing.
    The factors are a PyTree of arrays. Subclasses are frozen dataclasses.
    """

    # True if pivots are sought wherever they may be, so that residuals are small as
    # long as the solution is finite.
    is_stable: ClassVar[bool] = False
    # True if each equation has one unknown: then the residual need not be checked.
    is_diagonal: ClassVar[bool] = False

    @abc.abstractmethod
    def factor(self, matrix: Matrix) -> Any:
        """The factors of a matrix of this structure."""

    @abc.abstractmethod
    def identity(self, dtype: Any) -> Any:
        """The factors of the identity, at no cost."""

    @abc.abstractmethod
    def solve(
        self, factors: Any, vector: Num[Array, " n"], *, transposed: bool
    ) -> Num[Array, " n"]:
        """The solution of the system, or of the transposed one. It is not finite if a
        pivot is zero."""

    def solve_columns(
        self, factors: Any, columns: Num[Array, "n k"]
    ) -> Num[Array, "n k"]:
        """The solution for each column."""
        solve = lambda column: self.solve(factors, column, transposed=False)  # noqa: E731
        return jax.vmap(solve, 1, 1)(columns)
