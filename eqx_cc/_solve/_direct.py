"""What direct solvers have in common: factors, and a look at what they find."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import lineax as lx
from jax import lax
from jaxtyping import Array, Bool, PyTree

from ._base import AbstractFactors, AbstractPlan
from ._flat import Flat
from ._matrix import Matrix
from ._small import Small
from ._system import size_of, System


# How large a residual may be, relative to the matrix, the solution and the right-hand
# side, in units of rounding; and the rows up to which what fails is solved as dense.
_RESIDUAL = 1e4
_DENSE = 2048

_TAGS = (
    (lx.is_symmetric, lx.symmetric_tag),
    (lx.is_diagonal, lx.diagonal_tag),
    (lx.is_tridiagonal, lx.tridiagonal_tag),
    (lx.has_unit_diagonal, lx.unit_diagonal_tag),
    (lx.is_lower_triangular, lx.lower_triangular_tag),
    (lx.is_upper_triangular, lx.upper_triangular_tag),
    (lx.is_positive_semidefinite, lx.positive_semidefinite_tag),
    (lx.is_negative_semidefinite, lx.negative_semidefinite_tag),
)
_TURNED: dict[Any, Any] = {
    lx.lower_triangular_tag: lx.upper_triangular_tag,
    lx.upper_triangular_tag: lx.lower_triangular_tag,
}


class Factored(eqx.Module):
    """A state: factors, or the state of the inner solver; and the matrix, with its
    tags, where residuals are to be looked at."""

    factors: AbstractFactors | None
    inner: Any
    matrix: Matrix | None
    flat: Flat
    transposed: bool = eqx.field(static=True)
    tags: frozenset[object] = eqx.field(static=True, default=frozenset())


def tags_of(operator: lx.AbstractLinearOperator) -> frozenset[object]:
    """What lineax knows of an operator."""
    return frozenset(tag for has, tag in _TAGS if has(operator))


def factored(
    plan: AbstractPlan, matrix: Matrix, flat: Flat, tags: frozenset[object]
) -> Factored:
    """The state of a matrix that is factored as planned."""
    kept = None if plan.is_stable else matrix
    return Factored(plan.factor(matrix), None, kept, flat, False, tags)


class AbstractDirectSolver(lx.AbstractLinearSolver[Factored]):
    """A linear solver that factors the matrix of an operator.

    Where pivots are not sought in all of the matrix, the solution is refined once and
    its residual is looked at; if that is large then `inner` solves the system.
    """

    @property
    @abc.abstractmethod
    def inner(self) -> lx.AbstractLinearSolver:
        """The solver for matrices that are taken for dense."""

    @abc.abstractmethod
    def system(self, fun: Callable, x: PyTree) -> System:
        """How the Jacobian of a function, at `x`, is computed and factored."""

    def of_dense(self, matrix: Array, flat: Flat, options: dict, tags) -> Factored:
        """The state of the inner solver, for a matrix without structure."""
        operator = lx.MatrixLinearOperator(matrix, tags)
        inner = self.inner.init(operator, options) if matrix.size else None
        return Factored(None, inner, None, flat, False)

    def compute(
        self, state: Factored, vector: PyTree[Array], options: dict
    ) -> tuple[PyTree[Array], lx.RESULTS, dict[str, Any]]:
        """Solves a system with the factors."""
        flat = state.flat
        known = flat.ravel(vector)
        result, stats = lx.RESULTS.successful, {}
        if state.inner is not None:
            found, result, stats = self.inner.compute(state.inner, known, options)
        elif state.factors is None:
            found = jnp.zeros(size_of(flat.taken[0]), flat.dtype)
        elif isinstance(state.factors, Small):
            found, is_good = self._small(state, known)
            result = lx.RESULTS.where(is_good, result, lx.RESULTS.singular)
        else:
            found = state.factors.solve(known, state.transposed)
            if state.matrix is not None:
                found, is_good = self._looked_at(state, known, found)
                result = lx.RESULTS.where(is_good, result, lx.RESULTS.singular)
        return flat.unravel(found), result, stats

    def _small(self, state: Factored, known: Array) -> tuple[Array, Bool[Array, ""]]:
        """By the inverse; by the inner solver if that is not as good."""
        own = state.factors
        assert isinstance(own, Small)
        own = own.transpose if state.transposed else own

        def dense(matrix, known):
            return self._densely(matrix, state, known)

        return _unless(*own.checked(known), dense, own.matrix, known)

    def _looked_at(
        self, state: Factored, known: Array, found: Array
    ) -> tuple[Array, Bool[Array, ""]]:
        """A solution refined, or what the inner solver finds where the structure was of
        no use: where a part that is eliminated first is singular, though the whole is
        not."""
        found = _refined(state, known, found)
        is_good = _is_solution(state, known, found)
        matrix = _oriented(state)
        if matrix.size > _DENSE:
            return found, is_good

        def dense(matrix, known):
            new, is_good = self._densely(matrix.dense(), state, known)
            return new, is_good & _is_solution(state, known, new)

        return _unless(found, is_good, dense, matrix, known)

    def _densely(
        self, matrix: Array, state: Factored, known: Array
    ) -> tuple[Array, Bool[Array, ""]]:
        """What the inner solver finds for a matrix."""
        inner = self.of_dense(matrix, state.flat, {}, state.tags).inner
        found, result, _ = self.inner.compute(inner, known, {})
        is_finite = jnp.all(jnp.isfinite(found))
        return found, is_finite & (result == lx.RESULTS.successful)

    def transpose(self, state: Factored, options: dict) -> tuple[Factored, dict]:
        """The state of the transposed operator."""
        inner = state.inner
        if inner is not None:
            inner, options = self.inner.transpose(inner, options)
        transposed = not state.transposed
        flat = state.flat.transpose
        tags = frozenset(_TURNED.get(tag, tag) for tag in state.tags)
        state = Factored(state.factors, inner, state.matrix, flat, transposed, tags)
        return state, options

    def conj(self, state: Factored, options: dict) -> tuple[Factored, dict]:
        """The state of the conjugate operator: what is factored here is real."""
        if state.inner is None:
            return state, options
        inner, options = self.inner.conj(state.inner, options)
        return eqx.tree_at(lambda s: s.inner, state, inner), options


def _unless(
    found: Array, is_good: Bool[Array, ""], other: Callable, *args: PyTree
) -> tuple[Array, Bool[Array, ""]]:
    """What was found, or else what `other` makes of its arguments. A loop of at most
    one iteration: in a batch, a branch would always be taken. The barrier keeps XLA
    from moving what is the same in all iterations to before the loop."""
    start = is_good, found, is_good
    dynamic, static = eqx.partition(args, eqx.is_array)

    def step(carry):
        own, _ = lax.optimization_barrier((dynamic, carry))
        return jnp.array(True), *other(*eqx.combine(own, static))

    return lax.while_loop(lambda carry: ~carry[0], step, start)[1:]


def _oriented(state: Factored) -> Matrix:
    assert state.matrix is not None
    return state.matrix.transpose if state.transposed else state.matrix


def _refined(state: Factored, known: Array, found: Array) -> Array:
    """The solution after one step of refinement."""
    assert state.factors is not None
    residual = known - _oriented(state) @ found
    return found + state.factors.solve(residual, state.transposed)


def _is_solution(state: Factored, known: Array, found: Array) -> Bool[Array, ""]:
    """Whether the residual is small, and the solution not so large that rounding alone
    may have made it. What is not a number is no solution."""
    matrix = _oriented(state)
    residual = jnp.max(jnp.abs(known - matrix @ found))
    size = jnp.max(jnp.abs(known))
    reach = matrix.norm() * jnp.max(jnp.abs(found))
    eps = jnp.finfo(found.dtype).eps
    return (residual <= _RESIDUAL * eps * (size + reach)) & (eps * reach <= size)
