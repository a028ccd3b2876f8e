"""General sparse matrices on CPU: KLU of SuiteSparse, which XLA calls without Python.

The bindings are those of `splineax-klujax`, the extra `sparse`. They keep the last
factors in a cache of their own, by the content of a matrix. A handle stands for factors
there, and travels with the matrix, so that what the cache has given up is factored
again. These alternatives were rejected:

- `klujax`, of which that is a fork: importing it sets JAX to 64 bits and to the CPU,
  factors that are computed under `jax.jit` are never freed, and a singular matrix is an
  error that ends the program.
- `splineax`, solvers of lineax on top of the fork: it needs sparse operators, and its
  release 0.4.0 cannot be imported with JAX 0.12, through asdex 0.5.2.

Of the fork, `factor` has that error as well; `refactor_with_status` has a status
instead. Right-hand sides are always of the shape `(systems, size, columns)`: with fewer
axes, which is a batch is a guess, and nested `jax.vmap` writes outside of its arrays.
"""

from __future__ import annotations

import functools as ft
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Num, UInt32

from ..matrix.assemble import Matrix
from ..matrix.positions import Positions, with_diagonal
from .base import AbstractFactorisation
from .superlu import multiplications


_DISTRIBUTION = "splineax-klujax"
# Nanoseconds for calls, an entry and a multiplication, with all solves of a step: of
# meshes of triangles with 30 to 3,000 nodes (0.2 to 17 ms).
_CALLS, _ENTRY, _MULTIPLICATION = 2e5, 100.0, 4.0
_Factors = tuple[
    Num[Array, " nse"], UInt32[Array, " 2"], Bool[Array, ""]
]  # The entries, a handle in two words, and False if the matrix is singular.


@ft.cache
def is_installed() -> bool:
    """True if the bindings can be imported. Nothing is imported to see that."""
    try:
        metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return False
    return importlib.util.find_spec("klujax") is not None


def check_installed(name: str) -> None:
    """Raises an `ImportError` if the bindings are not there."""
    if not is_installed():
        raise ImportError(
            f"`{name}` needs {_DISTRIBUTION}, which is not installed: "
            '`python -m pip install "eqx_cc[sparse]"`. (`klujax` is another package, '
            "and cannot be installed beside it.)"
        )


@dataclass(frozen=True)
class NativeKLU(AbstractFactorisation):
    """Factors a sparse matrix without bands by KLU. The positions have the diagonal
    among them, for the identity, and go by columns.

    KLU prefers pivots on the diagonal, down to a thousandth of the largest entry: a
    solution is refined, and its residual checked. It computes in double precision.
    """

    positions: Positions
    least_nanoseconds: ClassVar[float] = _CALLS

    @classmethod
    def of(cls, positions: Positions) -> NativeKLU:
        return cls(with_diagonal(positions))

    def nanoseconds(self) -> float:
        """An estimate of the time of a factorisation, and of twenty solves with it;
        infinite if not on CPU."""
        count = multiplications(self.positions)
        return _CALLS + _ENTRY * len(self.positions) + _MULTIPLICATION * count

    def factor(self, matrix: Matrix) -> _Factors:
        return self._factored(matrix.at(self.positions.rows, self.positions.columns))

    def identity(self, dtype: Any) -> _Factors:
        ones = self.positions.rows == self.positions.columns
        return self._factored(jnp.asarray(ones, dtype))

    def _factored(self, entries: Num[Array, " nse"]) -> _Factors:
        factor = _kernels(self.positions).factor
        handle, is_regular = factor(lax.stop_gradient(entries)[None])
        return entries, handle[0], is_regular[0]

    def solve(
        self, factors: _Factors, vector: Num[Array, " n"], *, transposed: bool
    ) -> Num[Array, " n"]:
        columns = vector[:, None]
        return self._columns(factors, columns, transposed=transposed)[:, 0]

    def solve_columns(
        self, factors: _Factors, columns: Num[Array, "n k"]
    ) -> Num[Array, "n k"]:
        return self._columns(factors, columns, transposed=False)

    def _columns(
        self, factors: _Factors, columns: Num[Array, "n k"], *, transposed: bool
    ) -> Num[Array, "n k"]:
        matrix = Matrix.of_entries(factors[0], self.positions)
        matrix = matrix.T if transposed else matrix
        product = jax.vmap(matrix.__matmul__, 1, 1)
        kernels = _kernels(self.positions)
        entries, handle, is_regular = lax.stop_gradient(factors)

        def solve(columns, *, transposed):
            kernel = kernels.solve_transposed if transposed else kernels.solve
            solution = kernel(entries[None], handle[None], columns[None])[0]
            return jnp.where(is_regular, solution, jnp.nan)

        # It knows the derivatives and the transpose of a system.
        return lax.custom_linear_solve(
            product,
            columns,
            lambda _, b: solve(b, transposed=transposed),
            lambda _, b: solve(b, transposed=not transposed),
        )


#
# The bindings
#


class _Kernels:
    """The calls for matrices with entries at some positions, of many systems each. They
    compute in 64 bits, whatever JAX is set to outside."""

    def __init__(self, positions: Positions):
        self._positions = positions
        self._symbol = _analysis(positions)
        self.factor = _of_many(self._factor)
        self.solve = _of_many(ft.partial(self._solve, "solve_with_numeric"))
        self.solve_transposed = _of_many(ft.partial(self._solve, "tsolve_with_numeric"))

    def _factor(
        self, entries: Num[Array, "m nse"]
    ) -> tuple[UInt32[Array, "m 2"], Bool[Array, " m"]]:
        klujax = _bindings()
        with jax.enable_x64(True):
            entries = entries.astype(jnp.float64)
            # Of a handle that is in no cache the matrix is factored first. The second
            # factorisation, with the same pivots, is what returns a status.
            missing = self._token(jnp.zeros(len(entries), jnp.uint64), entries)
            rows, columns = self._indices()
            token, status, _ = klujax.refactor_with_status(
                rows, columns, entries, missing, self._symbol
            )
            handle = lax.bitcast_convert_type(token.handle, jnp.uint32)
            return handle, status == int(klujax.KLUStatus.OK)

    def _solve(
        self,
        name: str,
        entries: Num[Array, "m nse"],
        handle: UInt32[Array, "m 2"],
        columns: Num[Array, "m n k"],
    ) -> Num[Array, "m n k"]:
        function = getattr(_bindings(), f"{name}_with_status")
        with jax.enable_x64(True):
            number = lax.bitcast_convert_type(handle, jnp.uint64)
            token = self._token(number, entries.astype(jnp.float64))
            rhs = columns.astype(jnp.float64)
            solution, _ = function(token, rhs, self._symbol)
            return solution.astype(columns.dtype)

    def _indices(self) -> tuple[Array, Array]:
        rows, columns = self._positions.rows, self._positions.columns
        return jnp.asarray(rows, jnp.int32), jnp.asarray(columns, jnp.int32)

    def _token(self, handle: Array, entries: Array) -> Any:
        size, unsolved = self._positions.num_rows, jnp.zeros((), jnp.int32)
        indices = self._indices()
        return _bindings().NumericToken(handle, *indices, entries, size, unsolved)


_kernels = ft.lru_cache(maxsize=64)(_Kernels)


@ft.cache
def _bindings() -> Any:
    # The module makes an array, which must not belong to a function that is traced.
    with jax.ensure_compile_time_eval():
        import klujax  # pyright: ignore[reportMissingImports]

    if not hasattr(klujax, "refactor_with_status"):
        raise ImportError(
            "`klujax` was installed over splineax-klujax, which has the same module: "
            "`pip uninstall klujax splineax-klujax`, and then "
            '`pip install "eqx_cc[sparse]"`.'
        )
    return klujax


def _analysis(positions: Positions) -> Any:
    """The symbolic analysis of a pattern, which happens when tracing."""
    rows, columns = positions.rows, positions.columns
    klujax = _bindings()
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        token = klujax.analyze(rows, columns, positions.num_columns)
        return jtu.tree_map(np.asarray, token)


def _of_many(fun: Callable) -> Callable:
    """A function of arrays that all have a first axis of systems. `jax.vmap` puts the
    systems of a batch there as well."""
    call = custom_vmap(fun)

    @call.def_vmap
    def _(size, is_batched, *args):
        args = [
            x if has_axis else jnp.broadcast_to(x, (size, *x.shape))
            for x, has_axis in zip(args, is_batched)
        ]
        count = args[0].shape[1]
        outs = call(*[x.reshape(size * count, *x.shape[2:]) for x in args])
        outs = jtu.tree_map(lambda x: x.reshape(size, count, *x.shape[1:]), outs)
        return outs, jtu.tree_map(lambda _: True, outs)

    return call
