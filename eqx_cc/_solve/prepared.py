"""Factors for iterations that need no more than an approximate inverse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import lineax as lx
from jax import lax
from jaxtyping import Array, Int, Num, PyTree

from .direct import AbstractDirectSolver, Factored
from .factorisations.base import AbstractDensePlan, AbstractFactors, AbstractPlan
from .factorisations.blocks import InversePlan
from .factorisations.straight_line import StraightPlan
from .matrix.ravel import Flat, size_of, structure_of
from .system import few_scalars


# Up to here a dense matrix that many systems are solved with is inverted: a product
# takes a fifth of the time of two substitutions, and the inverse three factorisations
# (`python -m benchmarks.solvers --shares`).
_INVERTED = 64


@dataclass(frozen=True)
class LUPlan(AbstractDensePlan):
    """A matrix without structure."""

    size: int

    def of_array(self, matrix: Num[Array, "n n"]) -> LU:
        return LU(*jsp.linalg.lu_factor(matrix))

    def identity(self, dtype: Any) -> LU:
        return LU(jnp.eye(self.size, dtype=dtype), jnp.arange(self.size, dtype="int32"))


class LU(AbstractFactors):
    """The factors of LAPACK, with row pivoting."""

    factors: Num[Array, "n n"]
    swaps: Int[Array, " n"]

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        factors = self.factors, self.swaps
        return jsp.linalg.lu_solve(factors, vector, trans=1 if transposed else 0)


class Prepared:
    """The Jacobian of a function between real vectors of one structure: what it takes
    to factor it is known, and nothing has been computed. `shifted`: it is the identity,
    plus what may be small."""

    def __init__(
        self,
        solver: AbstractDirectSolver,
        fun: Callable,
        x: PyTree,
        shifted: bool,
        tags: frozenset[object] = frozenset(),
    ):
        structure = structure_of(x)
        self._flat = Flat.of(structure, structure)
        self._solver, self._size = solver, size_of(structure)
        self._system = solver.system(fun, x, tags)
        self._plan = self._system.plan
        if self._plan is None and isinstance(solver.inner, lx.AutoLinearSolver):
            self._plan = self._of_dense(fun, x, shifted)

    def _of_dense(self, fun: Callable, x: PyTree, shifted: bool) -> AbstractPlan | None:
        """None if the inner solver is asked."""
        if self._size == 0 or self._size > _INVERTED:
            return LUPlan(self._size) if self._size else None
        positions = few_scalars(fun, x) if shifted else None
        plan = None if positions is None else StraightPlan.of(positions)
        return plan or InversePlan(self._size)

    def factored(self) -> Factored:
        """The factors of the Jacobian. Nobody differentiates them."""
        plan, matrix = self._plan, self._system.matrix()
        matrix = jax.tree.map(lax.stop_gradient, matrix)
        if plan is None:
            return self._of_inner(matrix)
        if isinstance(plan, AbstractDensePlan):
            return self._of(plan.of_array(matrix))
        return self._of(plan.factor(matrix))

    def identity(self) -> Factored:
        """The factors of the identity."""
        dtype, plan = self._flat.dtype, self._plan
        if plan is None:
            eye = jnp.eye(self._size, dtype=dtype)
            return self._of_inner(eye)
        return self._of(plan.identity(dtype))

    def _of_inner(self, matrix: Num[Array, "n n"]) -> Factored:
        """By the inner solver. Iterations judge by their corrections, not residuals."""
        made = self._solver.of_dense(matrix, self._flat, {}, frozenset())
        return dataclasses.replace(made, matrix=None)

    def _of(self, factors: AbstractFactors) -> Factored:
        return Factored(factors, None, None, self._flat, False)
