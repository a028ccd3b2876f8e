"""Checks of a solution by its residual, and of a matrix by its condition."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Num

from ..matrix.assemble import Matrix


# How large the residual of a factorisation with pivots may be, relative to the matrix,
# the solution and the right-hand side, in units of rounding.
_RESIDUAL = 1e4
# Which power of the unit of rounding the residual may be of the right-hand side (one
# part in 1,300 of it, in single precision in 24), and the reciprocal of the condition
# of a matrix that is called regular.
_SOLVED, _REGULAR = 0.2, 2 / 3


def is_solution(
    matrix: Matrix | Array, solution: Num[Array, " in"], rhs: Num[Array, " out"]
) -> Bool[Array, ""]:
    """True if the residual is small, and the solution not so large that rounding alone
    may have made it. NaN is no solution.

    Of more rows than columns it is that of the normal equations, `A^H (b - A x) = 0`.
    """
    if isinstance(matrix, Matrix):
        product = matrix @ solution
    else:
        product = jnp.matmul(matrix, solution, precision=lax.Precision.HIGHEST)
    residual, size = rhs - product, _largest(rhs)
    reach = _norm(matrix) * _largest(solution)
    if len(rhs) > len(solution):
        assert isinstance(matrix, jax.Array)  # A `Matrix` is square.
        adjoint = jnp.conj(matrix.T)
        residual = jnp.matmul(adjoint, residual, precision=lax.Precision.HIGHEST)
        size, reach = _norm(adjoint) * size, _norm(adjoint) * reach
    return is_small(_largest(residual), size, reach, _RESIDUAL)


def is_small(
    residual: jax.Array, size: jax.Array, reach: jax.Array, units: float
) -> jax.Array:
    """True if a residual is small, for a right-hand side of that `size`, and a product
    of matrix and solution that may be as large as `reach`."""
    eps = float(jnp.finfo(residual.dtype).eps)
    is_stable = residual <= units * eps * (size + reach)
    is_solved = residual <= eps**_SOLVED * size
    return is_stable & is_solved & (eps * reach <= size)


def is_regular(matrix: Matrix | Array, solve: Callable) -> Bool[Array, ""]:
    """True if a matrix is regular beyond doubt: by an estimate of its condition, from
    the solution for one vector that has no relation to it."""
    norm = _norm(matrix)
    size = matrix.size if isinstance(matrix, Matrix) else len(matrix)
    vector = jnp.asarray(np.random.default_rng(0).normal(size=size), norm.dtype)
    reach = norm * _largest(solve(vector))
    return float(jnp.finfo(norm.dtype).eps) ** _REGULAR * reach <= _largest(vector)


def _norm(matrix: Matrix | Array) -> Num[Array, ""]:
    """A bound of the largest sum of absolute values in a row."""
    if isinstance(matrix, Matrix):
        return matrix.norm()
    return jnp.max(jnp.sum(jnp.abs(matrix), 1), initial=0)


def _largest(values: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(values), initial=0)
