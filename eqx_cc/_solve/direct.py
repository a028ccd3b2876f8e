"""The base of direct solvers: factors, and a check of the residual."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, PyTree

from .factorisations.base import AbstractFactorisation
from .factorisations.dense import RefinedInverse
from .factorisations.residual import is_regular, is_solution
from .matrix.assemble import Matrix, to_dense
from .matrix.ravel import Flat, size_of
from .matrix.tags import believed_array, turned
from .system import MatrixRecipe


# The most rows of a system that is solved again as dense if its residual is large.
_MOST_DENSE = 2048
# Solvers of lineax that divide by diagonals.
_OF_DIAGONALS = lx.AutoLinearSolver, lx.Diagonal
# Solvers of lineax that factor, and thus solve up to rounding.
DIRECT = (
    lx.AutoLinearSolver,
    lx.Cholesky,
    lx.Diagonal,
    lx.LU,
    lx.QR,
    lx.Triangular,
    lx.Tridiagonal,
)


class Factored(eqx.Module):
    """A state: `factors`, or the state of the `inner` solver; the `matrix`, with its
    tags, where residuals are to be checked; and `is_regular`, which is True beyond
    doubt, where the inner solver is for singular matrices as well."""

    flat: Flat
    factorisation: AbstractFactorisation | None = eqx.field(static=True, default=None)
    factors: Any = None
    inner: Any = None
    matrix: Matrix | Array | None = None
    is_regular: Bool[Array, ""] | None = None
    transposed: bool = eqx.field(static=True, default=False)
    tags: frozenset[object] = eqx.field(static=True, default=frozenset())

    @property
    def oriented(self) -> Any:
        """The matrix of the system that is solved."""
        transposed = self.transposed and self.matrix is not None
        return self.matrix.T if transposed else self.matrix  # pyright: ignore

    def solve(self, rhs: Array) -> Array:
        """The solution by the factors."""
        assert self.factorisation is not None
        return self.factorisation.solve(self.factors, rhs, transposed=self.transposed)


class AbstractDirectSolver(lx.AbstractLinearSolver[Factored]):
    """A linear solver that factors the matrix of an operator.

    Where pivots are not sought in all of the matrix, the solution is refined once; its
    residual is checked, and if that is large then `inner` solves the system. What is
    not solved is reported. If `inner` is not for regular matrices alone, then it has
    every system of which it is in doubt whether the matrix is one.
    """

    @property
    @abc.abstractmethod
    def inner(self) -> lx.AbstractLinearSolver:
        """The solver for matrices that are taken for dense."""

    @abc.abstractmethod
    def system(
        self, fun: Callable, x: PyTree, tags: frozenset[object] = frozenset()
    ) -> MatrixRecipe:
        """The factorisation for the Jacobian of a function, at `x`, and a function that
        computes it; `tags` are what is known of it."""

    def assume_full_rank(self) -> bool:
        """As `inner`. What is singular is then reported."""
        return self.inner.assume_full_rank()

    def factored(
        self,
        plan: AbstractFactorisation,
        matrix: Matrix,
        flat: Flat,
        tags: frozenset[object],
    ) -> Factored:
        """The state of a matrix that is factored as planned."""
        is_full_rank = self.assume_full_rank()
        if plan.is_diagonal and not is_full_rank:
            if isinstance(self.inner, _OF_DIAGONALS):
                # The inner solver knows what to do with zeros.
                index = np.arange(matrix.size)
                operator = lx.DiagonalLinearOperator(matrix.at(index, index))
                return Factored(flat, inner=self.inner.init(operator, {}))
        state = Factored(flat, plan, plan.factor(matrix), tags=tags)
        if is_full_rank:
            is_checked = not plan.is_diagonal
            return dataclasses.replace(state, matrix=matrix if is_checked else None)
        regular = is_regular(matrix, state.solve)
        return dataclasses.replace(state, matrix=matrix, is_regular=regular)

    def of_dense(self, matrix: Array, flat: Flat, options: dict, tags) -> Factored:
        """The state of the inner solver, for a matrix without structure."""
        operator = lx.MatrixLinearOperator(matrix, tags)
        inner = self.inner.init(operator, options) if matrix.size else None
        return Factored(flat, inner=inner, matrix=self._checked(matrix, tags))

    def _checked(self, matrix: Array, tags: frozenset[object]) -> Array | None:
        """The matrix by which the solutions of the inner solver are checked; None if it
        has a measure of its own, as for matrices that are not of full rank."""
        rows, columns = matrix.shape
        if not (isinstance(self.inner, DIRECT) and self.assume_full_rank()):
            return None
        if rows * columns == 0:
            return None
        return believed_array(matrix, tags) if rows == columns else matrix

    def compute(
        self, state: Factored, vector: PyTree[Array], options: dict
    ) -> tuple[PyTree[Array], lx.RESULTS, dict[str, Any]]:
        """Solves a system with the factors."""
        flat = state.flat
        rhs = flat.ravel(vector)
        result, stats = lx.RESULTS.successful, {}
        if state.inner is not None:
            solution, result, stats = self.inner.compute(state.inner, rhs, options)
            if state.matrix is not None:
                is_good = is_solution(state.oriented, solution, rhs)
                is_good = is_good | (result != lx.RESULTS.successful)
                result = lx.RESULTS.where(is_good, result, lx.RESULTS.singular)
        elif state.factorisation is None:
            solution = jnp.zeros(size_of(flat.taken[0]), flat.dtype)
        else:
            solution, is_good = self._by_factors(state, rhs)
            result = lx.RESULTS.where(is_good, result, lx.RESULTS.singular)
        return flat.unravel(solution), result, stats

    def _by_factors(self, state: Factored, rhs: Array) -> tuple[Array, Bool[Array, ""]]:
        """The solution, and True if it is one. The inner solver has what the structure
        is of no use for: where a part that is eliminated first is singular, though the
        whole is not; or where the whole is, and the inner solver is for that."""
        plan, matrix = state.factorisation, state.oriented
        assert plan is not None
        if isinstance(plan, RefinedInverse):
            solution, is_good = plan.checked(
                state.factors, rhs, transposed=state.transposed
            )
            matrix = state.factors[0].T if state.transposed else state.factors[0]
        else:
            solution = state.solve(rhs)
            if matrix is None:
                return solution, jnp.all(jnp.isfinite(solution))
            if not plan.is_stable:
                solution = solution + state.solve(rhs - matrix @ solution)
            is_good = is_solution(matrix, solution, rhs)
        if state.is_regular is not None:
            is_good = is_good & state.is_regular
        elif plan.is_stable:
            return solution, is_good
        if len(rhs) > _MOST_DENSE:
            return solution, is_good

        def by_inner(matrix, rhs):
            return self._by_inner(state, matrix, rhs)

        return _unless(is_good, solution, by_inner, matrix, rhs)

    def _by_inner(
        self, state: Factored, matrix: Matrix | Array, rhs: Array
    ) -> tuple[Array, Bool[Array, ""]]:
        """The solution of the inner solver, and True if it may be relied on."""
        tags = turned(state.tags) if state.transposed else state.tags
        operator = lx.MatrixLinearOperator(to_dense(matrix), tags)
        inner = self.inner.init(operator, {})
        solution, result, _ = self.inner.compute(inner, rhs, {})
        is_good = jnp.all(jnp.isfinite(solution)) & (result == lx.RESULTS.successful)
        if state.is_regular is None:
            is_good = is_good & is_solution(matrix, solution, rhs)
        return solution, is_good

    def transpose(self, state: Factored, options: dict) -> tuple[Factored, dict]:
        """The state of the transposed operator."""
        inner = state.inner
        if inner is not None:
            inner, options = self.inner.transpose(inner, options)
        state = dataclasses.replace(
            state,
            inner=inner,
            flat=state.flat.transpose,
            transposed=not state.transposed,
        )
        return state, options

    def conj(self, state: Factored, options: dict) -> tuple[Factored, dict]:
        """The state of the conjugate operator: structured matrices are real."""
        if state.inner is None:
            return state, options
        inner, options = self.inner.conj(state.inner, options)
        matrix = state.matrix
        if isinstance(matrix, jax.Array):
            matrix = jnp.conj(matrix)
        return dataclasses.replace(state, inner=inner, matrix=matrix), options


def _unless(
    is_good: Bool[Array, ""], solution: Array, other: Callable, *args: PyTree
) -> tuple[Array, Bool[Array, ""]]:
    """A solution if it is good, or else that which `other` returns. A loop of at most
    one iteration: in a batch, a branch would always be taken. The barrier keeps XLA
    from moving what is the same in all iterations to before the loop."""
    start = is_good, solution, is_good
    dynamic, static = eqx.partition(args, eqx.is_array)

    def step(carry):
        arrays, _ = lax.optimization_barrier((dynamic, carry))
        return jnp.array(True), *other(*eqx.combine(arrays, static))

    return lax.while_loop(lambda carry: ~carry[0], step, start)[1:]
