"""Factorisations made of others: reordered, bordered, and of low rank besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from ..._scalarise.native.inverse import inverse
from ..._sparsity.keyed import keyed
from ..matrix.assemble import Matrix
from .base import AbstractFactors, AbstractPlan
from .blocks import Inverse, InversePlan


@keyed("content")
class Order:
    """A permutation: where every new place was before."""

    def __init__(self, places: np.ndarray):
        self.places = places.astype(np.int32)
        self.inverse = np.argsort(self.places).astype(np.int32)
        self.content = self.places.tobytes()


@dataclass(frozen=True)
class ReorderedPlan(AbstractPlan):
    """Rows and columns in another order."""

    order: Order
    inner: AbstractPlan

    @property
    def is_stable(self) -> bool:
        return self.inner.is_stable

    def factor(self, matrix: Matrix) -> Reordered:
        places = self.order.places
        return Reordered(
            self.inner.factor(matrix.restricted(places, places)), self.order
        )

    def identity(self, dtype: Any) -> Reordered:
        return Reordered(self.inner.identity(dtype), self.order)


def in_order(order: np.ndarray, plan: AbstractPlan) -> AbstractPlan:
    """A plan for the matrix in that order, as one for the matrix."""
    if np.array_equal(order, np.arange(len(order))):
        return plan
    return ReorderedPlan(Order(order), plan)


class Reordered(AbstractFactors):
    """Factors of the reordered matrix."""

    inner: AbstractFactors
    order: Order = eqx.field(static=True)

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        found = self.inner.solve(vector[self.order.places], transposed)
        return found[self.order.inverse]


@dataclass(frozen=True)
class BorderedPlan(AbstractPlan):
    """A core, and `width` rows and columns after it that may be full: an arrowhead, if
    the core is diagonal."""

    size: int
    width: int
    core: AbstractPlan

    def factor(self, matrix: Matrix) -> Bordered:
        inside, border = np.split(np.arange(self.size), [self.size - self.width])
        core = self.core.factor(matrix.restricted(inside, inside))
        right = matrix.at(*np.ix_(inside, border))
        below = matrix.at(*np.ix_(border, inside))
        solved = core.solve_columns(right)
        corner = matrix.at(*np.ix_(border, border)) - below @ solved
        return Bordered(core, solved, below, Inverse(inverse(corner)))

    def identity(self, dtype: Any) -> Bordered:
        inside = self.size - self.width
        solved = jnp.zeros((inside, self.width), dtype)
        corner = InversePlan(self.width).identity(dtype)
        return Bordered(self.core.identity(dtype), solved, solved.T, corner)


class Bordered(AbstractFactors):
    """The factors of the core; the columns of the border, solved for; its rows; and the
    inverse of the Schur complement."""

    core: AbstractFactors
    solved: Num[Array, "inside border"]
    below: Num[Array, "border inside"]
    corner: Inverse

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        inside = self.solved.shape[0]
        first, last = vector[:inside], vector[inside:]
        if transposed:
            last = self.corner.solve(last - first @ self.solved, True)
            first = self.core.solve(first - last @ self.below, True)
        else:
            first = self.core.solve(first, False)
            last = self.corner.solve(last - self.below @ first, False)
            first = first - self.solved @ last
        return jnp.concatenate([first, last])


@dataclass(frozen=True)
class LowRankPlan(AbstractPlan):
    """A sparse matrix, and one of low rank that is added to it."""

    sparse: AbstractPlan
    rank: int
    size: int

    def factor(self, matrix: Matrix) -> LowRank:
        sparse = self.sparse.factor(matrix.sparse())
        solved = sparse.solve_columns(matrix.left)
        eye = jnp.eye(self.rank, dtype=matrix.entries.dtype)
        corner = Inverse(inverse(eye + matrix.right @ solved))
        return LowRank(sparse, solved, matrix.right, corner)

    def identity(self, dtype: Any) -> LowRank:
        solved = jnp.zeros((self.size, self.rank), dtype)
        corner = InversePlan(self.rank).identity(dtype)
        return LowRank(self.sparse.identity(dtype), solved, solved.T, corner)


class LowRank(AbstractFactors):
    r"""The formula of Woodbury:

    $$(S + U V)^{-1} = (1 - S^{-1} U (1 + V S^{-1} U)^{-1} V) S^{-1}$$
    """

    sparse: AbstractFactors
    solved: Num[Array, "n rank"]
    right: Num[Array, "rank n"]
    corner: Inverse

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        if transposed:
            inner = self.corner.solve(vector @ self.solved, True)
            return self.sparse.solve(vector - inner @ self.right, True)
        found = self.sparse.solve(vector, False)
        return found - self.solved @ self.corner.solve(self.right @ found, False)
