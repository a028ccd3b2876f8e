"""Rules for reading and writing at indices.

Where the indices are known while tracing the block is a sum of windows; where they are
not it is a mask along the indexed axes, and tied along the others.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jax.extend.core import primitives as p

from .._sparsity.affine import Affine, single
from .registry import axes, BlockBuilder, indexed, register_rule


@register_rule(p.dynamic_slice_p)
def _dynamic_slice(operands, results, params):
    """out[k] = in[start + k]"""
    if any(operand.linear for operand in operands[1:]):
        return None
    shape, sizes = operands[0].shape, results[0].shape
    return [_window(operands, 0, results[0], shape, sizes, 1, reading=True)]


@register_rule(p.dynamic_update_slice_p)
def _dynamic_update_slice(operands, results, params):
    """out[k] = update[k - start] inside the window, in[k] outside"""
    if any(operand.linear for operand in operands[2:]):
        return None
    shape, sizes = operands[0].shape, operands[1].shape
    blocks = []
    if operands[0].linear:
        blocks.append(_outside(operands, results[0], shape, sizes))
    if operands[1].linear:
        blocks.append(_window(operands, 1, results[0], shape, sizes, 2, reading=False))
    return blocks


def _start(arrays, first: int, axis: int, size: int, window: int):
    """The clamped start of a window along one axis."""
    start = jnp.asarray(arrays[first + axis])
    return lax.clamp(
        jnp.zeros((), start.dtype), start, jnp.asarray(size - window, start.dtype)
    )


def _window(operands, which, result, shape, window, first: int, reading: bool):
    """The selection of a window whose start is operand `first` and following."""
    whole, part, sizes, moving = [], [], {}, []
    for axis, (size, width) in enumerate(zip(shape, window)):
        known = operands[first + axis].indices
        sizes[axis] = width
        part.append(single(axis))
        if size == width:
            whole.append(single(axis))
        elif known is not None:
            start = min(max(int(known), 0), size - width)
            whole.append(Affine(start, ((axis, 1),)))
        else:
            index = len(shape) + axis
            sizes[index] = size
            whole.append(single(index))
            moving.append(axis)
    value = [i for axis in moving for i in (axis, len(shape) + axis)]

    def mask(arrays):
        parts = [
            _diagonal(
                _start(arrays, first, a, shape[a], window[a]), shape[a], window[a]
            )
            for a in moving
        ]
        return _outer(parts)

    out, inp = (part, whole) if reading else (whole, part)
    term = BlockBuilder(operands, which, result).term(
        out,
        inp,
        sizes,
        value=value if moving else None,
        read=mask if moving else None,
        selection=bool(moving),
    )
    return term.block()


def _diagonal(start, size: int, width: int):
    """mask[k, i] = (i == start + k)"""
    offsets = lax.broadcasted_iota(start.dtype, (width, size), 1)
    rows = lax.broadcasted_iota(start.dtype, (width, size), 0)
    return lax.eq(offsets, lax.add(rows, lax.broadcast(start, (width, size))))


def _outer(masks):
    """The outer product of masks."""
    total = masks[0]
    for mask in masks[1:]:
        shape = (*total.shape, *mask.shape)
        left = lax.broadcast_in_dim(total, shape, tuple(range(total.ndim)))
        right = lax.broadcast_in_dim(mask, shape, tuple(range(total.ndim, len(shape))))
        total = lax.bitwise_and(left, right)
    return total


def _outside(operands, result, shape, window):
    """The identity, except in the window that is overwritten."""
    moving = [axis for axis, (n, w) in enumerate(zip(shape, window)) if n != w]
    out = axes(shape)
    term = BlockBuilder(operands, 0, result)
    if 0 in window:
        return term.term(out, out, indexed(shape)).block()
    if not moving:
        return term.block()

    def mask(arrays):
        parts = []
        for axis in moving:
            start = _start(arrays, 2, axis, shape[axis], window[axis])
            where = lax.broadcasted_iota(start.dtype, (shape[axis],), 0)
            low = lax.broadcast(start, (shape[axis],))
            high = lax.broadcast(
                start + jnp.asarray(window[axis], start.dtype), (shape[axis],)
            )
            parts.append(lax.bitwise_and(lax.ge(where, low), lax.lt(where, high)))
        return lax.bitwise_not(_outer(parts))

    term.term(out, out, indexed(shape), value=moving, read=mask, mask=True)
    return term.block()
