"""What solvers by a named structure have in common."""

from __future__ import annotations

import abc
import dataclasses
import functools as ft
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import PyTree

from ..direct import AbstractDirectSolver, Factored
from ..factorisations.base import AbstractPlan
from ..matrix.assemble import Matrix
from ..matrix.positions import banded, Positions
from ..matrix.ravel import Flat, size_of
from ..matrix.structure import Structure
from ..matrix.tags import bands_of, believed, believed_array, tags_of
from ..select import SMALL
from ..system import Choice, given_matrix, of_function, of_operator, System


# What solves a system of which the residual stays large.
AUTO = lx.AutoLinearSolver(well_posed=None)
# More entries than this are not looked at one by one.
_MOST = 5_000_000
_INSTEAD = (
    "Use `eqx_cc.EliminationSolver()`, which selects by the structure that it finds, "
    "or `eqx_cc.Woodbury()` if what is too much is of low rank."
)


class AbstractStructuredSolver(AbstractDirectSolver):
    """A direct solver for one structure, which the matrix is known to have."""

    @property
    @abc.abstractmethod
    def low_rank(self) -> bool:
        """Whether what is of low rank is kept apart."""

    @abc.abstractmethod
    def plan(self, positions: Positions, rank: int) -> AbstractPlan:
        """How matrices with these entries are factored, and others of low rank
        besides. Raises a `ValueError` if they do not have the structure."""

    @abc.abstractmethod
    def stated(self, size: int) -> Positions:
        """Which entries a matrix may have. Raises a `ValueError` if that is not
        stated."""

    def init(self, operator: lx.AbstractLinearOperator, options: dict) -> Factored:
        """Builds and factors the matrix of `operator`."""
        del options
        flat = Flat.of(operator.in_structure(), operator.out_structure())
        check_real_and_square(self, flat)
        tags = tags_of(operator)
        size = size_of(flat.taken[0])
        if size == 0:
            return Factored(None, None, None, flat, False, tags)
        given = given_matrix(operator)
        if given is None:
            system = of_operator(operator, self._choice(size, tags))
            plan, matrix = self._found(system), believed(system.matrix(), tags)
        else:
            plan, matrix = self._given(tags, given().astype(flat.dtype))
        return self.factored(plan, matrix, flat, tags)

    def system(
        self, fun: Callable, x: PyTree, tags: frozenset[object] = frozenset()
    ) -> System:
        """How the Jacobian of a function, at `x`, is computed and factored."""
        check_real_and_square(self, Flat.of(x, x))
        size = size_of(x)
        system = of_function(fun, x, self._choice(size, tags))
        if size == 0:
            return system
        plan = self._found(system)
        return System(plan, lambda: believed(system.matrix(), tags))

    def _choice(self, size: int, tags: frozenset[object]) -> Choice:
        """By those entries that the tags leave. What is of low rank is kept apart if
        they leave all of them."""
        bands = bands_of(tags, size)

        def plan(positions, rank):
            return self.plan(positions.taken(positions.in_bands(*bands)), rank)

        def enough(size, count):
            return size > 0 and count <= _MOST

        return Choice(enough, plan, self.low_rank and min(bands) >= size - 1)

    def _found(self, system: System) -> AbstractPlan:
        if system.plan is None:
            raise unsuited(
                self, f"it has more than {_MOST} entries, or takes long to look at"
            )
        return system.plan

    def _given(self, tags, array: Any) -> tuple[AbstractPlan, Matrix]:
        """By what the tags say, or else what is stated. A matrix that has other entries
        is not solved: no number comes out of it."""
        size = len(array)
        bands = bands_of(tags, size)
        array = believed_array(array, tags)
        if tags & {lx.diagonal_tag, lx.tridiagonal_tag}:
            positions = banded(size, *bands)
        else:
            stated = self.stated(size)
            positions = stated.taken(stated.in_bands(*bands))
        matrix = Matrix.of_array(array, positions)
        has_all = jnp.count_nonzero(array) == jnp.count_nonzero(matrix.entries)
        entries = jnp.where(has_all, matrix.entries, jnp.nan)
        matrix = eqx.tree_at(lambda own: own.entries, matrix, entries)
        return self.plan(positions, 0), matrix


class AbstractSparseSolver(AbstractStructuredSolver):
    """A structure of zeros."""

    @property
    def low_rank(self) -> bool:
        """No: all entries are looked at."""
        return False

    @abc.abstractmethod
    def sparse_plan(self, structure: Structure) -> AbstractPlan:
        """How a sparse matrix is factored."""

    def plan(self, positions: Positions, rank: int) -> AbstractPlan:
        """How matrices with these entries are factored."""
        assert rank == 0
        return self.sparse_plan(Structure.of(positions))


def checked_core(solver: Any) -> AbstractSparseSolver:
    """The solver for a part of a matrix. Raises a `TypeError` if it is for any."""
    if not isinstance(solver.core, AbstractSparseSolver):
        raise TypeError(
            f"`core` of `{type(solver).__name__}` must be a solver for a structure of "
            f"zeros, such as `eqx_cc.Banded()`, but got {solver.core}."
        )
    return solver.core


def check_real_and_square(solver: lx.AbstractLinearSolver, flat: Flat) -> None:
    """Raises a `ValueError` for what direct solvers of ours do not factor."""
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


def check_order(solver: Any) -> None:
    """Raises a `ValueError` where a reordering is asked for, but there is no telling
    which."""
    if solver.reorder:
        raise unsuited(
            solver,
            "`reorder=True` needs the pattern, and that of a matrix without tags is "
            "not known when tracing",
            "Give an operator that is a function, or the matrix in a suitable order.",
        )


def unstated(solver: Any, *names: str) -> ValueError:
    """For matrices of which the pattern is not known, and not stated."""
    said = " and ".join(f"`{name}`" for name in names)
    return ValueError(
        f"`{named(solver)}` does not know which entries of `operator` are zero: those "
        f"of a matrix are not known when tracing. State {said}, or give an operator "
        "that is a function, such as `lx.JacobianLinearOperator`."
    )


def unsuited(solver: Any, found: str, instead: str = _INSTEAD) -> ValueError:
    """For what does not have the structure."""
    return ValueError(f"`{named(solver)}` does not suit `operator`: {found}. {instead}")


def named(solver: Any) -> str:
    """A solver with what it was given."""
    own = {f.name: getattr(solver, f.name) for f in dataclasses.fields(solver)}
    own.pop("inner", None)
    given = {k: v for k, v in own.items() if v is not None and v is not False}
    said = ", ".join(
        f"{k}={named(v) if dataclasses.is_dataclass(v) else v}"
        for k, v in given.items()
    )
    return f"{type(solver).__name__}({said})"


def is_wide(width: int, size: int) -> bool:
    """Whether bands, or blocks, of that width are of no use."""
    return size > SMALL and 2 * width >= size


@ft.lru_cache(maxsize=64)
def blocked(size: int, width: int, reach: int) -> Positions:
    """The positions in blocks of that width that are so many from the diagonal."""
    width = max(1, min(width, size))
    most = (reach + 1) * width - 1
    bands = banded(size, most, most)
    rows, columns = bands.rows, bands.columns
    kept = np.abs(rows // width - columns // width) <= reach
    return Positions(rows[kept], columns[kept], size, size)
