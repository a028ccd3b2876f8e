"""Sums and products of blocks: the array operations that recipes stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._sparsity.pattern import Composition, Update
from .._sparsity.recipes import Embedding, Group, Sum, Tiling
from .._sparsity.term import Kind, Scalar, Term
from .arrays import as_numbers, common, Masked, scaled, Values
from .multiply import multiplied
from .scatter import (
    is_selectable,
    is_sparse,
    is_window,
    scattered,
    selected,
    side_by_side,
    tile,
    window,
)


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
    adder = _add_assembling if recipe.assembles else _add
    return tuple(_group(g, values, dtype, adder) for g in recipe.groups)


def _group(group: Group, values: Values, dtype: np.dtype, adder: Callable) -> Any:
    """The value of the target of a group."""
    kind = group.target.kind
    if group.target.value is None:
        return None
    if len(group.members) == 1:
        ((first, scale, embedding),) = group.members
        if embedding is None and scale == 1:
            if kind == "value":
                return as_numbers(values[first], dtype)
            if _is_of(kind, values[first]):
                return values[first]
    if kind == "value":
        return adder(group, values, dtype)
    mask = _mask(group, values)
    return Masked(mask, _add(group, values, dtype)) if kind == "masked" else mask


def _is_of(kind: Kind, value: Any) -> bool:
    if isinstance(value, Masked):
        return kind == "masked"
    return kind != "masked" and value.dtype == bool


def _mask(group: Group, values: Values) -> jax.Array:
    """True where an entry of a sum has a term: where their masks do not add up to 0."""
    marks = tuple(
        None if value is None else as_numbers(_mask_of(value), np.dtype(np.int32))
        for value in values
    )
    members = tuple((i, 1, embedding) for i, _, embedding in group.members)
    count = _add(replace(group, members=members), marks, np.dtype(np.int32))
    return lax.gt(count, lax.full_like(count, 0))


def _mask_of(value: Any) -> Any:
    if isinstance(value, Masked):
        return value.mask
    return value if value.dtype == bool else lax.full(value.shape, True)


def _add(group: Group, values: Values, dtype: np.dtype) -> Any:
    """The numbers of a sum."""
    if group.tiling is not None:
        return _add_tiles(group, group.tiling, values, dtype)
    return _add_members(group, values, dtype, is_window)


def _add_assembling(group: Group, values: Values, dtype: np.dtype) -> Any:
    """The numbers of a sum, of which sparse members are written entry by entry."""
    is_padded = lambda e: is_window(e) and not is_sparse(e)  # noqa: E731
    return _add_members(group, values, dtype, is_padded)


def _add_members(group: Group, values: Values, dtype: np.dtype, is_padded) -> Any:
    """Adds members that are padded to their target; selects others of a small sum, and
    scatters what is left."""
    total, entries, shape = None, [], group.target.value_shape
    is_sum = any(embedding is None for *_, embedding in group.members)
    for index, scale, embedding in group.members:
        value = _numbers(values[index], dtype)
        if embedding is None:
            total = _plus(total, value, scale)
        elif is_padded(embedding):
            total = _plus_embedded(total, window, embedding, value, scale)
        elif is_sum and is_selectable(embedding):
            total = _plus_embedded(total, selected, embedding, value, scale)
        else:
            entries.append((embedding, scaled(value, scale)))
    if entries:
        return scattered(shape, total, entries)
    return lax.full(shape, 0, dtype) if total is None else total


def _add_tiles(group: Group, tiling: Tiling, values: Values, dtype: np.dtype) -> Any:
    """The numbers of a sum that consists of smaller ones, side by side."""
    tiles = []
    for numbers in tiling.tiles:
        total = None
        for index, scale, embedding in (group.members[n] for n in numbers):
            assert embedding is not None
            value = _numbers(values[index], dtype)
            total = _plus_embedded(total, tile, embedding, value, scale)
        tiles.append(total)
    return side_by_side(tiles, tiling.axis)


def _plus_embedded(total, embed: Callable, embedding: Embedding, value, scale: Scalar):
    """`total + scale * embed(embedding, value)`. Only -1 is left to after embedding:
    subtracting is free, and any other number has fewer entries to scale before."""
    if scale != -1:
        value, scale = scaled(value, scale), 1
    return _plus(total, embed(embedding, value), scale)


def _plus(total, value, scale: Scalar):
    """`total + scale * value`, without a total `scale * value`."""
    if total is None:
        return scaled(value, scale)
    if scale == -1:
        return lax.sub(*common(total, value))
    return lax.add(*common(total, scaled(value, scale)))


def _numbers(value, dtype: np.dtype):
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
