"""Rules for what acts on each element: `out[k] = sum_j c_j[k] * in_j[k]`.

Operands broadcast: an axis of size 1, or an operand without axes, meets every `k`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import primitives as p

from .._jaxpr.avals import is_complex
from .._sparsity.term import Scalar
from .registry import (
    axes,
    Block,
    BlockBuilder,
    broadcast,
    indexed,
    one_term,
    register_rule,
    Rule,
)
from .selection import known_part


def _diagonal(operands, position: int, result, **term: Any) -> Block:
    """The block `out[k] = in[k]`, with a scale or values in `term`."""
    inp = broadcast(operands[position].shape, result.shape)
    forms = axes(result.shape), inp, indexed(result.shape)
    return one_term(operands, position, result, *forms, **term)


def _times(operands, position: int, other: int, result, value=lambda x: x, **term: Any):
    """The block `out[k] = value(operands[other])[k] * in[k]`."""
    forms = broadcast(operands[other].shape, result.shape)
    indices = [form.indices[0] for form in forms if form.indices]
    dims = tuple(result.shape[i] for i in indices)

    def read(arrays):
        return lax.reshape(value(arrays[other]), dims)

    return _diagonal(operands, position, result, value=indices, read=read, **term)


def _linear(operands) -> list[int]:
    return [i for i, operand in enumerate(operands) if operand.linear]


def _combination(*scales: Scalar) -> Rule:
    """out[k] = sum_j scales[j] * in_j[k]"""

    def rule(operands, results, params):
        linear = _linear(operands)
        return [_diagonal(operands, j, results[0], scale=scales[j]) for j in linear]

    return rule


register_rule(p.add_p, p.add_jaxvals_p)(_combination(1, 1))
register_rule(p.sub_p)(_combination(1, -1))
register_rule(p.neg_p)(_combination(-1))
register_rule(p.copy_p, p.reduce_precision_p)(_combination(1))
register_rule(p.complex_p)(_combination(1, 1j))


@register_rule(p.mul_p)
def _mul(operands, results, params):
    """out[k] = a[k] * c[k]"""
    if len(_linear(operands)) != 1:
        return None
    [position] = _linear(operands)
    scale = operands[1 - position].known
    if scale is not None:
        return [_diagonal(operands, position, results[0], scale=scale)]
    return [_times(operands, position, 1 - position, results[0])]


@register_rule(p.div_p)
def _div(operands, results, params):
    """out[k] = a[k] / c[k]"""
    if _linear(operands) != [0]:
        return None
    divisor = operands[1].known
    if divisor is not None and divisor != 0:
        return [_diagonal(operands, 0, results[0], scale=1 / divisor)]
    return [_times(operands, 0, 1, results[0], lambda c: lax.integer_pow(c, -1))]


@register_rule(p.select_n_p)
def _select_n(operands, results, params):
    """out[k] = a_c[k] where c = case[k]"""
    if operands[0].linear:
        return None
    blocks = []
    for i in _linear(operands):
        block = _known_choice(operands, i, results[0])
        if block is not None:
            blocks.append(block)
            continue

        def mask(cases, case=i - 1):
            cases = jnp.asarray(cases)
            if cases.dtype == bool:
                return cases if case else lax.bitwise_not(cases)
            return lax.eq(cases, lax.full_like(cases, case))

        blocks.append(_times(operands, i, 0, results[0], mask, mask=True))
    return blocks


def _known_choice(operands, position: int, result) -> Block | None:
    """The block of an operand that is chosen where the cases, which are known, say so;
    None where they are not, or a mask will do."""
    cases = operands[0].indices
    if cases is None or 0 in result.shape:
        return None
    is_chosen = np.broadcast_to(cases == position - 1, result.shape)
    return known_part(operands, position, result, is_chosen)


def _with_conjugate(scale: Scalar, conj_scale: Scalar) -> Rule:
    """out[k] = scale * a[k] + conj_scale * conj(a[k])"""

    def rule(operands, results, params):
        result = results[0]
        builder = BlockBuilder(operands, 0, result)
        inp = broadcast(operands[0].shape, result.shape)
        forms = axes(result.shape), inp, indexed(result.shape)
        builder.term(*forms, scale=scale).term(*forms, scale=conj_scale, conj=True)
        return [builder.block()]

    return rule


_real = register_rule(p.real_p)(_with_conjugate(0.5, 0.5))
register_rule(p.imag_p)(_with_conjugate(-0.5j, 0.5j))


@register_rule(p.convert_element_type_p)
def _convert(operands, results, params):
    """out[k] = a[k]; the real part where complex becomes real"""
    if operands[0].is_complex and not is_complex(results[0]):
        return _real(operands, results, params)
    return [_diagonal(operands, 0, results[0])]


@register_rule(p.conj_p)
def _conj(operands, results, params):
    """out[k] = conj a[k]"""
    return [_diagonal(operands, 0, results[0], conj=operands[0].is_complex)]
