"""Rules for gather and scatter: one is the transpose of the other.

Where the indices are known while tracing the block is a sum of windows; where they are
not it is a mask along the indexed axes, and tied along the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import primitives as p

from .._sparsity.affine import Affine, single
from .registry import axes, BlockBuilder, indexed, register_rule


MAX_WINDOWS = 8
MAX_STATIC = 1 << 16


class Selection(NamedTuple):
    """What a gather reads: `out[k] = array[position(k, indices)]`, or nothing."""

    shape: tuple[int, ...]
    result: tuple[int, ...]
    numbers: lax.GatherDimensionNumbers
    slice_sizes: tuple[int, ...]
    mode: lax.GatherScatterMode

    def read(self, array, indices):
        return lax.gather(
            array,
            indices,
            self.numbers,
            self.slice_sizes,
            mode=self.mode,
            fill_value=False,
        )

    def positions(self, indices: np.ndarray) -> np.ndarray:
        """The flat position of what is read for each element of the result, -1 where
        nothing is. In NumPy: to ask JAX would compile a program for every shape."""
        numbers = self.numbers
        indices = indices.astype(np.int64)
        points = math.prod(indices.shape[:-1])
        starts = indices.reshape(points, indices.shape[-1])
        where = list(map(int, numbers.start_index_map))
        room = [self.shape[axis] - self.slice_sizes[axis] for axis in where]
        inside = (starts == np.clip(starts, 0, room)).all(axis=1)
        first = np.zeros((points, len(self.shape)), np.int64)
        first[:, where] = np.clip(starts, 0, room)
        batch = np.indices(indices.shape[:-1]).reshape(indices.ndim - 1, points)
        for axis in numbers.operand_batching_dims:
            first[:, axis] = batch[_batch_position(numbers, axis)]
        axes_ = range(len(self.shape))
        weights = np.array([math.prod(self.shape[a + 1 :]) for a in axes_], np.int64)
        offsets = np.indices(self.slice_sizes)
        offsets = offsets.reshape(len(axes_), math.prod(self.slice_sizes))
        flat = (first @ weights)[:, None] + weights @ offsets
        if self.mode == lax.GatherScatterMode.FILL_OR_DROP:
            flat = np.where(np.expand_dims(inside, 1), flat, -1)
        dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
        window = [n for a, n in enumerate(self.slice_sizes) if a not in dropped]
        flat = flat.reshape((*indices.shape[:-1], *window))
        to = sorted(map(int, numbers.offset_dims))
        return np.moveaxis(flat, range(flat.ndim - len(to), flat.ndim), to)


@register_rule(p.gather_p)
def _gather(operands, results, params):
    """out[k] = in[position(k)]"""
    if operands[1].linear:
        return None
    selection = Selection(
        operands[0].shape,
        tuple(results[0].shape),
        params["dimension_numbers"],
        params["slice_sizes"],
        lax.GatherScatterMode.from_any(params["mode"]),
    )
    shape = BlockBuilder(operands, 0, results[0])
    for term in _terms(selection, operands[1].indices):
        shape.term(**term)
    return [shape.block()]


def _scatter_blocks(operands, results, params, adds: bool):
    numbers = params["dimension_numbers"]
    window = iter(operands[2].shape[axis] for axis in numbers.update_window_dims)
    single_ = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    sizes = [1 if a in single_ else next(window) for a in range(len(operands[0].shape))]
    selection = Selection(
        operands[0].shape,
        operands[2].shape,
        lax.GatherDimensionNumbers(
            offset_dims=numbers.update_window_dims,
            collapsed_slice_dims=numbers.inserted_window_dims,
            start_index_map=numbers.scatter_dims_to_operand_dims,
            operand_batching_dims=numbers.operand_batching_dims,
            start_indices_batching_dims=numbers.scatter_indices_batching_dims,
        ),
        tuple(sizes),
        lax.GatherScatterMode.from_any(params["mode"]),
    )
    blocks = []
    if operands[0].linear:
        kept = None if adds else _unwritten(params)
        blocks.append(_kept(operands, results[0], kept))
    if operands[2].linear:
        shape = BlockBuilder(operands, 2, results[0])
        for term in _terms(selection, operands[1].indices, operand=1):
            term["out"], term["inp"] = term["inp"], term["out"]
            if "selection" in term and not params["unique_indices"]:
                term["mask"] = term.pop("selection")
            shape.term(**term)
        blocks.append(shape.block())
    return blocks


@register_rule(p.scatter_add_p)
def _scatter_add(operands, results, params):
    """out = in, with out[position(k)] += update[k]"""
    if operands[1].linear:
        return None
    return _scatter_blocks(operands, results, params, adds=True)


@register_rule(p.scatter_p)
def _scatter_set(operands, results, params):
    """out = in, except out[position(k)] = update[k]; each position once"""
    if operands[1].linear or not params["unique_indices"]:
        return None
    return _scatter_blocks(operands, results, params, adds=False)


def _unwritten(params):
    def mask(operands, arrays):
        base = jnp.zeros(operands[0].shape, jnp.int32)
        ones = jnp.ones(operands[2].shape, jnp.int32)
        return lax.eq(p.scatter_p.bind(base, arrays[1], ones, **params), base)

    return mask


def _kept(operands, result, mask):
    """The identity, or the part of it that is not overwritten."""
    out, sizes = axes(result.shape), indexed(result.shape)
    shape = BlockBuilder(operands, 0, result)
    if mask is None:
        return shape.term(out, out, sizes).block()
    indices = list(range(len(out)))
    read = lambda arrays: mask(operands, arrays)  # noqa: E731
    return shape.term(out, out, sizes, value=indices, read=read, mask=True).block()


def _terms(selection: Selection, indices, operand: int = 1) -> list[dict]:
    if 0 in selection.result + selection.shape:
        return []
    if indices is not None and math.prod(selection.result) <= MAX_STATIC:
        windows = list(_windows(selection, indices))
        if len(windows) <= MAX_WINDOWS:
            return windows
    return [_masked(selection, operand)]


def _windows(selection: Selection, indices: np.ndarray) -> Iterator[dict]:
    """The affine pieces of a selection whose indices are known."""
    source = selection.positions(indices)
    boxes = [tuple((0, n) for n in selection.result)]
    count = 0
    while boxes and count <= MAX_WINDOWS:
        box = boxes.pop()
        part = np.asarray(source[tuple(slice(low, high) for low, high in box)])
        forms = _affine(part, selection.shape)
        if forms is None:
            boxes += _halves(box, part, selection.shape)
            count += len(boxes) > MAX_WINDOWS
        elif part.flat[0] >= 0:
            count += 1
            yield _window_term(box, forms)
    if boxes:
        yield from ({} for _ in range(MAX_WINDOWS + 1))


def _window_term(box, forms) -> dict:
    out = [Affine(low, ((axis, 1),)) for axis, (low, _) in enumerate(box)]
    sizes = {axis: high - low for axis, (low, high) in enumerate(box)}
    return dict(out=out, inp=forms, sizes=sizes)


def _affine(source: np.ndarray, shape) -> list[Affine] | None:
    """Positions in an array of `shape` as affine forms of the indices of `source`."""
    if (source < 0).all():
        return []
    if (source < 0).any():
        return None
    forms = []
    grid = np.indices(source.shape, sparse=True)
    for coordinate in np.unravel_index(source, shape) if shape else ():
        offset = int(coordinate.flat[0])
        strides = [
            int(np.take(coordinate, 1, axis).flat[0]) - offset if n > 1 else 0
            for axis, n in enumerate(source.shape)
        ]
        expected = offset + sum(s * g for s, g in zip(strides, grid))
        if not np.array_equal(np.broadcast_to(expected, source.shape), coordinate):
            return None
        pairs = [(axis, s) for axis, s in enumerate(strides) if s]
        forms.append(Affine(offset, tuple(pairs)))
    return forms


def _halves(box, source: np.ndarray, shape) -> list:
    """Cuts a box where its positions stop advancing evenly."""
    for axis, (low, high) in enumerate(box):
        if high - low < 2:
            continue
        steps = np.diff(np.moveaxis(source, axis, 0).reshape(high - low, -1), axis=0)
        breaks = np.flatnonzero((steps[1:] != steps[:-1]).any(axis=1)) + 1
        cut = int(breaks[0]) if len(breaks) else None
        if cut is None and np.ptp(steps):
            cut = 1
        if cut is not None:
            first, second = list(box), list(box)
            first[axis], second[axis] = (low, low + cut), (low + cut, high)
            return [tuple(second), tuple(first)]
    axis = max(range(len(box)), key=lambda a: box[a][1] - box[a][0])
    low, high = box[axis]
    first, second = list(box), list(box)
    first[axis], second[axis] = (low, low + 1), (low + 1, high)
    return [tuple(second), tuple(first)]


def _masked(selection: Selection, operand: int) -> dict:
    """A mask along the indexed axes; the others are tied."""
    numbers = selection.numbers
    collapsed = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [a for a in range(len(selection.shape)) if a not in collapsed]
    window_of = dict(zip(kept, sorted(map(int, numbers.offset_dims))))
    batch = [a for a in range(len(selection.result)) if a not in numbers.offset_dims]
    out, sizes = axes(selection.result), indexed(selection.result)
    inp, indexed_axes, whole = [], [], []
    for axis, size in enumerate(selection.shape):
        if axis in numbers.operand_batching_dims:
            inp.append(single(batch[_batch_position(numbers, axis)]))
        elif axis in window_of and selection.slice_sizes[axis] == size:
            inp.append(single(window_of[axis]))
            whole.append(axis)
        else:
            new = len(out) + axis
            inp.append(single(new))
            sizes[new] = size
            indexed_axes.append(axis)
    tied = {window_of[axis] for axis in whole}
    value = [len(out) + a for a in indexed_axes]
    value += [a for a in range(len(out)) if a not in tied]

    def mask(arrays):
        return _basis_read(selection, arrays[operand], indexed_axes, whole, tied)

    return dict(out=out, inp=inp, sizes=sizes, value=value, read=mask, selection=True)


def _batch_position(numbers: lax.GatherDimensionNumbers, axis: int) -> int:
    """Which batch axis of the result goes with a batching axis of the operand."""
    which = numbers.operand_batching_dims.index(axis)
    return int(numbers.start_indices_batching_dims[which])


def _basis_read(selection: Selection, indices, indexed_axes, whole, tied):
    """What the selection reads from each element of a basis of the indexed axes."""
    sizes = tuple(selection.shape[a] for a in indexed_axes)
    shape = tuple(1 if a in whole else n for a, n in enumerate(selection.shape))
    slices = tuple(1 if a in whole else n for a, n in enumerate(selection.slice_sizes))
    small = selection._replace(shape=shape, slice_sizes=slices)
    count = math.prod(sizes)
    basis = np.eye(count, dtype=bool).reshape(count, *sizes)
    where = tuple(1 + a for a in indexed_axes)
    basis = lax.broadcast_in_dim(jnp.asarray(basis), (count, *shape), (0, *where))
    rows = jax.vmap(lambda e: small.read(e, indices))(basis)
    result = [n for a, n in enumerate(selection.result) if a not in tied]
    return lax.reshape(rows, (*sizes, *result))
