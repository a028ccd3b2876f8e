"""Rules for gather and scatter: one is the transpose of the other.

Where the indices are known while tracing, the block is a sum of windows or a table of
positions; where they are not, it is a mask along the indexed axes, and diagonal along
the others.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import primitives as p

from .._sparsity.positions.affine import Affine, single
from .._sparsity.positions.table import axis_forms
from .registry import axes, Block, BlockBuilder, indexed, one_term, register_rule


# The most windows of a block, and the most elements whose positions are looked at.
_MAX_WINDOWS = 8
_MAX_STATIC = 1 << 24


class Selection(NamedTuple):
    """A gather: `out[k] = array[position(k, indices)]`, or nothing."""

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
        """The flat position that each element of the result is read from, or -1.

        It is computed in NumPy: JAX would compile a program for every shape.
        """
        numbers = self.numbers
        indices = indices.astype(np.int64)
        points = math.prod(indices.shape[:-1])
        starts = indices.reshape(points, indices.shape[-1])
        moving = list(map(int, numbers.start_index_map))
        room = [self.shape[axis] - self.slice_sizes[axis] for axis in moving]
        inside = (starts == np.clip(starts, 0, room)).all(axis=1)
        first = np.zeros((points, len(self.shape)), np.int64)
        first[:, moving] = np.clip(starts, 0, room)
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
    builder = BlockBuilder(operands, 0, results[0])
    for term in _terms(selection, operands[1].indices):
        builder.term(**term)
    return [builder.block()]


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


@register_rule(p.scatter_mul_p)
def _scatter_mul(operands, results, params):
    """out = in, with out[position(k)] *= update[k]"""
    if operands[1].linear or operands[2].linear:
        return None
    shape = results[0].shape
    forms = axes(shape), axes(shape), indexed(shape)

    def factors(arrays):
        ones = lax.full(shape, 1, operands[0].dtype)
        return p.scatter_mul_p.bind(ones, arrays[1], arrays[2], **params)

    term: dict[str, Any] = dict(value=range(len(shape)), read=factors)
    return [one_term(operands, 0, results[0], *forms, **term)]


def _scatter_blocks(operands, results, params, *, adds: bool) -> list[Block]:
    blocks = []
    if operands[0].linear:
        blocks.append(_unwritten(operands, results[0], params, adds=adds))
    if operands[2].linear:
        builder = BlockBuilder(operands, 2, results[0])
        gather = transposed(operands[0].shape, operands[2].shape, params)
        for term in _terms(gather, operands[1].indices):
            term["out"], term["inp"] = term["inp"], term["out"]
            if "selection" in term and not params["unique_indices"]:
                term["mask"] = term.pop("selection")
            builder.term(**term)
        blocks.append(builder.block())
    return blocks


def transposed(
    shape: tuple[int, ...], updates: tuple[int, ...], params: dict[str, Any]
) -> Selection:
    """The gather whose transpose a scatter is: from its result to the updates."""
    numbers = params["dimension_numbers"]
    window = iter(updates[axis] for axis in numbers.update_window_dims)
    dropped = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    axes_ = range(len(shape))
    return Selection(
        shape,
        updates,
        lax.GatherDimensionNumbers(
            offset_dims=numbers.update_window_dims,
            collapsed_slice_dims=numbers.inserted_window_dims,
            start_index_map=numbers.scatter_dims_to_operand_dims,
            operand_batching_dims=numbers.operand_batching_dims,
            start_indices_batching_dims=numbers.scatter_indices_batching_dims,
        ),
        tuple(1 if axis in dropped else next(window) for axis in axes_),
        lax.GatherScatterMode.from_any(params["mode"]),
    )


def _unwritten(operands, result, params, *, adds: bool) -> Block:
    """The identity, or the part of it that updates do not overwrite."""
    forms = axes(result.shape), axes(result.shape), indexed(result.shape)
    if adds:
        return one_term(operands, 0, result, *forms)
    indices = operands[1].indices
    if indices is not None and math.prod(result.shape) <= _MAX_STATIC:
        is_kept = np.ones(result.shape, bool)
        gather = transposed(operands[0].shape, operands[2].shape, params)
        written = gather.positions(indices)
        is_kept.flat[written[written >= 0]] = False
        block = known_part(operands, 0, result, is_kept)
        if block is not None:
            return block

    def mask(arrays):
        base = jnp.zeros(operands[0].shape, jnp.int32)
        ones = jnp.ones(operands[2].shape, jnp.int32)
        return lax.eq(p.scatter_p.bind(base, arrays[1], ones, **params), base)

    term: dict[str, Any] = dict(value=range(len(result.shape)), read=mask, mask=True)
    return one_term(operands, 0, result, *forms, **term)


def known_part(operands, position: int, result, is_kept: np.ndarray) -> Block | None:
    """The identity at the entries that are kept; None where a mask of these stores
    hardly more."""
    flat = np.where(is_kept, np.arange(is_kept.size).reshape(is_kept.shape), -1)
    terms = _windows(flat, result.shape)
    if terms is None:
        if 3 * np.count_nonzero(is_kept) >= 2 * is_kept.size:
            return None
        terms = _table(flat, result.shape)
    builder = BlockBuilder(operands, position, result)
    for term in terms:
        builder.term(**term)
    return builder.block()


def _terms(selection: Selection, indices: np.ndarray | None) -> list[dict]:
    """The terms of a selection, as keywords of `BlockBuilder.term`."""
    if 0 in selection.result + selection.shape:
        return []
    if indices is None or math.prod(selection.result) > _MAX_STATIC:
        return [_masked(selection)]
    return _known(selection.positions(indices), selection.shape)


def _known(source: np.ndarray, shape) -> list[dict]:
    """The terms of a selection that reads these positions, -1 for none, in `shape`."""
    windows = _windows(source, shape)
    return _table(source, shape) if windows is None else windows


def _table(source: np.ndarray, shape) -> list[dict]:
    """The term of a selection that reads listed positions, of those that it reads.

    `x[[4, 0, 4, 1]]` is `out[k] = x[table[k]]`.
    """
    sizes = indexed(source.shape)
    out = axes(source.shape)
    if (source < 0).any():
        flat = np.flatnonzero(source >= 0)
        sizes = {0: len(flat)}
        out = axis_forms(flat, source.shape, sizes)
        source = source.reshape(-1)[flat]
    return [dict(out=out, inp=axis_forms(source, shape, sizes), sizes=sizes)]


def _windows(source: np.ndarray, shape) -> list[dict] | None:
    """The affine pieces of a selection whose positions are known; None if there are
    many.

    `x[[4, 5, 6, 0, 2]]` has two: `out[k] = x[4 + k]` for `k < 3`, and
    `out[3 + k] = x[2 k]` for `k < 2`.
    """
    boxes = [tuple((0, n) for n in source.shape)]
    windows, num_long = [], 0  # Times that there were too many boxes.
    while boxes:
        if len(windows) + num_long > _MAX_WINDOWS:
            return None
        box = boxes.pop()
        part = np.asarray(source[tuple(slice(low, high) for low, high in box)])
        forms = _affine(part, shape)
        if forms is None:
            boxes += _halves(box, part)
            num_long += len(boxes) > _MAX_WINDOWS
        elif part.flat[0] >= 0:
            out = [Affine(low, ((axis, 1),)) for axis, (low, _) in enumerate(box)]
            sizes = {axis: high - low for axis, (low, high) in enumerate(box)}
            windows.append(dict(out=out, inp=forms, sizes=sizes))
    return windows if len(windows) <= _MAX_WINDOWS else None


def _affine(source: np.ndarray, shape) -> list[Affine] | None:
    """Positions in an array of `shape` as affine forms of the indices of `source`.

    In an array of shape (5,), `[1, 3]` is `[1 + 2 k]`. None if they are not affine, and
    no forms at all if nothing is read.
    """
    if (source < 0).all():
        return []
    if (source < 0).any():
        return None
    forms = axis_forms(source.reshape(-1), shape, indexed(source.shape))
    affine = [form for form in forms if isinstance(form, Affine)]
    return affine if len(affine) == len(forms) else None


def _halves(box, source: np.ndarray) -> list:
    """Cuts a box where its positions stop advancing evenly, the first half last."""
    for axis, (low, high) in enumerate(box):
        if high - low < 2:
            continue
        steps = np.diff(np.moveaxis(source, axis, 0).reshape(high - low, -1), axis=0)
        breaks = np.flatnonzero((steps[1:] != steps[:-1]).any(axis=1)) + 1
        if len(breaks):
            return _cut(box, axis, low + int(breaks[0]))
        if np.ptp(steps):
            return _cut(box, axis, low + 1)
    longest = max(range(len(box)), key=lambda axis: box[axis][1] - box[axis][0])
    return _cut(box, longest, box[longest][0] + 1)


def _cut(box, axis: int, middle: int) -> list:
    first, second = list(box), list(box)
    first[axis], second[axis] = (box[axis][0], middle), (middle, box[axis][1])
    return [tuple(second), tuple(first)]


def _masked(selection: Selection) -> dict:
    """A mask along the indexed axes, diagonal along those that are read whole."""
    numbers = selection.numbers
    collapsed = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    windowed = [a for a in range(len(selection.shape)) if a not in collapsed]
    window_of = dict(zip(windowed, sorted(map(int, numbers.offset_dims))))
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
        return _basis_read(selection, arrays[1], indexed_axes, whole, tied)

    return dict(out=out, inp=inp, sizes=sizes, value=value, read=mask, selection=True)


def _batch_position(numbers: lax.GatherDimensionNumbers, axis: int) -> int:
    """The batch axis of the result that goes with a batching axis of the operand."""
    position = numbers.operand_batching_dims.index(axis)
    return int(numbers.start_indices_batching_dims[position])


def _basis_read(selection: Selection, indices, indexed_axes, whole, tied):
    """The selection of each element of a basis of the indexed axes."""
    sizes = tuple(selection.shape[a] for a in indexed_axes)
    shape = tuple(1 if a in whole else n for a, n in enumerate(selection.shape))
    slices = tuple(1 if a in whole else n for a, n in enumerate(selection.slice_sizes))
    small = selection._replace(shape=shape, slice_sizes=slices)
    count = math.prod(sizes)
    basis = np.eye(count, dtype=bool).reshape(count, *sizes)
    dims = (0, *(1 + a for a in indexed_axes))
    basis = lax.broadcast_in_dim(jnp.asarray(basis), (count, *shape), dims)
    rows = jax.vmap(lambda e: small.read(e, indices))(basis)
    result = [n for a, n in enumerate(selection.result) if a not in tied]
    return lax.reshape(rows, (*sizes, *result))
