"""A factorisation of the matrix with its rows and columns in another order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Array, Num

from ..._sparsity.keyed import keyed
from ..matrix.assemble import Matrix
from .base import AbstractFactorisation


@keyed("content")
class Permutation:
    """A permutation: the old place of each new one. Hashable, by content."""

    def __init__(self, places: np.ndarray):
        self.places = places.astype(np.int32)
        self.inverse = np.argsort(self.places).astype(np.int32)
        self.content = self.places.tobytes()


@dataclass(frozen=True)
class Reordered(AbstractFactorisation):
    """Factors a matrix with its rows and columns permuted alike. The factors are those
    of `inner`."""

    order: Permutation
    inner: AbstractFactorisation

    @property
    def is_stable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.is_stable

    def factor(self, matrix: Matrix) -> Any:
        places = self.order.places
        return self.inner.factor(matrix.restricted(places, places))

    def identity(self, dtype: Any) -> Any:
        return self.inner.identity(dtype)

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        permuted = vector[self.order.places]
        solution = self.inner.solve(factors, permuted, transposed=transposed)
        return solution[self.order.inverse]


def in_order(
    order: np.ndarray, factorisation: AbstractFactorisation
) -> AbstractFactorisation:
    """A factorisation for the matrix in that order, as one for the matrix."""
    if np.array_equal(order, np.arange(len(order))):
        return factorisation
    return Reordered(Permutation(order), factorisation)
