"""Tags of operators, which are believed, as lineax does."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array

from .assemble import Matrix


# The functions of lineax that look for a tag, and the tags.
CHECKS: dict[Any, object] = {
    lx.is_symmetric: lx.symmetric_tag,
    lx.is_diagonal: lx.diagonal_tag,
    lx.is_tridiagonal: lx.tridiagonal_tag,
    lx.has_unit_diagonal: lx.unit_diagonal_tag,
    lx.is_lower_triangular: lx.lower_triangular_tag,
    lx.is_upper_triangular: lx.upper_triangular_tag,
    lx.is_positive_semidefinite: lx.positive_semidefinite_tag,
    lx.is_negative_semidefinite: lx.negative_semidefinite_tag,
}
_TURNED: dict[Any, Any] = {
    lx.lower_triangular_tag: lx.upper_triangular_tag,
    lx.upper_triangular_tag: lx.lower_triangular_tag,
}


def tags_of(operator: lx.AbstractLinearOperator) -> frozenset[object]:
    """The tags that lineax knows of an operator."""
    return frozenset(tag for has, tag in CHECKS.items() if has(operator))


def turned(tags: frozenset[object]) -> frozenset[object]:
    """The tags of the transposed operator."""
    return frozenset(_TURNED.get(tag, tag) for tag in tags)


def bands_of(tags: frozenset[object], size: int) -> tuple[int, int]:
    """The most bands below the diagonal of a square matrix, and above it."""
    lower = upper = max(0, size - 1)
    if lx.tridiagonal_tag in tags:
        lower, upper = min(1, lower), min(1, upper)
    if tags & {lx.diagonal_tag, lx.upper_triangular_tag}:
        lower = 0
    if tags & {lx.diagonal_tag, lx.lower_triangular_tag}:
        upper = 0
    return lower, upper


def tags_by_bands(lower: int, upper: int) -> frozenset[object]:
    """The tags of a square matrix with so many bands below the diagonal, and above."""
    tags = {
        lx.diagonal_tag: lower == upper == 0,
        lx.tridiagonal_tag: max(lower, upper) <= 1,
        lx.upper_triangular_tag: lower == 0,
        lx.lower_triangular_tag: upper == 0,
    }
    return frozenset(tag for tag, is_one in tags.items() if is_one)


def believed_array(array: Array, tags: frozenset[object]) -> Array:
    """A square array as its tags have it: zero elsewhere, one on the diagonal."""
    size = array.shape[0]
    lower, upper = bands_of(tags, size)
    if lower < size - 1:
        array = jnp.triu(array, -lower)
    if upper < size - 1:
        array = jnp.tril(array, upper)
    if _has_ones(tags, lower, upper):
        array = jnp.fill_diagonal(array, 1, inplace=False)
    return array


def believed(matrix: Matrix, tags: frozenset[object]) -> Matrix:
    """A square matrix as its tags have it, unless a part of it is of low rank."""
    lower, upper = bands_of(tags, matrix.size)
    if matrix.rank > 0:
        return matrix
    matrix = matrix.taken(matrix.positions.in_bands(lower, upper))
    if _has_ones(tags, lower, upper):
        ones = matrix.positions.rows == matrix.positions.columns
        entries = jnp.where(ones, 1, matrix.entries)
        matrix = Matrix.of_entries(entries, matrix.positions)
    return matrix


def _has_ones(tags: frozenset[object], lower: int, upper: int) -> bool:
    """True if lineax's solvers take the diagonal for ones: those for triangles do."""
    return lx.unit_diagonal_tag in tags and 0 in (lower, upper)
