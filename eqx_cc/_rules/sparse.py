"""Rules for the products of `jax.experimental.sparse` whose positions are known.

A matrix lists its entries: `data[p]` at `(rows[p], columns[p])`. So does the block of
its product, with tables for these.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import bcoo_dot_general_p, bcsr_dot_general_p

from .._sparsity.positions.affine import single
from .._sparsity.positions.table import tabulated
from .contraction import product_labels, replaced
from .registry import Block, one_term, register_rule


@register_rule(bcoo_dot_general_p)
def _bcoo_dot_general(operands, results, params):
    """out[b, m, n] = sum_c lhs[b, m, c] * rhs[b, n, c], lhs listed by its entries"""
    indices = operands[1].indices
    if indices is None or indices.ndim != 2 or len(operands[0].shape) != 1:
        return None
    return _product(operands, results, params, indices)


@register_rule(bcsr_dot_general_p)
def _bcsr_dot_general(operands, results, params):
    """out[m, n] = sum_c lhs[m, c] * rhs[n, c], lhs listed row by row"""
    columns, ends = operands[1].indices, operands[2].indices
    if columns is None or ends is None or columns.ndim != 1:
        return None
    rows = np.searchsorted(ends, np.arange(len(columns)), "right") - 1
    return _product(operands, results, params, np.stack([rows, columns], 1))


def _product(operands, results, params, indices: np.ndarray) -> list[Block] | None:
    """The block of the product, of matrices without batch and dense dimensions."""
    last = len(operands) - 1
    linear = [i for i, operand in enumerate(operands) if operand.linear]
    shape = tuple(params["lhs_spinfo"].shape)
    if linear not in ([0], [last]) or indices.shape[1] != len(shape):
        return None
    lhs = jax.ShapeDtypeStruct(shape, operands[0].dtype)
    labels, out = product_labels(params["dimension_numbers"], (lhs, operands[last]))
    sizes = dict(zip(labels[1], operands[last].shape))
    # Lists are padded with positions outside of the matrix.
    kept = np.flatnonzero((indices < shape).all(axis=1) & (indices >= 0).all(axis=1))
    entry = max([*labels[0], *labels[1]]) + 1
    at = dict(zip(labels[0], indices[kept].T))
    tables = {i: tabulated(column, [entry]) for i, column in at.items()}
    free = [i for i in labels[1] if i not in tables]
    sizes = {i: sizes[i] for i in free} | {entry: len(kept)}
    out = replaced(map(single, out), tables)
    term: dict[str, Any]
    if linear == [last]:
        inp = replaced(map(single, labels[1]), tables)
        term = dict(value=(entry,), read=lambda arrays: arrays[0][kept])
        if len(kept) > 1 and all(entry not in form.indices for form in tables.values()):
            # All of them are at one position.
            del sizes[entry]
            term = dict(value=(), read=lambda arrays: jnp.sum(arrays[0][kept]))
    else:
        inp = [tabulated(kept, [entry])]
        shared = tuple(at[i] for i in labels[1] if i in at)
        axes = [labels[1].index(i) for i in labels[1] if i in at]

        def factors(arrays):
            return jnp.moveaxis(arrays[last], axes, range(len(axes)))[shared]

        term = dict(value=(entry, *free), read=factors)
    return [one_term(operands, linear[0], results[0], out, inp, sizes, **term)]
