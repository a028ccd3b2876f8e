"""Rules for sums of products and triangular systems."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import primitives as p

from .._sparsity.affine import single
from .registry import axes, BlockBuilder, indexed, register_rule


@register_rule(p.dot_general_p)
def _dot_general(operands, results, params):
    """out[b, m, n] = sum_c lhs[b, m, c] * rhs[b, n, c]"""
    if operands[0].linear == operands[1].linear:
        return None
    (contract, batch) = params["dimension_numbers"]
    labels = [[-1] * len(operand.shape) for operand in operands]
    count = 0
    for pairs in (batch, contract):
        for axes_ in zip(*pairs):
            for side, axis in enumerate(axes_):
                labels[side][axis] = count
            count += 1
    out = list(range(len(batch[0])))
    for side in (0, 1):
        for axis, label in enumerate(labels[side]):
            if label < 0:
                labels[side][axis] = count
                out.append(count)
                count += 1
    which = 0 if operands[0].linear else 1
    other = 1 - which
    sizes = {
        label: size
        for side, operand in enumerate(operands)
        for label, size in zip(labels[side], operand.shape)
    }
    shape = BlockBuilder(operands, which, results[0]).term(
        [single(label) for label in out],
        [single(label) for label in labels[which]],
        sizes,
        value=labels[other],
        read=lambda arrays: arrays[other],
    )
    return [shape.block()]


@register_rule(p.cumsum_p)
def _cumsum(operands, results, params):
    """out[.., k, ..] = sum_{l <= k} in[.., l, ..]"""
    axis, size = params["axis"], operands[0].shape[params["axis"]]
    inp = axes(operands[0].shape)
    out = list(inp)
    out[axis] = single(len(out))
    sizes = indexed(operands[0].shape) | {len(out): size}
    triangle = np.triu if params["reverse"] else np.tril

    def mask(arrays):
        return jnp.asarray(triangle(np.ones((size, size), bool)))

    shape = BlockBuilder(operands, 0, results[0])
    shape.term(out, inp, sizes, value=(len(out), axis), read=mask, mask=True)
    return [shape.block()]


@register_rule(p.triangular_solve_p)
def _triangular_solve(operands, results, params):
    """out[b, :, n] = inv(op(a[b])) in[b, :, n], or from the right"""
    if operands[0].linear:
        return None
    shape = operands[1].shape
    inp = axes(shape)
    out = list(inp)
    solved = len(shape) - (2 if params["left_side"] else 1)
    out[solved] = single(len(shape))
    n = shape[solved]
    sizes = indexed(shape) | {len(shape): n}
    batch = tuple(range(len(shape) - 2))

    def inverse(arrays):
        eye = jnp.broadcast_to(jnp.eye(n, dtype=arrays[0].dtype), arrays[0].shape)
        solution = p.triangular_solve_p.bind(arrays[0], eye, **params)
        return solution if params["left_side"] else jnp.swapaxes(solution, -1, -2)

    value = (*batch, len(shape), solved)
    term = BlockBuilder(operands, 1, results[0]).term(
        out, inp, sizes, value=value, read=inverse
    )
    return [term.block()]


@register_rule(p.fft_p)
def _fft(operands, results, params):
    """out[b, k] = sum_l F[k, l] in[b, l], with F from the transform of a basis"""
    lengths = params["fft_lengths"]
    if not all(lengths) or operands[0].size == 0:
        return None
    num_batch = len(operands[0].shape) - len(lengths)
    if num_batch == 0 or operands[0].is_complex != _is_complex(results[0]):
        return None
    in_shape, out_shape = operands[0].shape[num_batch:], results[0].shape[num_batch:]
    batch = axes(operands[0].shape[:num_batch])
    inp = axes(in_shape, num_batch)
    out = axes(out_shape, num_batch + len(in_shape))
    sizes = indexed((*operands[0].shape, *out_shape))

    def matrix(arrays):
        size = int(np.prod(in_shape))
        basis = jnp.eye(size, dtype=operands[0].dtype).reshape(size, *in_shape)
        columns = jax.vmap(lambda e: p.fft_p.bind(e, **params))(basis)
        return columns.reshape(*in_shape, *out_shape)

    value = tuple(range(num_batch, len(sizes)))
    shape = BlockBuilder(operands, 0, results[0])
    shape.term([*batch, *out], [*batch, *inp], sizes, value=value, read=matrix)
    return [shape.block()]


def _is_complex(result) -> bool:
    return bool(jnp.issubdtype(result.dtype, jnp.complexfloating))


@register_rule(p.conv_general_dilated_p)
def _conv(operands, results, params):
    """out[b, :] = K in[b, :], with K from the convolution of a basis"""
    numbers = params["dimension_numbers"]
    if operands[1].linear or params["batch_group_count"] != 1 or operands[0].size == 0:
        return None
    batches = numbers.lhs_spec[0], numbers.out_spec[0]
    sides = operands[0].shape, tuple(results[0].shape)
    inp, out = axes(sides[0]), axes(sides[1], len(sides[0]))
    out[batches[1]] = inp[batches[0]]
    sizes = indexed(sides[0]) | indexed(sides[1], len(sides[0]))
    del sizes[len(sides[0]) + batches[1]]
    rows = [i for i in range(len(sides[0])) if i != batches[0]]
    columns = [len(sides[0]) + i for i in range(len(sides[1])) if i != batches[1]]

    def kernel(arrays):
        shape = [sides[0][i] for i in rows]
        count = math.prod(shape)
        basis = jnp.eye(count, dtype=operands[0].dtype).reshape(count, *shape)
        basis = jnp.moveaxis(basis, 0, batches[0])
        columns = p.conv_general_dilated_p.bind(basis, arrays[1], **params)
        columns = jnp.moveaxis(columns, batches[1], 0)
        return columns.reshape(*shape, *columns.shape[1:])

    shape = BlockBuilder(operands, 0, results[0])
    shape.term(out, inp, sizes, value=rows + columns, read=kernel)
    return [shape.block()]
