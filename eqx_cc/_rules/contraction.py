"""Rules for sums of products and triangular systems."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import primitives as p

from .._blocks.unit_vectors import unit_vectors
from .._jaxpr.avals import is_complex
from .._sparsity.positions.affine import single
from .._sparsity.positions.table import axis_forms, Form, ravelled, tabulated
from .registry import axes, Block, indexed, one_term, register_rule


@register_rule(p.dot_general_p)
def _dot_general(operands, results, params):
    """out[b, m, n] = sum_c lhs[b, m, c] * rhs[b, n, c]"""
    if operands[0].linear == operands[1].linear:
        return None
    labels, out = product_labels(params["dimension_numbers"], operands)
    sizes = {
        label: size
        for side, operand in enumerate(operands)
        for label, size in zip(labels[side], operand.shape)
    }
    linear = 0 if operands[0].linear else 1
    other = 1 - linear
    out_forms, in_forms = ([single(i) for i in each] for each in (out, labels[linear]))
    is_nonzero = operands[other].is_nonzero
    if is_nonzero is not None and sizes:
        forms = out_forms, in_forms, sizes
        return [_sparse_product(operands, linear, results[0], forms, labels[other])]
    # A number of Python has no shape.
    read = lambda arrays: jnp.asarray(arrays[other], operands[other].dtype)  # noqa: E731
    term: dict[str, Any] = dict(value=labels[other], read=read)
    return [one_term(operands, linear, results[0], out_forms, in_forms, sizes, **term)]


def _sparse_product(operands, linear: int, result, forms, labels) -> Block:
    """The block of a product with a constant of which only some entries are not zero.

    They are listed: of `[[0, 2], [3, 0]] @ x` it is `out (r[p],) inp (c[p],)` with the
    tables `r = [0, 1]` and `c = [1, 0]`, and the values `[2, 3]`.
    """
    other, (out, inp, sizes) = 1 - linear, forms
    flat = np.flatnonzero(operands[other].is_nonzero)
    entry = max(sizes) + 1
    listed = {entry: len(flat)}
    tables = dict(zip(labels, axis_forms(flat, operands[other].shape, listed)))
    sizes = {i: n for i, n in sizes.items() if i not in tables} | listed
    read = lambda arrays: jnp.ravel(arrays[other])[flat]  # noqa: E731
    term: dict[str, Any] = dict(value=(entry,), read=read)
    out, inp = replaced(out, tables), replaced(inp, tables)
    return one_term(operands, linear, result, out, inp, sizes, **term)


def replaced(forms, tables: Mapping[int, Form]) -> list[Form]:
    """Forms that are one index each, some of which are replaced by tables."""
    return [tables.get(form.indices[0], form) for form in forms]


def product_labels(numbers, operands) -> tuple[list[list[int]], list[int]]:
    """The index along each axis of the operands, and of the result.

    Of a product of matrices `lhs @ rhs`, which is `out[m, n] = lhs[m, c] * rhs[c, n]`
    with `c, m, n` as 0, 1, 2, these are `[[1, 0], [0, 2]]` and `[1, 2]`.
    """
    contract, batch = numbers
    labels = [[-1] * len(operand.shape) for operand in operands]
    count = itertools.count()
    for pairs in (batch, contract):
        for pair in zip(*pairs):
            label = next(count)
            for side, axis in enumerate(pair):
                labels[side][axis] = label
    out = list(range(len(batch[0])))
    for side in labels:
        for axis, label in enumerate(side):
            if label < 0:
                side[axis] = next(count)
                out.append(side[axis])
    return labels, out


@register_rule(p.cumsum_p)
def _cumsum(operands, results, params):
    """out[.., k, ..] = sum_{l <= k} in[.., l, ..]"""
    axis, shape = params["axis"], operands[0].shape
    size, k = shape[axis], len(shape)
    inp = axes(shape)
    out = list(inp)
    out[axis] = single(k)
    # A list of the triangle would store half as much, but its product with a full block
    # is no matrix product: of 400 by 400, it took 27 ms in place of 0.3.
    triangle = np.triu if params["reverse"] else np.tril

    def mask(arrays):
        return jnp.asarray(triangle(np.ones((size, size), bool)))

    term: dict[str, Any] = dict(value=(k, axis), read=mask, mask=True)
    sizes = indexed(shape) | {k: size}
    block = one_term(operands, 0, results[0], out, inp, sizes, **term)

    def entries():
        rows, columns = np.nonzero(triangle(np.ones((size, size), bool)))
        listed = {i: n for i, n in sizes.items() if i not in (k, axis)}
        listed[k] = len(rows)
        tables = {k: tabulated(rows, [k]), axis: tabulated(columns, [k])}
        forms = [*replaced(out, tables), *replaced(inp, tables)]
        return np.sort(ravelled(forms, (*shape, *shape), listed))

    return [replace(block, entries=entries)]


@register_rule(p.triangular_solve_p)
def _triangular_solve(operands, results, params):
    """out[b, :, n] = inv(op(a[b])) in[b, :, n], or from the right"""
    if operands[0].linear:
        return None
    shape = operands[1].shape
    axis, k = len(shape) - (2 if params["left_side"] else 1), len(shape)
    inp = axes(shape)
    out = list(inp)
    out[axis] = single(k)
    size = shape[axis]

    def inverse(arrays):
        eye = jnp.broadcast_to(jnp.eye(size, dtype=arrays[0].dtype), arrays[0].shape)
        solution = p.triangular_solve_p.bind(arrays[0], eye, **params)
        return solution if params["left_side"] else jnp.swapaxes(solution, -1, -2)

    term: dict[str, Any] = dict(value=(*range(len(shape) - 2), k, axis), read=inverse)
    sizes = indexed(shape) | {k: size}
    return [one_term(operands, 1, results[0], out, inp, sizes, **term)]


@register_rule(p.fft_p)
def _fft(operands, results, params):
    """out[b, k] = sum_l F[k, l] in[b, l], with F from the transform of a basis"""
    lengths, shape = params["fft_lengths"], operands[0].shape
    num_batch = len(shape) - len(lengths)
    if not all(lengths) or operands[0].size == 0 or num_batch == 0:
        return None
    if operands[0].is_complex != is_complex(results[0]):
        return None
    in_shape, out_shape = shape[num_batch:], results[0].shape[num_batch:]
    inp = axes(shape)
    out = [*inp[:num_batch], *axes(out_shape, len(shape))]
    sizes = indexed((*shape, *out_shape))

    def matrix(arrays):
        [basis] = unit_vectors([jax.ShapeDtypeStruct(in_shape, operands[0].dtype)])
        columns = jax.vmap(lambda e: p.fft_p.bind(e, **params))(basis)
        return columns.reshape(*in_shape, *out_shape)

    value = tuple(range(num_batch, len(sizes)))
    return [
        one_term(operands, 0, results[0], out, inp, sizes, value=value, read=matrix)
    ]
