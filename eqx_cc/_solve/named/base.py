"""The base of solvers for a named structure, and their errors."""

from __future__ import annotations

import abc
import dataclasses
import functools as ft
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, PyTree

from ..direct import AbstractDirectSolver, Factored
from ..factorisations.base import AbstractFactorisation
from ..matrix.assemble import Matrix
from ..matrix.positions import banded, Positions
from ..matrix.ravel import Flat, size_of
from ..matrix.structure import Structure
from ..matrix.tags import bands_of, believed, believed_array, tags_of
from ..select import SMALL
from ..system import (
    MatrixRecipe,
    MOST_ENTRIES,
    of_function,
    of_operator,
    Selection,
    stored_matrix,
)


# The solver of a system of which the residual stays large.
AUTO = lx.AutoLinearSolver(well_posed=None)
_INSTEAD = (
    "Use `eqx_cc.EliminationSolver()`, which selects by the structure that it finds, "
    "or `eqx_cc.Woodbury()` if the other entries are of low rank."
)


class AbstractStructuredSolver(AbstractDirectSolver):
    """A direct solver for matrices of one structure."""

    @property
    @abc.abstractmethod
    def low_rank(self) -> bool:
        """True if a term of low rank is kept apart."""

    @abc.abstractmethod
    def plan(self, positions: Positions, rank: int) -> AbstractFactorisation:
        """The factorisation for matrices with entries at these positions, plus a term
        of that rank. Raises a `ValueError` if they do not have the structure."""

    @abc.abstractmethod
    def stated(self, size: int) -> Positions:
        """The positions where a matrix may have entries. Raises a `ValueError` if that
        is not stated."""

    def init(self, operator: lx.AbstractLinearOperator, options: dict) -> Factored:
        """Builds and factors the matrix of `operator`."""
        del options
        flat = Flat.of(operator.in_structure(), operator.out_structure())
        check_real_and_square(self, flat)
        tags = tags_of(operator)
        size = size_of(flat.taken[0])
        if size == 0:
            return Factored(flat, tags=tags)
        stored = stored_matrix(operator)
        if stored is None:
            recipe = of_operator(operator, self._selection(size, tags))
            plan = self._factorisation(recipe)
            matrix = believed(recipe.matrix(), tags)
        else:
            plan, matrix = self._as_stated(stored().astype(flat.dtype), tags)
        return self.factored(plan, matrix, flat, tags)

    def system(
        self, fun: Callable, x: PyTree, tags: frozenset[object] = frozenset()
    ) -> MatrixRecipe:
        """The factorisation for the Jacobian of a function, at `x`, and a function that
        computes it."""
        check_real_and_square(self, Flat.of(x, x))
        size = size_of(x)
        recipe = of_function(fun, x, self._selection(size, tags))
        if size == 0:
            return recipe
        plan = self._factorisation(recipe)
        return MatrixRecipe(plan, lambda: believed(recipe.matrix(), tags))

    def _selection(self, size: int, tags: frozenset[object]) -> Selection:
        """Selects by those entries that the tags leave. A term of low rank is kept
        apart if they leave all of them."""
        bands = bands_of(tags, size)

        def select(positions, rank):
            return self.plan(positions.taken(positions.in_bands(*bands)), rank)

        def is_sparse(size, count):
            return size > 0 and count <= MOST_ENTRIES

        return Selection(is_sparse, select, self.low_rank and min(bands) >= size - 1)

    def _factorisation(self, recipe: MatrixRecipe) -> AbstractFactorisation:
        if recipe.factorisation is None:
            raise unsuited(
                self,
                f"it has more than {MOST_ENTRIES} entries, or its pattern takes too "
                "long to compute",
            )
        return recipe.factorisation

    def _as_stated(
        self, array: Array, tags: frozenset[object]
    ) -> tuple[AbstractFactorisation, Matrix]:
        """By the tags, or else the structure that is stated. A matrix that has other
        entries is not solved: no number comes out of it."""
        size = len(array)
        bands = bands_of(tags, size)
        array = believed_array(array, tags)
        if tags & {lx.diagonal_tag, lx.tridiagonal_tag}:
            positions = banded(size, *bands)
        else:
            stated = self.stated(size)
            positions = stated.taken(stated.in_bands(*bands))
        entries = array[positions.rows, positions.columns]
        has_all = jnp.count_nonzero(array) == jnp.count_nonzero(entries)
        entries = jnp.where(has_all, entries, jnp.nan)
        return self.plan(positions, 0), Matrix.of_entries(entries, positions)


class AbstractSparseSolver(AbstractStructuredSolver):
    """A direct solver for matrices with one structure of zeros."""

    @property
    def low_rank(self) -> bool:
        """False: terms of low rank are added to the entries."""
        return False

    @abc.abstractmethod
    def sparse_plan(self, structure: Structure) -> AbstractFactorisation:
        """The factorisation for a sparse matrix."""

    def plan(self, positions: Positions, rank: int) -> AbstractFactorisation:
        """The factorisation for matrices with entries at these positions."""
        assert rank == 0
        return self.sparse_plan(Structure.of(positions))


def checked_core(solver: Any) -> AbstractSparseSolver:
    """The solver for the core. Raises a `TypeError` if it has no structure of zeros."""
    if not isinstance(solver.core, AbstractSparseSolver):
        raise TypeError(
            f"`core` of `{type(solver).__name__}` must be a solver for a structure of "
            f"zeros, such as `eqx_cc.Banded()`, but got {solver.core}."
        )
    return solver.core


def check_real_and_square(solver: lx.AbstractLinearSolver, flat: Flat) -> None:
    """Raises a `ValueError` unless the matrix is real and square."""
    name = named(solver)
    columns, rows = (size_of(leaves) for leaves, _ in (flat.taken, flat.returned))
    if rows != columns:
        raise ValueError(
            f"`{name}` is for square matrices, but got `operator` with {rows} rows and "
            f"{columns} columns. Use `lx.QR()`."
        )
    if flat.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(
            f"`{name}` is for numbers of type float32 or float64, but got `operator` "
            f"of type {flat.dtype}. Use `lx.LU()`."
        )


def check_count(solver: Any, name: str, least: int) -> None:
    """Raises a `ValueError` unless a field is a number, or left open."""
    value = getattr(solver, name)
    if value is not None and value < least:
        raise ValueError(
            f"`{name}` of `{type(solver).__name__}` must be at least {least}, but got "
            f"{value}."
        )


def check_unreordered(solver: Any) -> None:
    """Raises a `ValueError` if the solver reorders, which needs a pattern."""
    if solver.reorder:
        raise unsuited(
            solver,
            "`reorder=True` needs the pattern, which is not known when tracing a "
            "matrix without tags",
            "Give an operator that is a function, or the matrix in a suitable order.",
        )


def stated_blocks(solver: Any, size: int, reach: int) -> Positions:
    """The blocks of `solver.width` up to `reach` of them from the diagonal. Raises a
    `ValueError` if the width is not stated."""
    if solver.width is None:
        raise unstated(solver, "width")
    check_unreordered(solver)
    return blocked(size, solver.width, reach)


def unstated(solver: Any, *names: str) -> ValueError:
    """The error for a matrix of which the pattern is not known, and not stated."""
    fields = " and ".join(f"`{name}`" for name in names)
    return ValueError(
        f"`{named(solver)}` does not know which entries of `operator` are zero: those "
        f"of a matrix are not known when tracing. State {fields}, or give an operator "
        "that is a function, such as `lx.JacobianLinearOperator`."
    )


def unsuited(solver: Any, reason: str, instead: str = _INSTEAD) -> ValueError:
    """The error for a matrix that does not have the structure."""
    return ValueError(
        f"`{named(solver)}` does not suit `operator`: {reason}. {instead}"
    )


def named(solver: Any) -> str:
    """The solver as it was called, without defaults and `inner`."""
    fields = {f.name: getattr(solver, f.name) for f in dataclasses.fields(solver)}
    arguments = ", ".join(
        f"{name}={named(value) if dataclasses.is_dataclass(value) else value}"
        for name, value in fields.items()
        if name != "inner" and value is not None and value is not False
    )
    return f"{type(solver).__name__}({arguments})"


def is_wide(width: int, size: int) -> bool:
    """True if bands, or blocks, of that width are of no use."""
    return size > SMALL and 2 * width >= size


def block_width(
    solver: Any, structure: Structure, least: Callable[[], int], reach: int
) -> int | None:
    """The width that is stated, or else the least one; None if the matrix has entries
    outside of such blocks, or these are of no use."""
    width = solver.width
    if width is None:
        width = least()
        return None if is_wide(width, structure.size) else width
    return width if structure.fits_blocks(width, reach) else None


def narrow_order(solver: Any, structure: Structure) -> tuple[np.ndarray, str]:
    """The order of rows and columns, and words for it in an error message."""
    if solver.reorder:
        return structure.narrow_order(), " in the order of reverse Cuthill and McKee"
    return np.arange(structure.size), ""


@ft.lru_cache(maxsize=64)
def blocked(size: int, width: int, reach: int) -> Positions:
    """The positions in blocks of `width`, up to `reach` blocks from the diagonal."""
    width = max(1, min(width, size))
    reached = (reach + 1) * width - 1
    bands = banded(size, reached, reached)
    distance = np.abs(bands.rows // width - bands.columns // width)
    return bands.taken(np.flatnonzero(distance <= reach))
