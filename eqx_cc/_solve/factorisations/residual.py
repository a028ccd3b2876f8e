"""Whether what was found solves a system, and whether that can be relied on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Num

from ..matrix.assemble import Matrix
from .base import AbstractFactors


# How large the residual of a factorisation with pivots may be, relative to the matrix,
# the solution and the right-hand side, in units of rounding.
_RESIDUAL = 1e4
# Which power of the unit of rounding the residual may be of the right-hand side (one
# part in 1,300 of it, in single precision in 24), and the reciprocal of the condition
# of a matrix that is called regular.
_SOLVED, _REGULAR = 0.2, 2 / 3


def is_solution(
    matrix: Matrix | Array, found: Num[Array, " n"], known: Num[Array, " n"]
) -> Bool[Array, ""]:
    """Whether the residual is small, and the solution not so large that rounding alone
    may have made it. What is not a number is no solution."""
    return is_small(
        _largest(known - _product(matrix, found)),
        _largest(known),
        norm(matrix) * _largest(found),
        _RESIDUAL,
    )


def is_small(
    residual: jax.Array, size: jax.Array, reach: jax.Array, units: float
) -> jax.Array:
    """Whether a residual is small, for a right-hand side of that size, and a matrix and
    a solution with a product that may reach so far."""
    eps = float(jnp.finfo(residual.dtype).eps)
    is_stable = residual <= units * eps * (size + reach)
    is_solved = residual <= eps**_SOLVED * size
    return is_stable & is_solved & (eps * reach <= size)


def is_regular(matrix: Matrix | Array, factors: AbstractFactors) -> Bool[Array, ""]:
    """Whether a matrix is regular beyond doubt: by its condition, of which the solution
    for one vector, with no relation to it, is an estimate."""
    bound = norm(matrix)
    size = matrix.size if isinstance(matrix, Matrix) else len(matrix)
    vector = jnp.asarray(np.random.default_rng(0).normal(size=size), bound.dtype)
    reach = bound * _largest(factors.solve(vector, False))
    return float(jnp.finfo(bound.dtype).eps) ** _REGULAR * reach <= _largest(vector)


def norm(matrix: Matrix | Array) -> Num[Array, ""]:
    """A bound of the largest sum of absolute values in a row."""
    if isinstance(matrix, Matrix):
        return matrix.norm()
    return jnp.max(jnp.sum(jnp.abs(matrix), 1), initial=0)


def _product(matrix: Matrix | Array, vector: jax.Array) -> jax.Array:
    if isinstance(matrix, Matrix):
        return matrix @ vector
    return jnp.matmul(matrix, vector, precision=lax.Precision.HIGHEST)


def _largest(values: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(values), initial=0)
