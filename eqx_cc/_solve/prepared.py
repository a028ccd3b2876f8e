"""Factors for iterations that need no more than an approximate inverse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import lineax as lx
from jax import lax
from jaxtyping import Array, PyTree

from .direct import AbstractDirectSolver, Factored
from .factorisations.base import AbstractFactorisation
from .factorisations.dense import DenseInverse, DenseLU, MOST_INVERTED
from .factorisations.straight_line import StraightLineLU
from .matrix.ravel import Flat, size_of, structure_of
from .system import scalar_pattern


class PreparedJacobian:
    """The Jacobian of a function between real vectors of one structure, with the
    factorisation selected and nothing computed. `shifted`: it is the identity plus a
    term that may be small."""

    def __init__(
        self,
        solver: AbstractDirectSolver,
        fun: Callable,
        x: PyTree,
        *,
        shifted: bool,
        tags: frozenset[object] = frozenset(),
    ):
        structure = structure_of(x)
        self._flat = Flat.of(structure, structure)
        self._solver, self._size = solver, size_of(structure)
        self._system = solver.system(fun, x, tags)
        self._factorisation = self._system.factorisation
        has_default = isinstance(solver.inner, lx.AutoLinearSolver)
        if self._factorisation is None and has_default:
            self._factorisation = self._of_dense(fun, x, shifted=shifted)

    def _of_dense(
        self, fun: Callable, x: PyTree, *, shifted: bool
    ) -> AbstractFactorisation | None:
        """None of an empty matrix."""
        if self._size > MOST_INVERTED:
            return DenseLU(self._size)
        if self._size == 0:
            return None
        positions = scalar_pattern(fun, x) if shifted else None
        sparse = None if positions is None else StraightLineLU.of(positions)
        return sparse or DenseInverse(self._size)

    def factored(self) -> Factored:
        """The factors of the Jacobian. They are not differentiated."""
        matrix = jax.tree.map(lax.stop_gradient, self._system.matrix())
        if self._factorisation is None:
            return self._by_inner(matrix)
        factors = self._factorisation.factor(matrix)
        return Factored(self._flat, self._factorisation, factors)

    def identity(self) -> Factored:
        """The factors of the identity."""
        dtype = self._flat.dtype
        if self._factorisation is None:
            return self._by_inner(jnp.eye(self._size, dtype=dtype))
        factors = self._factorisation.identity(dtype)
        return Factored(self._flat, self._factorisation, factors)

    def _by_inner(self, matrix: Array) -> Factored:
        """The state of the inner solver. Iterations judge by their corrections, not
        residuals."""
        state = self._solver.of_dense(matrix, self._flat, {}, frozenset())
        return dataclasses.replace(state, matrix=None)
