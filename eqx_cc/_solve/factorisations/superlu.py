"""General sparse matrices on CPU: the factorisation of SciPy's SuperLU, by a callback.

What JAX carries are the entries of the matrix. The host keeps the factors of the last
matrices, and finds them by these entries: the callback is a pure function, which is
repeated only where the factors have been given up.
"""

from __future__ import annotations

import functools as ft
import threading
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Num
from scipy import sparse
from scipy.sparse import linalg

from ..matrix.assemble import Matrix
from ..matrix.positions import merge, Positions, taken_at
from .base import AbstractFactors, AbstractPlan


# How many bytes of factors the host keeps.
_KEPT = 2**29
# Nanoseconds for calls, as often as iterations solve with one factorisation; and for a
# multiplication of the factorisation (`python -m benchmarks.solvers --shares`).
_CALLS, _MULTIPLICATION = 5e6, 1.0
# The most rows of matrices that are factored to see how many numbers that leaves.
_TRIED = 20_000


@dataclass(frozen=True)
class SuperLUPlan(AbstractPlan):
    """A sparse matrix without bands. The positions have the diagonal among them, for
    the identity, and go by columns."""

    positions: Positions

    @classmethod
    def of(cls, positions: Positions) -> SuperLUPlan:
        size = positions.num_rows
        diagonal = np.arange(size)
        columns = np.concatenate([positions.columns, diagonal])
        rows = np.concatenate([positions.rows, diagonal])
        found = np.unique(columns.astype(np.int64) * size + rows)
        return cls(merge(found % size, found // size, (size, size))[0])

    @property
    def is_stable(self) -> bool:
        return True

    def nanoseconds(self) -> float:
        """About how long a factorisation takes, and the solves that go with it, by the
        factors of a matrix that has entries there; infinite if there is no knowing, or
        no calling from where JAX computes."""
        own = self.positions
        if own.num_rows > _TRIED or jax.default_backend() != "cpu":
            return float("inf")
        on_diagonal = own.rows == own.columns
        values = np.where(on_diagonal, float(own.num_rows), 1.0)
        found = factors(own, values)
        below = np.diff(found.L.tocsc().indptr).astype(float)
        return _CALLS + _MULTIPLICATION * float(below @ np.diff(found.U.tocsr().indptr))

    def factor(self, matrix: Matrix) -> SuperLU:
        own = self.positions
        where = matrix.positions.where(own.rows, own.columns)
        return SuperLU(taken_at(matrix.entries, where), own)

    def identity(self, dtype: Any) -> SuperLU:
        own = self.positions
        return SuperLU(jnp.asarray(own.rows == own.columns, dtype), own)


class SuperLU(AbstractFactors):
    """The entries of a matrix, of which the host has the factors."""

    entries: Num[Array, " nse"]
    positions: Positions = eqx.field(static=True)

    def solve(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        none = jnp.zeros((len(vector), 0), vector.dtype)
        matrix = Matrix(self.entries, none, none.T, self.positions)
        matrix = matrix.transpose if transposed else matrix
        # Which knows the derivatives and the transpose of a system.
        return lax.custom_linear_solve(
            matrix.__matmul__,
            vector,
            lambda _, b: self._call(b, transposed),
            lambda _, b: self._call(b, not transposed),
        )

    def _call(self, vector: Num[Array, " n"], transposed: bool) -> Num[Array, " n"]:
        fun = ft.partial(_solved, self.positions, transposed)
        struct = jax.ShapeDtypeStruct(vector.shape, vector.dtype)
        return jax.pure_callback(
            fun, struct, self.entries, vector, vmap_method="broadcast_all"
        )


#
# On the host
#


def _solved(positions: Positions, transposed: bool, entries, vector) -> np.ndarray:
    """The solutions of a system, or of a batch of them, not finite where a matrix is
    singular."""
    entries, vector = np.asarray(entries), np.asarray(vector)
    found = np.full_like(vector, np.nan)
    for where in np.ndindex(vector.shape[:-1]):
        own = _FACTORS.of(positions, entries[where])
        if own is not None and np.all(np.isfinite(vector[where])):
            known = vector[where].astype(own.L.dtype)
            found[where] = own.solve(known, "T" if transposed else "N")
    return found


class _Factors:
    """The factors that were used last. None stands for those of a singular matrix."""

    def __init__(self):
        self._lock = threading.Lock()
        self._found: dict[Any, linalg.SuperLU | None] = {}

    def of(self, positions: Positions, entries: np.ndarray) -> linalg.SuperLU | None:
        key = positions, entries.dtype, entries.tobytes()
        with self._lock:
            if key in self._found:
                self._found[key] = self._found.pop(key)  # The last one to be given up.
                return self._found[key]
        found = _attempt(positions, entries)
        with self._lock:
            self._found[key] = found
            while sum(map(_bytes, self._found.values())) > _KEPT:
                self._found.pop(next(iter(self._found)))
        return found


_FACTORS = _Factors()


def _bytes(own: linalg.SuperLU | None) -> int:
    return 0 if own is None else 12 * own.nnz


def _attempt(positions: Positions, entries: np.ndarray) -> linalg.SuperLU | None:
    if entries.dtype not in (np.float32, np.float64):
        entries = entries.astype(np.float32)
    if not np.all(np.isfinite(entries)):
        return None
    try:
        return factors(positions, entries)
    except RuntimeError:  # A pivot is exactly zero.
        return None


def factors(positions: Positions, values: np.ndarray) -> linalg.SuperLU:
    """Of the sparse matrix with these entries, which go by columns."""
    size = positions.num_rows
    ends = np.searchsorted(positions.columns, np.arange(size + 1))
    matrix = sparse.csc_matrix((values, positions.rows, ends), (size, size))
    return linalg.splu(matrix)
