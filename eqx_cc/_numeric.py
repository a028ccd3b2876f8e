"""The array operations that symbolic recipes stand for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax import lax

from ._affine import Affine
from ._arrays import as_numbers, common, Masked, scaled, Values
from ._combine import Embedding, Group, Sum
from ._multiply import multiplied
from ._pattern import Composition, Update
from ._term import Kind, Scalar


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
    return tuple(_group(group, values, dtype) for group in recipe.groups)


# Sums


def _group(group: Group, values: Values, dtype: np.dtype) -> Any:
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
        return _added(group, values, dtype)
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


def _added(group: Group, values: Values, dtype: np.dtype) -> Any:
    """The numbers of a sum."""
    total, scattered = None, []
    for index, scale, embedding in group.members:
        value = _valued(values[index], dtype)
        if embedding is not None and not _is_window(embedding):
            scattered.append((embedding, scaled(value, scale)))
            continue
        if embedding is not None:
            if scale != -1:  # subtracting is free; anything else is cheaper unspread
                value, scale = scaled(value, scale), 1
            value = _window(embedding, value)
        total = _accumulated(total, value, scale)
    if total is None and not scattered:
        return lax.full(group.target.value_shape, 0, dtype)
    if scattered:
        return _scatter(group.target.value_shape, total, scattered)
    return total


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


def _is_window(embedding: Embedding) -> bool:
    """Whether no index of the source runs along two axes of the target, and those that
    share one run along it as a flattened array does."""
    indices = [i for form in embedding.forms for i in form.indices]
    if len(set(indices)) < len(indices):
        return False
    return all(
        len(form.strides) <= 1 or _flattens(form, embedding.sizes)
        for form in embedding.forms
    )


def _row_major(form: Affine) -> list[tuple[int, int]]:
    return sorted(form.strides, key=lambda pair: -pair[1])


def _flattens(form: Affine, sizes: tuple[int, ...]) -> bool:
    expected = 1
    for index, stride in reversed(_row_major(form)):
        if stride != expected:
            return False
        expected *= sizes[index]
    return True


def _axes(embedding: Embedding, value) -> jax.Array:
    """A value with one axis for each of the target, of the source's sizes or 1."""
    order = [i for form in embedding.forms for i, _ in _row_major(form)]
    sizes = [embedding.sizes[i] for i in order]
    own = embedding.value or () if value.ndim else ()
    where = [order.index(i) for i in own]
    by_axis = sorted(range(len(where)), key=where.__getitem__)
    if by_axis != list(range(len(where))):
        value, where = lax.transpose(value, by_axis), sorted(where)
    value = lax.broadcast_in_dim(value, sizes, where)
    shape = [
        math.prod(embedding.sizes[i] for i in form.indices) for form in embedding.forms
    ]
    return lax.reshape(value, shape) if shape != sizes else value


def _window(embedding: Embedding, value) -> jax.Array:
    value = _axes(embedding, value)
    padding, flipped = [], []
    for axis, (form, size) in enumerate(zip(embedding.forms, embedding.shape)):
        low, high = form.range(embedding.sizes.__getitem__)
        stride = form.strides[0][1] if len(form.strides) == 1 else 1
        padding.append((low, size - 1 - high, abs(stride) - 1))
        if stride < 0:
            flipped.append(axis)
    if flipped:
        value = lax.rev(value, flipped)
    if any(p != (0, 0, 0) for p in padding):
        value = lax.pad(value, np.zeros((), value.dtype), padding)
    return value


def _scatter(shape: tuple[int, ...], total, scattered) -> jax.Array:
    """Adds values at static positions, all in one scatter."""
    flat = [_flat_entries(shape, embedding, value) for embedding, value in scattered]
    values = [value for _, value in flat]
    while any(value.dtype != values[0].dtype for value in values):
        values = [common(value, values[0])[0] for value in values]
    values = lax.concatenate(values, 0) if len(values) > 1 else values[0]
    where = np.concatenate([positions for positions, _ in flat])
    unique = _are_distinct(where, math.prod(shape))
    if total is None:
        total = lax.full((math.prod(shape),), 0, values.dtype)
    else:
        total, values = common(lax.reshape(total, (math.prod(shape),)), values)
    at = total.at[where]
    total = at.add(values, unique_indices=unique, mode="promise_in_bounds")
    return lax.reshape(total, shape)


def _are_distinct(positions: np.ndarray, size: int) -> bool:
    """By marking them: sorting takes far longer where there are millions."""
    if len(positions) > size:
        return False
    marked = np.zeros(size, bool)
    marked[positions] = True
    return int(np.count_nonzero(marked)) == len(positions)


def _flat_entries(shape, embedding: Embedding, value):
    """Flat positions in the target's value, and the value at each of them."""
    used = sorted({i for form in embedding.forms for i in form.indices})
    sizes = tuple(embedding.sizes[i] for i in used)
    grid = dict(zip(used, np.indices(sizes, sparse=True)))
    flat = np.zeros(sizes, np.int64)
    for form, size in zip(embedding.forms, shape):
        flat = flat * size + form.offset + sum(s * grid[i] for i, s in form.strides)
    own = (embedding.value or ()) if value.ndim else ()
    value = lax.broadcast_in_dim(value, sizes, tuple(used.index(i) for i in own))
    index_type = np.int32 if math.prod(shape) < 2**31 else np.int64
    flat = flat.reshape(-1).astype(index_type)
    return flat, lax.reshape(value, (flat.size,))
