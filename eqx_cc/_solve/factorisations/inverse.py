"""Small systems: an inverse, a step of refinement, and a look at the residual.

As one native call: operation by operation, these few numbers would take longer than the
substitutions of LAPACK do.
"""

from __future__ import annotations

import functools as ft
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Num

from ..._scalarise.native.function import native_function, NativeFunction
from ..._scalarise.native.inverse import inverse
from .base import AbstractFactors
from .residual import is_small


# How large a residual may be, in units of rounding: substitution leaves about one.
_RESIDUAL = 16.0


class Small(AbstractFactors):
    """A matrix and its inverse."""

    matrix: Num[Array, "n n"]
    inverse: Num[Array, "n n"]

    @classmethod
    def of(cls, matrix: Num[Array, "n n"]) -> Small:
        return cls(matrix, inverse(matrix))

    @property
    def transpose(self) -> Small:
        return Small(self.matrix.T, self.inverse.T)

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        own = self.transpose if transposed else self
        return own.checked(vector)[0]

    def checked(self, vector: Num[Array, " n"]) -> tuple[jax.Array, Bool[Array, ""]]:
        """The solution, and whether it is one: with a residual as small as that of an
        LU factorisation with pivoting."""
        fun = _checked(len(vector), self.matrix.dtype)
        found, is_good = fun(self.matrix, self.inverse, vector)
        return found, is_good


@ft.lru_cache(maxsize=64)
def _checked(size: int, dtype: Any) -> NativeFunction:
    square = jax.ShapeDtypeStruct((size, size), dtype)
    vector = jax.ShapeDtypeStruct((size,), dtype)
    fun = _refined
    return native_function(fun, fun, square, square, vector, always=True)


def _refined(matrix, inverse, vector) -> list[jax.Array]:
    product = lambda a, x: jnp.sum(a * x[None], 1)  # noqa: E731
    found = product(inverse, vector)
    found = found + product(inverse, vector - product(matrix, found))
    residual = jnp.max(jnp.abs(vector - product(matrix, found)))
    reach = jnp.max(jnp.sum(jnp.abs(matrix), 1)) * jnp.max(jnp.abs(found))
    return [found, is_small(residual, jnp.max(jnp.abs(vector)), reach, _RESIDUAL)]
