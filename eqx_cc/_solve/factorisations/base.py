"""What factorisations have in common: a plan, known when tracing, and the factors."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Num

from ..matrix.assemble import Matrix


class AbstractFactors(eqx.Module):
    """A matrix that has been factored."""

    @abc.abstractmethod
    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        """The solution of the system, or of the transposed one. It is not finite if a
        pivot is zero."""

    def solve_columns(
        self, columns: Num[Array, "n k"], transposed: bool = False
    ) -> Num[Array, "n k"]:
        """The solutions for every column."""
        return jax.vmap(lambda c: self.solve(c, transposed), 1, 1)(columns)


class AbstractPlan(abc.ABC):
    """How matrices of one structure are factored. Static and hashable."""

    @property
    def is_stable(self) -> bool:
        """Whether pivots are sought wherever they may be, so that residuals are small
        as long as the solution is finite."""
        return False

    @property
    def is_diagonal(self) -> bool:
        """Whether every equation has one unknown, so that there is nothing to look at
        as long as the solution is finite."""
        return False

    @abc.abstractmethod
    def factor(self, matrix: Matrix) -> AbstractFactors:
        """The factors of a matrix of this structure."""

    @abc.abstractmethod
    def identity(self, dtype: Any) -> AbstractFactors:
        """The factors of the identity, at no cost."""


class AbstractDensePlan(AbstractPlan):
    """How matrices are factored that are arrays."""

    @abc.abstractmethod
    def of_array(self, matrix: Num[Array, "n n"]) -> AbstractFactors:
        """The factors of an array."""

    def factor(self, matrix: Matrix) -> AbstractFactors:
        return self.of_array(matrix.dense())
