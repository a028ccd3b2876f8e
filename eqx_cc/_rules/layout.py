"""Rules for what moves elements without reading indices: each block is a selection."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import primitives as p

from .._jaxpr.releases import available_primitives
from .._sparsity.affine import Affine, single
from .registry import axes, BlockBuilder, indexed, register_rule


@register_rule(p.transpose_p)
def _transpose(operands, results, params):
    """out[k] = in[k permuted]"""
    out = axes(results[0].shape)
    inp = [Affine(0)] * len(out)
    for axis, source in enumerate(params["permutation"]):
        inp[source] = out[axis]
    shape = BlockBuilder(operands, 0, results[0])
    return [shape.term(out, inp, indexed(results[0].shape)).block()]


@register_rule(p.broadcast_in_dim_p)
def _broadcast_in_dim(operands, results, params):
    """out[k] = in[k at broadcast_dimensions]"""
    if not operands[0].linear:
        return None
    out = axes(results[0].shape)
    where = params["broadcast_dimensions"]
    inp = [
        single(axis) if size == results[0].shape[axis] else Affine(0)
        for size, axis in zip(operands[0].shape, where)
    ]
    shape = BlockBuilder(operands, 0, results[0])
    return [shape.term(out, inp, indexed(results[0].shape)).block()]


@register_rule(p.squeeze_p)
def _squeeze(operands, results, params):
    """out[k] = in[k with axes of size 1]"""
    return _flattened(operands, results)


@register_rule(p.reshape_p)
def _reshape(operands, results, params):
    """out[k] = in[l] where k, l flatten to the same number"""
    if params.get("dimensions") is not None or not operands[0].linear:
        return None
    return _flattened(operands, results)


def _flattened(operands, results):
    shape = BlockBuilder(operands, 0, results[0])
    forms = _matched(results[0].shape, operands[0].shape)
    if forms is None:
        return None
    out, inp, sizes = forms
    return [shape.term(out, inp, sizes).block()]


def _matched(out_shape, in_shape):
    """Forms of row-major axes over one set of indices, the coarsest that refines both.

    None if the shapes have no common refinement, as (2, 3) and (3, 2).
    """
    if 0 in out_shape + in_shape:
        return [], [], {0: 0}
    strides = sorted({*_strides(out_shape), *_strides(in_shape)}, reverse=True)
    total = math.prod(out_shape)
    bounds = [total, *strides]
    if any(high % low for high, low in zip(bounds, bounds[1:])):
        return None
    sizes = {i: bounds[i] // low for i, low in enumerate(strides)}
    return _forms(out_shape, strides), _forms(in_shape, strides), sizes


def _strides(shape) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis, n in enumerate(shape) if n > 1]


def _forms(shape, strides: list[int]) -> list[Affine]:
    forms = []
    for axis, size in enumerate(shape):
        low = math.prod(shape[axis + 1 :])
        inner = [(i, s // low) for i, s in enumerate(strides) if low <= s < low * size]
        forms.append(Affine(0, tuple(inner) if size > 1 else ()))
    return forms


@register_rule(p.reduce_sum_p)
def _reduce_sum(operands, results, params):
    """out[k] = sum_l in[k, l]"""
    inp = axes(operands[0].shape)
    out = [form for axis, form in enumerate(inp) if axis not in params["axes"]]
    shape = BlockBuilder(operands, 0, results[0])
    return [shape.term(out, inp, indexed(operands[0].shape)).block()]


@register_rule(p.slice_p)
def _slice(operands, results, params):
    """out[k] = in[start + stride * k]"""
    out = axes(results[0].shape)
    strides = params["strides"] or (1,) * len(out)
    inp = [
        Affine(start, ((axis, stride),))
        for axis, (start, stride) in enumerate(zip(params["start_indices"], strides))
    ]
    shape = BlockBuilder(operands, 0, results[0])
    return [shape.term(out, inp, indexed(results[0].shape)).block()]


@register_rule(p.rev_p)
def _rev(operands, results, params):
    """out[k] = in[n - 1 - k] along the reversed dimensions"""
    out = axes(results[0].shape)
    inp = [
        Affine(size - 1, ((axis, -1),)) if axis in params["dimensions"] else out[axis]
        for axis, size in enumerate(operands[0].shape)
    ]
    shape = BlockBuilder(operands, 0, results[0])
    return [shape.term(out, inp, indexed(results[0].shape)).block()]


@register_rule(p.pad_p)
def _pad(operands, results, params):
    """out[low + (interior + 1) * k] = in[k]; the padding value elsewhere"""
    blocks = []
    config = params["padding_config"]
    if operands[0].linear:
        out, inp, sizes = [], [], {}
        for axis, ((low, _, interior), size) in enumerate(
            zip(config, operands[0].shape)
        ):
            step = interior + 1
            first = max(0, -(low // step))
            last = min(size - 1, (results[0].shape[axis] - 1 - low) // step)
            sizes[axis] = max(0, last - first + 1)
            out.append(Affine(low + step * first, ((axis, step),)))
            inp.append(Affine(first, ((axis, 1),)))
        blocks.append(
            BlockBuilder(operands, 0, results[0]).term(out, inp, sizes).block()
        )
    if operands[1].linear:
        blocks.append(_padding_value(operands, results[0], config))
    return blocks


def _padding_value(operands, result, config):
    """out[k] = value, except where the operand is"""
    shape = BlockBuilder(operands, 1, result)
    indices = list(range(len(result.shape)))

    def mask(arrays):
        inside = lax.pad(jnp.ones(operands[0].shape, jnp.int32), np.int32(0), config)
        return lax.eq(inside, lax.full_like(inside, 0))

    out, sizes = axes(result.shape), indexed(result.shape)
    return shape.term(out, [], sizes, value=indices, read=mask, mask=True).block()


@register_rule(p.concatenate_p)
def _concatenate(operands, results, params):
    """out[offset_j + k] = in_j[k]"""
    blocks, offset = [], 0
    for which, operand in enumerate(operands):
        if operand.linear:
            inp = axes(operand.shape)
            out = list(inp)
            out[params["dimension"]] = Affine(offset, ((params["dimension"], 1),))
            shape = BlockBuilder(operands, which, results[0])
            blocks.append(shape.term(out, inp, indexed(operand.shape)).block())
        offset += operand.shape[params["dimension"]]
    return blocks


@register_rule(lax.split_p)
def _split(operands, results, params):
    """out_j[k] = in[offset_j + k]"""
    blocks, offset = [], 0
    for number, result in enumerate(results):
        out = axes(result.shape)
        inp = list(out)
        inp[params["axis"]] = Affine(offset, ((params["axis"], 1),))
        shape = BlockBuilder(operands, 0, result)
        blocks.append(shape.term(out, inp, indexed(result.shape)).block(number))
        offset += int(params["sizes"][number])
    return blocks


@register_rule(*available_primitives("stack_p"))
def _stack(operands, results, params):
    """out[.., j, ..] = in_j[..]"""
    blocks = []
    for which, operand in enumerate(operands):
        if operand.linear:
            inp = axes(operand.shape)
            out = list(inp)
            out.insert(params["axis"], Affine(which))
            shape = BlockBuilder(operands, which, results[0])
            blocks.append(shape.term(out, inp, indexed(operand.shape)).block())
    return blocks


@register_rule(*available_primitives("unstack_p"))
def _unstack(operands, results, params):
    """out_j[..] = in[.., j, ..]"""
    blocks = []
    for number, result in enumerate(results):
        out = axes(result.shape)
        inp = list(out)
        inp.insert(params["axis"], Affine(number))
        shape = BlockBuilder(operands, 0, result)
        blocks.append(shape.term(out, inp, indexed(result.shape)).block(number))
    return blocks


@register_rule(*available_primitives("tile_p"))
def _tile(operands, results, params):
    """out[n * j + k] = in[k]"""
    rank = len(operands[0].shape)
    inp, sizes = axes(operands[0].shape), indexed(operands[0].shape)
    out = [
        Affine(0, ((axis, 1), (rank + axis, size)))
        for axis, size in enumerate(operands[0].shape)
    ]
    sizes |= {rank + axis: int(n) for axis, n in enumerate(params["reps"])}
    shape = BlockBuilder(operands, 0, results[0])
    return [shape.term(out, inp, sizes).block()]


@register_rule(lax.optimization_barrier_p)
def _optimization_barrier(operands, results, params):
    """out_j = in_j"""
    blocks = []
    for i, (operand, result) in enumerate(zip(operands, results)):
        if operand.linear:
            out = axes(result.shape)
            shape = BlockBuilder(operands, i, result)
            blocks.append(shape.term(out, out, indexed(result.shape)).block(i))
    return blocks
