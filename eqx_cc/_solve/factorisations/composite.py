"""Factorisations made of others: with a border, and with a term of low rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from ..._scalarise.native.inverse import inverse
from ..matrix.assemble import Matrix
from .base import AbstractFactorisation


_PartFactors = tuple[Any, jax.Array, jax.Array, jax.Array]


@dataclass(frozen=True)
class BorderedLU(AbstractFactorisation):
    r"""Factors a core $D$, and `width` rows and columns after it that may be full (an
    arrowhead, if the core is diagonal), by the Schur complement:

    $$\begin{pmatrix} D & B \\ C & E \end{pmatrix}
    \begin{pmatrix} x \\ y \end{pmatrix} = \begin{pmatrix} f \\ g \end{pmatrix}, \quad
    y = (E - C D^{-1} B)^{-1} (g - C D^{-1} f), \quad x = D^{-1} (f - B y).$$

    The factors are those of $D$, and $D^{-1} B$, $C$ and $(E - C D^{-1} B)^{-1}$.
    """

    size: int
    width: int
    core: AbstractFactorisation

    def factor(self, matrix: Matrix) -> _PartFactors:
        inside, border = np.split(np.arange(self.size), [self.size - self.width])
        core = self.core.factor(matrix.restricted(inside, inside))
        below = matrix.at(*np.ix_(border, inside))
        solved = self.core.solve_columns(core, matrix.at(*np.ix_(inside, border)))
        corner = matrix.at(*np.ix_(border, border)) - below @ solved
        return core, solved, below, inverse(corner)

    def identity(self, dtype: Any) -> _PartFactors:
        solved = jnp.zeros((self.size - self.width, self.width), dtype)
        corner = jnp.eye(self.width, dtype=dtype)
        return self.core.identity(dtype), solved, solved.T, corner

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        core, solved, below, corner = factors
        first, last = jnp.split(vector, [self.size - self.width])
        if transposed:
            last = (last - first @ solved) @ corner
            first = self.core.solve(core, first - last @ below, transposed=True)
        else:
            first = self.core.solve(core, first, transposed=False)
            last = corner @ (last - below @ first)
            first = first - solved @ last
        return jnp.concatenate([first, last])


@dataclass(frozen=True)
class LowRankUpdate(AbstractFactorisation):
    r"""Factors the sum of a sparse matrix and one of low rank by the formula of
    Woodbury:

    $$(S + U V)^{-1} = (1 - S^{-1} U (1 + V S^{-1} U)^{-1} V) S^{-1}$$

    The factors are those of $S$, and $S^{-1} U$, $V$ and $(1 + V S^{-1} U)^{-1}$.
    """

    sparse: AbstractFactorisation
    rank: int
    size: int

    def factor(self, matrix: Matrix) -> _PartFactors:
        sparse = self.sparse.factor(matrix.sparse())
        solved = self.sparse.solve_columns(sparse, matrix.left)
        eye = jnp.eye(self.rank, dtype=matrix.entries.dtype)
        corner = inverse(eye + matrix.right @ solved)
        return sparse, solved, matrix.right, corner

    def identity(self, dtype: Any) -> _PartFactors:
        solved = jnp.zeros((self.size, self.rank), dtype)
        corner = jnp.eye(self.rank, dtype=dtype)
        return self.sparse.identity(dtype), solved, solved.T, corner

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        sparse, solved, right, corner = factors
        if transposed:
            vector = vector - vector @ solved @ corner @ right
            return self.sparse.solve(sparse, vector, transposed=True)
        solution = self.sparse.solve(sparse, vector, transposed=False)
        return solution - solved @ (corner @ (right @ solution))
