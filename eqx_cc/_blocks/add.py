"""The array operations that symbolic recipes stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._sparsity.pattern import Composition, Update
from .._sparsity.recipe import Group, Sum, Tiling
from .._sparsity.term import Kind, Scalar, Term
from .arrays import as_numbers, common, Masked, scaled, Values
from .multiply import multiplied
from .scatter import is_sparse, is_window, scattered, side_by_side, tile, window


def run_update(
    recipe: Update, old: Values, left: Values, right: Values, dtype: np.dtype
) -> Values:
    """The values of `old + left @ right`."""
    products = run_composition(recipe.composition, left, right, dtype)
    return run_sum(recipe.sum, (*old, *products), dtype)


def run_composition(
    recipe: Composition, left: Values, right: Values, dtype: np.dtype
) -> Values:
    """The values of the terms of `left @ right`."""
    if recipe.densify_left is not None:
        left = run_sum(recipe.densify_left, left, dtype)
    if recipe.densify_right is not None:
        right = run_sum(recipe.densify_right, right, dtype)
    return tuple(multiplied(p, left[i], right[j], dtype) for i, j, p in recipe.products)


def run_sum(recipe: Sum, values: Values, dtype: np.dtype) -> Values:
    """The values of a sum of terms."""
    own = tuple(values)
    return tuple(_group(g, own, dtype, recipe.assembles) for g in recipe.groups)


# Sums


def _group(group: Group, values: Values, dtype: np.dtype, assembles: bool) -> Any:
    if group.target.value is None:
        return None
    kind = group.target.kind
    if len(group.members) == 1:
        ((first, scale, embedding),) = group.members
        if embedding is None and scale == 1 and kind == "value":
            return as_numbers(values[first], dtype)
        if embedding is None and scale == 1 and _is_of(kind, values[first]):
            return values[first]
    if kind == "value":
        return _added(group, values, dtype, assembles)
    mask = _marks(group, values)
    return Masked(mask, _added(group, values, dtype)) if kind == "masked" else mask


def _is_of(kind: Kind, value: Any) -> bool:
    if kind == "masked" or isinstance(value, Masked):
        return kind == "masked" and isinstance(value, Masked)
    return value.dtype == bool


def _marks(group: Group, values: Values) -> jax.Array:
    """Which entries of a sum have a term."""
    marks = tuple(
        None if value is None else as_numbers(_mask_of(value), np.dtype(np.int32))
        for value in values
    )
    members = tuple((i, 1, embedding) for i, _, embedding in group.members)
    count = _added(replace(group, members=members), marks, np.dtype(np.int32))
    return lax.gt(count, lax.full_like(count, 0))


def _mask_of(value: Any) -> Any:
    if isinstance(value, Masked):
        return value.mask
    return value if value.dtype == bool else lax.full(value.shape, True)


def _added(group: Group, values: Values, dtype: np.dtype, assembles=False) -> Any:
    """The numbers of a sum."""
    if group.tiling is not None and not assembles:
        return _tiled(group, group.tiling, values, dtype)
    total, apart, shape = None, [], group.target.value_shape
    for index, scale, embedding in group.members:
        value = _valued(values[index], dtype)
        if embedding is not None:
            sparse = assembles and is_sparse(embedding)
            if sparse or not is_window(embedding):
                apart.append((embedding, scaled(value, scale)))
                continue
            if scale != -1:  # subtracting is free; anything else is cheaper unspread
                value, scale = scaled(value, scale), 1
            value = window(embedding, value)
        total = _accumulated(total, value, scale)
    if apart:
        return scattered(shape, total, apart)
    return lax.full(shape, 0, dtype) if total is None else total


def _tiled(group: Group, tiling: Tiling, values: Values, dtype: np.dtype) -> Any:
    """The numbers of a sum that is made up of smaller ones."""
    tiles = []
    for numbers in tiling.tiles:
        total = None
        for index, scale, embedding in (group.members[n] for n in numbers):
            assert embedding is not None
            value = _valued(values[index], dtype)
            if scale != -1:
                value, scale = scaled(value, scale), 1
            total = _accumulated(total, tile(embedding, value), scale)
        tiles.append(total)
    return side_by_side(tiles, tiling.axis)


def _accumulated(total, value, scale: Scalar):
    if total is None:
        return scaled(value, scale)
    if scale == -1:
        return lax.sub(*common(total, value))
    return lax.add(*common(total, scaled(value, scale)))


def _valued(value, dtype: np.dtype):
    """A value as numbers: ones where it is known, 0 and 1 where it is a mask."""
    if value is None:
        return np.ones((), dtype)
    return as_numbers(value, dtype)


def written(value: Any, term: Term, dtype: np.dtype) -> jax.Array:
    """The value of a term times its coefficient, as numbers of a type."""
    if value is None:
        value = jnp.ones(term.value_shape, dtype)
    value = scaled(as_numbers(value, dtype), term.scale)
    if not jnp.issubdtype(dtype, jnp.complexfloating) and jnp.iscomplexobj(value):
        value = lax.real(value)
    return lax.convert_element_type(value, dtype)
