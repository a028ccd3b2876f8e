"""General sparse matrices on CPU: the factorisation of SciPy's SuperLU, by a callback.

What JAX carries are the entries of the matrix. The host keeps the factors of the last
matrices, and finds them by these entries: the callback is a pure function, which is
repeated only where the factors have been given up.
"""

from __future__ import annotations

import functools as ft
import threading
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Num
from scipy import sparse
from scipy.sparse import linalg

from ..matrix.assemble import Matrix
from ..matrix.positions import Positions, with_diagonal
from .base import AbstractFactorisation


# How many bytes of factors the host keeps.
_KEPT = 2**29
# Nanoseconds for calls, as often as iterations solve with one factorisation; and for a
# multiplication of the factorisation (`python -m benchmarks.solvers --shares`).
_CALLS, _MULTIPLICATION = 5e6, 1.0
# The most rows of matrices that are factored to see how many numbers that leaves.
_TRIED = 20_000
# Multiplications for meshes of triangles, with the power 3/2 of their nodes: 20 for
# 1,000 nodes, 24 for 4,000.
_OF_MESHES = 24.0


def multiplications(positions: Positions) -> float:
    """An estimate of those of a factorisation of a square matrix with these entries:
    that of a mesh in the plane if it is too large to try. Infinite if not on CPU."""
    if jax.default_backend() != "cpu":
        return float("inf")
    if positions.num_rows > _TRIED:
        return _OF_MESHES * positions.num_rows**1.5
    return _trial(positions).multiplications


@dataclass(frozen=True)
class HostLU(AbstractFactorisation):
    """Factors a sparse matrix without bands on the host. The positions have the
    diagonal among them, for the identity, and go by columns. What JAX carries in place
    of factors are the entries at these positions."""

    positions: Positions
    is_stable = True
    least_nanoseconds: ClassVar[float] = _CALLS

    @classmethod
    def of(cls, positions: Positions) -> HostLU:
        return cls(with_diagonal(positions))

    def nanoseconds(self) -> float:
        """An estimate of the time of a factorisation, and of the solves that go with
        it, by the factors of a matrix with this pattern; infinite where JAX cannot call
        the host."""
        return _CALLS + _MULTIPLICATION * multiplications(self.positions)

    def factor(self, matrix: Matrix) -> Num[Array, " nse"]:
        return matrix.at(self.positions.rows, self.positions.columns)

    def identity(self, dtype: Any) -> Num[Array, " nse"]:
        return jnp.asarray(self.positions.rows == self.positions.columns, dtype)

    def solve(self, factors, vector, *, transposed: bool) -> Num[Array, " n"]:
        matrix = Matrix.of_entries(factors, self.positions)
        matrix = matrix.T if transposed else matrix
        call = ft.partial(self._call, factors)
        # It knows the derivatives and the transpose of a system.
        return lax.custom_linear_solve(
            matrix.__matmul__,
            vector,
            lambda _, b: call(b, transposed=transposed),
            lambda _, b: call(b, transposed=not transposed),
        )

    def _call(self, entries, vector, *, transposed: bool) -> Num[Array, " n"]:
        fun = ft.partial(_solve_on_host, self.positions, transposed)
        struct = jax.ShapeDtypeStruct(vector.shape, vector.dtype)
        return jax.pure_callback(
            fun, struct, entries, vector, vmap_method="broadcast_all"
        )


#
# On the host
#


def _solve_on_host(
    positions: Positions, transposed: bool, entries, vectors
) -> np.ndarray:
    """The solution of a system, or of each of a batch of them; NaN where a matrix is
    singular."""
    entries, vectors = np.asarray(entries), np.asarray(vectors)
    order = _trial(positions).order
    solutions = np.full_like(vectors, np.nan)
    for index in np.ndindex(vectors.shape[:-1]):
        lu = _LAST_FACTORS.of(positions, entries[index])
        if lu is None or not np.all(np.isfinite(vectors[index])):
            continue
        rhs = vectors[index].astype(lu.L.dtype)
        if transposed:
            solutions[index] = lu.solve(rhs[order], "T")
        else:
            solutions[(*index, order)] = lu.solve(rhs)
    return solutions


class _LastFactors:
    """The factors that were used last. None stands for those of a singular matrix."""

    def __init__(self):
        self._lock = threading.Lock()
        self._factors: dict[Any, linalg.SuperLU | None] = {}

    def of(self, positions: Positions, entries: np.ndarray) -> linalg.SuperLU | None:
        key = positions, entries.dtype, entries.tobytes()
        with self._lock:
            if key in self._factors:
                self._factors[key] = self._factors.pop(key)  # The last to be given up.
                return self._factors[key]
        lu = _attempt(positions, entries)
        with self._lock:
            self._factors[key] = lu
            while sum(map(_bytes, self._factors.values())) > _KEPT:
                self._factors.pop(next(iter(self._factors)))
        return lu


_LAST_FACTORS = _LastFactors()


def _bytes(lu: linalg.SuperLU | None) -> int:
    return 0 if lu is None else 12 * lu.nnz


def _attempt(positions: Positions, entries: np.ndarray) -> linalg.SuperLU | None:
    if entries.dtype not in (np.float32, np.float64):
        entries = entries.astype(np.float32)
    if not np.all(np.isfinite(entries)):
        return None
    ordered = _csc(positions, entries)[:, _trial(positions).order]
    try:
        return linalg.splu(ordered, "NATURAL")
    except RuntimeError:  # A pivot is exactly zero.
        return None


class _Trial(NamedTuple):
    """The order of columns that keeps the factors of a pattern sparse, and the
    multiplications that these take."""

    order: np.ndarray
    multiplications: float


@ft.lru_cache(maxsize=64)
def _trial(positions: Positions) -> _Trial:
    """Factors a matrix with a large diagonal to see what that leaves."""
    size = positions.num_rows
    large = np.where(positions.rows == positions.columns, float(size), 1.0)
    lu = linalg.splu(_csc(positions, large))
    below = np.diff(lu.L.tocsc().indptr).astype(float)
    count = float(below @ np.diff(lu.U.tocsr().indptr))
    return _Trial(np.argsort(lu.perm_c), count)


def _csc(positions: Positions, entries: np.ndarray) -> sparse.csc_matrix:
    """The sparse matrix with these entries, which go by columns."""
    size = positions.num_rows
    ends = np.searchsorted(positions.columns, np.arange(size + 1))
    return sparse.csc_matrix((entries, positions.rows, ends), (size, size))
