"""Dense matrices: inverses of small ones, and LAPACK's LU."""

from __future__ import annotations

import functools as ft
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy as jsp
from jaxtyping import Array, Bool, Num

from ..._scalarise.native.function import native_function, NativeFunction
from ..._scalarise.native.inverse import inverse
from ..matrix.assemble import Matrix, to_dense
from .base import AbstractFactorisation
from .residual import is_small


# The most rows of a matrix that is inverted because many systems are solved with it: a
# product takes a fifth of the time of two substitutions, and the inverse three
# factorisations (`python -m benchmarks.solvers --shares`).
MOST_INVERTED = 64
# The largest residual of a refined inverse, in units of rounding: substitution leaves
# about one.
_RESIDUAL = 16.0


@dataclass(frozen=True)
class DenseInverse(AbstractFactorisation):
    """Inverts a small matrix that many systems are solved with."""

    size: int

    def factor(self, matrix: Matrix | Array) -> Num[Array, "n n"]:
        return inverse(to_dense(matrix))

    def identity(self, dtype: Any) -> Num[Array, "n n"]:
        return jnp.eye(self.size, dtype=dtype)

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        return vector @ factors if transposed else factors @ vector

    def solve_columns(self, factors, columns) -> Num[Array, "n k"]:
        return factors @ columns


@dataclass(frozen=True)
class DenseLU(AbstractFactorisation):
    """Factors a matrix without structure, with row pivoting. (`lx.LU` does that too,
    but would factor the identity as well.)"""

    size: int

    def factor(self, matrix: Matrix | Array) -> tuple[jax.Array, jax.Array]:
        return jsp.linalg.lu_factor(to_dense(matrix))

    def identity(self, dtype: Any) -> tuple[jax.Array, jax.Array]:
        return jnp.eye(self.size, dtype=dtype), jnp.arange(self.size, dtype="int32")

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        return jsp.linalg.lu_solve(factors, vector, trans=int(transposed))


@dataclass(frozen=True)
class RefinedInverse(AbstractFactorisation):
    """Inverts a small matrix; a solve refines the solution once, and checks its
    residual. The factors are the matrix and its inverse.

    A solve is one native call: operation by operation, these few numbers would take
    longer than the substitutions of LAPACK.
    """

    size: int

    def factor(self, matrix: Matrix | Array) -> tuple[jax.Array, jax.Array]:
        array = to_dense(matrix)
        return array, inverse(array)

    def identity(self, dtype: Any) -> tuple[jax.Array, jax.Array]:
        return jnp.eye(self.size, dtype=dtype), jnp.eye(self.size, dtype=dtype)

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        return self.checked(factors, vector, transposed=transposed)[0]

    def checked(
        self, factors, vector, *, transposed: bool
    ) -> tuple[Num[Array, " n"], Bool[Array, ""]]:
        """The solution; and True if its residual is as small as that of an LU
        factorisation with pivoting."""
        matrix, inverse = (array.T if transposed else array for array in factors)
        solution, is_good = _refined(self.size, matrix.dtype)(matrix, inverse, vector)
        return solution, is_good


@ft.lru_cache(maxsize=64)
def _refined(size: int, dtype: Any) -> NativeFunction:
    square = jax.ShapeDtypeStruct((size, size), dtype)
    vector = jax.ShapeDtypeStruct((size,), dtype)
    fun = _refine_and_check
    return native_function(fun, fun, square, square, vector, always=True)


def _refine_and_check(matrix, inverse, vector) -> list[jax.Array]:
    product = lambda a, x: jnp.sum(a * x[None], 1)  # noqa: E731
    solution = product(inverse, vector)
    solution = solution + product(inverse, vector - product(matrix, solution))
    residual = jnp.max(jnp.abs(vector - product(matrix, solution)))
    reach = jnp.max(jnp.sum(jnp.abs(matrix), 1)) * jnp.max(jnp.abs(solution))
    return [solution, is_small(residual, jnp.max(jnp.abs(vector)), reach, _RESIDUAL)]
