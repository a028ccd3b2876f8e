"""Rules for what moves elements without reading indices: each block is a selection."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import primitives as p

from .._jaxpr.releases import available_primitives
from .._sparsity.positions.affine import Affine, single
from .._sparsity.positions.table import axis_forms, Form
from .registry import axes, Block, broadcast, indexed, one_term, register_rule


# The most entries of which it is listed where they are padding.
_MAX_LISTED = 1 << 24


def _reading(operands, results, inp: list[Affine]) -> list[Block]:
    """out[k] = in[inp(k)]"""
    shape = results[0].shape
    return [one_term(operands, 0, results[0], axes(shape), inp, indexed(shape))]


@register_rule(p.transpose_p)
def _transpose(operands, results, params):
    """out[k] = in[k permuted]"""
    inp = [Affine(0)] * len(operands[0].shape)
    for axis, source in enumerate(params["permutation"]):
        inp[source] = single(axis)
    return _reading(operands, results, inp)


@register_rule(p.broadcast_in_dim_p)
def _broadcast_in_dim(operands, results, params):
    """out[k] = in[k at broadcast_dimensions]"""
    if not operands[0].linear:
        return None
    shapes = operands[0].shape, results[0].shape
    inp = broadcast(*shapes, dims=params["broadcast_dimensions"])
    return _reading(operands, results, inp)


@register_rule(p.squeeze_p)
def _squeeze(operands, results, params):
    """out[k] = in[k with axes of size 1]"""
    return _flattened(operands, results)


@register_rule(p.reshape_p)
def _reshape(operands, results, params):
    """out[k] = in[l] where k, l flatten to the same number"""
    if not operands[0].linear:
        return None
    return _flattened(operands, results, params.get("dimensions"))


def _flattened(operands, results, order=None):
    """`order` is that of the operand's axes, the slowest first, if not their own."""
    shape = operands[0].shape
    order = range(len(shape)) if order is None else order
    shapes = results[0].shape, tuple(shape[axis] for axis in order)
    out, inp, sizes = _matched(*shapes) or _listed(*shapes)
    by_axis = dict(zip(order, inp))
    inp = [by_axis[axis] for axis in sorted(by_axis)]
    return [one_term(operands, 0, results[0], out, inp, sizes)]


def _listed(out_shape, in_shape) -> tuple[list[Form], list[Form], dict[int, int]]:
    """Forms of row-major axes over one index: tables, for (2, 3) and (3, 2)."""
    size = {0: math.prod(out_shape)}
    flat = np.arange(size[0])
    return axis_forms(flat, out_shape, size), axis_forms(flat, in_shape, size), size


def _matched(out_shape, in_shape):
    """Forms of row-major axes over one set of indices, the coarsest that refines both.

    For (4, 3) and (2, 6), indices i, j, k of sizes 2, 2, 3: the element at
    (2 i + j, k) of the first is at (i, 3 j + k) of the second. None if the shapes have
    no common refinement, as (2, 3) and (3, 2).
    """
    if 0 in out_shape + in_shape:
        return [], [], {0: 0}
    strides = sorted({*_strides(out_shape), *_strides(in_shape)}, reverse=True)
    bounds = [math.prod(out_shape), *strides]
    if any(high % low for high, low in itertools.pairwise(bounds)):
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
    return [one_term(operands, 0, results[0], out, inp, indexed(operands[0].shape))]


@register_rule(p.slice_p)
def _slice(operands, results, params):
    """out[k] = in[start + stride * k]"""
    starts = params["start_indices"]
    pairs = enumerate(zip(starts, params["strides"] or (1,) * len(starts)))
    inp = [Affine(start, ((axis, stride),)) for axis, (start, stride) in pairs]
    return _reading(operands, results, inp)


@register_rule(p.rev_p)
def _rev(operands, results, params):
    """out[k] = in[n - 1 - k] along the reversed dimensions"""
    inp = axes(operands[0].shape)
    for axis in params["dimensions"]:
        inp[axis] = Affine(operands[0].shape[axis] - 1, ((axis, -1),))
    return _reading(operands, results, inp)


@register_rule(p.pad_p)
def _pad(operands, results, params):
    """out[low + (interior + 1) * k] = in[k]; the padding value elsewhere"""
    blocks = []
    if operands[0].linear:
        out, inp, sizes = [], [], {}
        triples = zip(params["padding_config"], operands[0].shape, results[0].shape)
        for axis, ((low, _, interior), size, out_size) in enumerate(triples):
            step = interior + 1
            first = max(0, -(low // step))
            last = min(size - 1, (out_size - 1 - low) // step)
            sizes[axis] = max(0, last - first + 1)
            out.append(Affine(low + step * first, ((axis, step),)))
            inp.append(Affine(first, ((axis, 1),)))
        blocks.append(one_term(operands, 0, results[0], out, inp, sizes))
    if operands[1].linear:
        blocks.append(_padding_value(operands, results[0], params["padding_config"]))
    return blocks


def _padding_value(operands, result, config) -> Block:
    """out[k] = value, except where the operand is"""
    if math.prod(result.shape) <= _MAX_LISTED:
        flat = np.flatnonzero(_is_padding(operands[0].shape, result.shape, config))
        out = axis_forms(flat, result.shape, {0: len(flat)})
        return one_term(operands, 1, result, out, [], {0: len(flat)})

    def mask(arrays):
        inside = lax.pad(jnp.ones(operands[0].shape, jnp.int32), np.int32(0), config)
        return lax.eq(inside, lax.full_like(inside, 0))

    out, sizes = axes(result.shape), indexed(result.shape)
    term: dict[str, Any] = dict(value=list(sizes), read=mask, mask=True)
    return one_term(operands, 1, result, out, [], sizes, **term)


def _is_padding(shape, padded_shape, config) -> np.ndarray:
    """Where a padded array is not the operand: of two entries with one between them,
    `[False, True, False]`."""
    positions = []
    for (low, _, interior), size, padded in zip(config, shape, padded_shape):
        position = low + (interior + 1) * np.arange(size)
        positions.append(position[(position >= 0) & (position < padded)])
    is_padding = np.ones(padded_shape, bool)
    is_padding[np.ix_(*positions)] = False
    return is_padding


@register_rule(p.concatenate_p)
def _concatenate(operands, results, params):
    """out[offset_j + k] = in_j[k]"""
    axis = params["dimension"]
    offsets = _offsets(operand.shape[axis] for operand in operands)
    place = lambda j, forms: _shifted(forms, axis, offsets[j])  # noqa: E731
    return _joined(operands, results[0], place)


@register_rule(*available_primitives("stack_p"))
def _stack(operands, results, params):
    """out[.., j, ..] = in_j[..]"""
    place = lambda j, forms: _inserted(forms, params["axis"], j)  # noqa: E731
    return _joined(operands, results[0], place)


def _joined(operands, result, place: Callable) -> list[Block]:
    """out[place_j(k)] = in_j[k]"""
    blocks = []
    for j, operand in enumerate(operands):
        if operand.linear:
            inp, sizes = axes(operand.shape), indexed(operand.shape)
            blocks.append(one_term(operands, j, result, place(j, inp), inp, sizes))
    return blocks


@register_rule(lax.split_p)
def _split(operands, results, params):
    """out_j[k] = in[offset_j + k]"""
    offsets = _offsets(map(int, params["sizes"]))
    place = lambda j, forms: _shifted(forms, params["axis"], offsets[j])  # noqa: E731
    return _parted(operands, results, place)


@register_rule(*available_primitives("unstack_p"))
def _unstack(operands, results, params):
    """out_j[..] = in[.., j, ..]"""
    place = lambda j, forms: _inserted(forms, params["axis"], j)  # noqa: E731
    return _parted(operands, results, place)


def _parted(operands, results, place: Callable) -> list[Block]:
    """out_j[k] = in[place_j(k)]"""
    blocks = []
    for j, result in enumerate(results):
        out, sizes = axes(result.shape), indexed(result.shape)
        forms = out, place(j, out), sizes
        blocks.append(one_term(operands, 0, result, *forms, index=j))
    return blocks


def _offsets(sizes: Iterable[int]) -> list[int]:
    return [0, *itertools.accumulate(sizes)]


def _shifted(forms: list[Affine], axis: int, offset: int) -> list[Affine]:
    return [*forms[:axis], Affine(offset, ((axis, 1),)), *forms[axis + 1 :]]


def _inserted(forms: list[Affine], axis: int, position: int) -> list[Affine]:
    return [*forms[:axis], Affine(position), *forms[axis:]]


@register_rule(lax.tile_p)
def _tile(operands, results, params):
    """out[n * j + k] = in[k]"""
    shape, reps = operands[0].shape, map(int, params["reps"])
    sizes = indexed(shape) | {len(shape) + axis: n for axis, n in enumerate(reps)}
    out = [
        Affine(0, ((axis, 1), (len(shape) + axis, size)))
        for axis, size in enumerate(shape)
    ]
    return [one_term(operands, 0, results[0], out, axes(shape), sizes)]


@register_rule(lax.optimization_barrier_p)
def _optimization_barrier(operands, results, params):
    """out_j = in_j"""
    blocks = []
    for j, (operand, result) in enumerate(zip(operands, results)):
        if operand.linear:
            forms = axes(result.shape), axes(result.shape), indexed(result.shape)
            blocks.append(one_term(operands, j, result, *forms, index=j))
    return blocks
