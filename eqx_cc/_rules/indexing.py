"""Rules for reading and writing a window of an array.

Where its start is known while tracing, the block is a selection of affine forms; where
it is not, a mask along the axes that the window may move along. With `width` 2 and
`size` 3, reading at a traced `start` has `mask[k, i] = (i == start + k)`:

    start = 0: [[1, 0, 0], [0, 1, 0]]        start = 1: [[0, 1, 0], [0, 0, 1]]
"""

from __future__ import annotations

import functools as ft
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.extend.core import primitives as p

from .._sparsity.positions.affine import Affine, single
from .registry import axes, Block, BlockBuilder, indexed, one_term, register_rule


@register_rule(p.dynamic_slice_p)
def _dynamic_slice(operands, results, params):
    """out[k] = in[start + k]"""
    if any(operand.linear for operand in operands[1:]):
        return None
    window = _Window(operands[0].shape, results[0].shape, 1)
    part, whole, term = window.forms(operands)
    return [one_term(operands, 0, results[0], part, whole, **term)]


@register_rule(p.dynamic_update_slice_p)
def _dynamic_update_slice(operands, results, params):
    """out[k] = update[k - start] inside the window, in[k] outside"""
    if any(operand.linear for operand in operands[2:]):
        return None
    window = _Window(operands[0].shape, operands[1].shape, 2)
    blocks = []
    if operands[0].linear:
        blocks.append(_outside(operands, results[0], window))
    if operands[1].linear:
        part, whole, term = window.forms(operands)
        blocks.append(one_term(operands, 1, results[0], whole, part, **term))
    return blocks


class _Window(NamedTuple):
    """The part `whole[start + k]` of an array; its start along axis `i` is the operand
    `first + i`, clamped so that the window fits."""

    shape: tuple[int, ...]
    widths: tuple[int, ...]
    first: int

    def start(self, arrays, axis: int):
        start = jnp.asarray(arrays[self.first + axis])
        room = jnp.asarray(self.shape[axis] - self.widths[axis], start.dtype)
        return lax.clamp(jnp.zeros((), start.dtype), start, room)

    def forms(self, operands):
        """Affine forms of the part and the whole, and the rest of the term's keywords.

        Along an axis whose start is traced, the whole has an index of its own.
        """
        part, sizes = axes(self.shape), indexed(self.widths)
        whole, moving = list(part), []
        for axis, (size, width) in enumerate(zip(self.shape, self.widths)):
            start = operands[self.first + axis].indices
            if size == width:
                continue
            if start is not None:
                low = min(max(int(start), 0), size - width)
                whole[axis] = Affine(low, ((axis, 1),))
            else:
                index = len(self.shape) + axis
                whole[axis], sizes[index] = single(index), size
                moving.append(axis)
        term: dict = {"sizes": sizes}
        if moving:
            value = [i for axis in moving for i in (axis, len(self.shape) + axis)]
            read = ft.partial(self.selected, moving)
            term |= {"value": value, "read": read, "selection": True}
        return part, whole, term

    def selected(self, moving: list[int], arrays):
        """mask[k, i] = (i == start + k), for each of the moving axes."""
        masks = []
        for axis in moving:
            start = self.start(arrays, axis)
            shape = self.widths[axis], self.shape[axis]
            rows, columns = (
                lax.broadcasted_iota(start.dtype, shape, axis) for axis in (0, 1)
            )
            masks.append(lax.eq(columns, lax.add(rows, lax.broadcast(start, shape))))
        return _outer(masks)

    def inside(self, moving: list[int], arrays):
        """mask[i] = (start <= i < start + width), for each of the moving axes."""
        masks = []
        for axis in moving:
            start, shape = self.start(arrays, axis), (self.shape[axis],)
            stop = start + jnp.asarray(self.widths[axis], start.dtype)
            index = lax.broadcasted_iota(start.dtype, shape, 0)
            low, high = lax.broadcast(start, shape), lax.broadcast(stop, shape)
            masks.append(lax.bitwise_and(lax.ge(index, low), lax.lt(index, high)))
        return _outer(masks)


def _outside(operands, result, window: _Window) -> Block:
    """The identity, except in the window that is overwritten."""
    forms = axes(window.shape), axes(window.shape), indexed(window.shape)
    if 0 in window.widths:
        return one_term(operands, 0, result, *forms)
    pairs = enumerate(zip(window.shape, window.widths))
    moving = [axis for axis, (size, width) in pairs if size != width]
    if not moving:
        return BlockBuilder(operands, 0, result).block()

    def mask(arrays):
        return lax.bitwise_not(window.inside(moving, arrays))

    return one_term(operands, 0, result, *forms, value=moving, read=mask, mask=True)


def _outer(masks):
    """The outer product of masks."""
    total = masks[0]
    for mask in masks[1:]:
        shape = (*total.shape, *mask.shape)
        left = lax.broadcast_in_dim(total, shape, tuple(range(total.ndim)))
        right = lax.broadcast_in_dim(mask, shape, tuple(range(total.ndim, len(shape))))
        total = lax.bitwise_and(left, right)
    return total
