"""Embedding values in a larger array: windows are padded, few entries of a small array
are selected, the rest is scattered."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._jaxpr.closed import is_traced
from .._jaxpr.known.captured import constant_array
from .._sparsity.positions.affine import Affine
from .._sparsity.positions.table import ravelled
from .._sparsity.recipes import Embedding
from .arrays import common, is_row_major, transposed


def is_window(embedding: Embedding) -> bool:
    """True if no index of the source runs along two axes of the target, and those that
    share one run along it as a flattened array does.

    A vector is a window of a row of a matrix, but not of its diagonal.
    """
    indices = [i for form in embedding.forms for i in form.indices]
    if len(set(indices)) < len(indices):
        return False
    return all(
        isinstance(form, Affine)
        and (
            len(form.strides) <= 1
            or is_row_major(_descending(form), embedding.sizes.__getitem__)
        )
        for form in embedding.forms
    )


def _descending(form: Any) -> list[tuple[int, int]]:
    """The pairs of index and stride, the largest stride first."""
    return sorted(form.strides, key=lambda pair: -pair[1])


def _axes(embedding: Embedding, value) -> jax.Array:
    """A value with one axis for each of the target, of the source's sizes or 1."""
    order = [i for form in embedding.forms for i, _ in _descending(form)]
    sizes = [embedding.sizes[i] for i in order]
    labels = embedding.value or () if value.ndim else ()
    axes = [order.index(i) for i in labels]
    value = lax.broadcast_in_dim(transposed(value, axes), sizes, sorted(axes))
    shape = [
        math.prod(embedding.sizes[i] for i in form.indices) for form in embedding.forms
    ]
    return lax.reshape(value, shape) if shape != sizes else value


def window(embedding: Embedding, value) -> jax.Array:
    """A value as a window of its target, zero around it."""
    padding = []
    forms: tuple[Any, ...] = embedding.forms  # A window has no tables.
    for form, size in zip(forms, embedding.shape):
        low, high = form.range(embedding.sizes.__getitem__)
        stride = form.strides[0][1] if len(form.strides) == 1 else 1
        padding.append((low, size - 1 - high, abs(stride) - 1))
    value = tile(embedding, value)
    if any(p != (0, 0, 0) for p in padding):
        value = lax.pad(value, np.zeros((), value.dtype), padding)
    return value


def tile(embedding: Embedding, value) -> jax.Array:
    """A value with the axes of its target, without the zeros around it."""
    value = _axes(embedding, value)
    forms: tuple[Any, ...] = embedding.forms
    flipped = [
        axis
        for axis, form in enumerate(forms)
        if len(form.strides) == 1 and form.strides[0][1] < 0
    ]
    return lax.rev(value, flipped) if flipped else value


def side_by_side(tiles, axis: int) -> jax.Array:
    """Arrays beside each other, in the type that all promote to."""
    while any(value.dtype != tiles[0].dtype for value in tiles):
        tiles = [common(value, tiles[0])[0] for value in tiles]
    return lax.concatenate(tiles, axis) if len(tiles) > 1 else tiles[0]


# A window with fewer of a dense block's entries than one in this many is scattered.
SPARSE = 16


def is_sparse(embedding: Embedding) -> bool:
    """True if a term has so few of its target's entries that to write them one by one
    is cheaper than to pass over the whole."""
    used = {i for form in embedding.forms for i in form.indices}
    entries = math.prod(embedding.sizes[i] for i in used)
    return SPARSE * entries <= math.prod(embedding.shape)


# In a sum of at most so many entries, few of them are selected rather than scattered:
# XLA fuses a selection with the rest of the sum. In loops, adding a diagonal of 4 to 32
# rows to a sum of products took 0.2 to 0.9 of the time, one of 128 rows 1.1 and more.
MAX_SELECTED = 1024


def is_selectable(embedding: Embedding) -> bool:
    """True for a term of a small sum whose indices run along whole axes of its target,
    each perhaps beside others: a diagonal, or a column."""
    return (
        math.prod(embedding.shape) <= MAX_SELECTED
        and all(_is_one_step(form) for form in embedding.forms)
        and {i for form in embedding.forms for i in form.indices}
        == set(_whole_axes(embedding))
    )


def _is_one_step(form: Any) -> bool:
    """True for a place, or an index with one place after another."""
    return isinstance(form, Affine) and [s for _, s in form.strides] in ([], [1])


def _whole_axes(embedding: Embedding) -> dict[int, int]:
    """By index, the axis whose every place it reaches, if there is one."""
    return {
        form.indices[0]: axis
        for axis, (form, size) in enumerate(zip(embedding.forms, embedding.shape))
        if form.indices and embedding.sizes[form.indices[0]] == size
    }


def selected(embedding: Embedding, value) -> jax.Array:
    """A value at its places in its target, zero around it; `is_selectable`."""
    axis_of, shape = _whole_axes(embedding), embedding.shape
    axes = [axis_of[i] for i in (embedding.value or ())] if value.ndim else []
    value = lax.broadcast_in_dim(transposed(value, axes), shape, sorted(axes))
    places = [lax.broadcasted_iota(np.int32, shape, axis) for axis in range(len(shape))]
    mask = lax.full(shape, True)
    forms: tuple[Any, ...] = embedding.forms  # One step each, so that none is a table.
    for axis, form in enumerate(forms):
        if [axis_of[i] for i in form.indices] == [axis]:
            continue
        place = lax.full(shape, np.int32(form.offset))
        for i in form.indices:
            place = lax.add(place, places[axis_of[i]])
        mask = lax.bitwise_and(mask, lax.eq(places[axis], place))
    return lax.select(mask, value, lax.full_like(value, 0))


def scattered(shape: tuple[int, ...], total, entries) -> jax.Array:
    """Adds values at static positions to `total` (None: to zeros), all in one scatter.

    `entries` are pairs of an embedding and a value.
    """
    flat = [_flat_entries(shape, embedding, value) for embedding, value in entries]
    if total is None:
        total, flat = _constant_part(shape, flat)
        if total is not None and not flat:
            return total
    values = side_by_side([value for _, value in flat], 0)
    flat_positions = np.concatenate([positions for positions, _ in flat])
    is_unique = _are_distinct(flat_positions, math.prod(shape))
    if total is None:
        total = lax.full((math.prod(shape),), 0, values.dtype)
        total = _add_at(total, (flat_positions,), values, is_unique=is_unique)
        return lax.reshape(total, shape)
    # Not flattened: XLA would compute what is broadcast once for every entry.
    total, values = common(total, values)
    positions = np.unravel_index(flat_positions, shape) if shape else ()
    return _add_at(total, positions, values, is_unique=is_unique)


def _constant_part(shape: tuple[int, ...], flat):
    """The sum of those entries that are constants, computed while tracing, and the
    other entries; None for the sum if it is not worth an array."""
    if not any(is_traced(value) for _, value in flat):
        return None, flat
    known = [(places, constant_array(value)) for places, value in flat]
    constants = [(places, array) for places, array in known if array is not None]
    size = math.prod(shape)
    if sum(len(places) for places, _ in constants) < max(size / 4, 1):
        return None, flat
    total = np.zeros(size, np.result_type(*(array.dtype for _, array in constants)))
    for places, array in constants:
        np.add.at(total, places, array)
    rest = [entry for entry, (_, array) in zip(flat, known) if array is None]
    return jnp.asarray(total.reshape(shape)), rest


def _add_at(total, positions, values, *, is_unique: bool) -> jax.Array:
    """Adds values at positions, an array of them for each axis."""
    axes = tuple(range(total.ndim))
    dtype = np.int32 if max(total.shape, default=0) < 2**31 else np.int64
    indices = np.zeros((len(values), 0), np.int32)
    if positions:
        indices = np.stack([position.astype(dtype) for position in positions], -1)
    return lax.scatter_add(
        total,
        indices,
        values,
        lax.ScatterDimensionNumbers((), axes, axes),
        unique_indices=is_unique,
        mode=lax.GatherScatterMode.PROMISE_IN_BOUNDS,
    )


def _are_distinct(positions: np.ndarray, size: int) -> bool:
    """True if no position occurs twice.

    They are marked in an array: sorting takes far longer where there are millions.
    """
    if len(positions) > size:
        return False
    marked = np.zeros(size, bool)
    marked[positions] = True
    return int(np.count_nonzero(marked)) == len(positions)


def _flat_entries(shape, embedding: Embedding, value):
    """Flat positions in the target's value, and the value at each of them."""
    used = sorted({i for form in embedding.forms for i in form.indices})
    sizes = {i: embedding.sizes[i] for i in used}
    flat = ravelled(embedding.forms, shape, sizes)
    labels = (embedding.value or ()) if value.ndim else ()
    axes = tuple(used.index(i) for i in labels)
    value = lax.broadcast_in_dim(value, tuple(sizes.values()), axes)
    return flat, lax.reshape(value, (flat.size,))
