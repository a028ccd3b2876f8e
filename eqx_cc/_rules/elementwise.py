"""Rules for what acts on each element: `out[k] = sum_j c_j[k] * in_j[k]`.

Operands broadcast: an axis of size 1, or an operand without axes, meets every `k`.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jax.extend.core import primitives as p

from .._sparsity.affine import Affine, single
from .._sparsity.term import Scalar
from .registry import Block, BlockBuilder, indexed, Operand, register_rule


def _axes(operand: Operand, result) -> list[Affine]:
    """An operand's axes, over the indices of the result's axes."""
    pairs = enumerate(zip(operand.shape, result.shape))
    return [single(a) if size == n else Affine(0) for a, (size, n) in pairs]


def _broadcast(operands, which: int, result) -> tuple[BlockBuilder, list, list, dict]:
    out = [single(axis) for axis in range(len(result.shape))]
    inp = _axes(operands[which], result)
    return BlockBuilder(operands, which, result), out, inp, indexed(result.shape)


def _coefficient(operands, which: int, other: int, result, value=lambda x: x, **kw):
    """The block `diag(value(operands[other]))`."""
    shape, out, inp, sizes = _broadcast(operands, which, result)
    own = [f.indices[0] for f in _axes(operands[other], result) if f.indices]
    dims = tuple(result.shape[i] for i in own)

    def read(arrays):
        return lax.reshape(value(arrays[other]), dims)

    return shape.term(out, inp, sizes, value=own, read=read, **kw).block()


def _scaled(
    operands, which: int, result, scale: Scalar = 1, conj: bool = False
) -> Block:
    shape, out, inp, sizes = _broadcast(operands, which, result)
    return shape.term(out, inp, sizes, scale=scale, conj=conj).block()


def _linear(operands) -> list[int]:
    return [i for i, operand in enumerate(operands) if operand.linear]


@register_rule(p.add_p, p.add_jaxvals_p)
def _add(operands, results, params):
    """out[k] = a[k] + b[k]"""
    return [_scaled(operands, i, results[0]) for i in _linear(operands)]


@register_rule(p.sub_p)
def _sub(operands, results, params):
    """out[k] = a[k] - b[k]"""
    return [_scaled(operands, i, results[0], (1, -1)[i]) for i in _linear(operands)]


@register_rule(p.neg_p)
def _neg(operands, results, params):
    """out[k] = -a[k]"""
    return [_scaled(operands, 0, results[0], -1)]


@register_rule(p.copy_p, p.reduce_precision_p)
def _copy(operands, results, params):
    """out[k] = a[k]"""
    return [_scaled(operands, 0, results[0])]


@register_rule(p.mul_p)
def _mul(operands, results, params):
    """out[k] = a[k] * c[k]"""
    if len(_linear(operands)) != 1:
        return None
    (which,) = _linear(operands)
    known = operands[1 - which].known
    if known is not None:
        return [_scaled(operands, which, results[0], known)]
    return [_coefficient(operands, which, 1 - which, results[0])]


@register_rule(p.div_p)
def _div(operands, results, params):
    """out[k] = a[k] / c[k]"""
    if _linear(operands) != [0]:
        return None
    known = operands[1].known
    if known is not None and known != 0:
        return [_scaled(operands, 0, results[0], 1 / known)]
    return [_coefficient(operands, 0, 1, results[0], lambda c: lax.integer_pow(c, -1))]


@register_rule(p.select_n_p)
def _select_n(operands, results, params):
    """out[k] = a_c[k] where c = which[k]"""
    if operands[0].linear:
        return None
    blocks = []
    for i in _linear(operands):
        case = i - 1

        def chosen(which, case=case):
            which = jnp.asarray(which)
            if which.dtype == bool:
                return which if case else lax.bitwise_not(which)
            return lax.eq(which, lax.full_like(which, case))

        blocks.append(_coefficient(operands, i, 0, results[0], chosen, mask=True))
    return blocks


@register_rule(p.convert_element_type_p)
def _convert(operands, results, params):
    """out[k] = a[k]; the real part where complex becomes real"""
    if operands[0].is_complex and not _is_complex(results[0]):
        return _real(operands, results, params)
    return [_scaled(operands, 0, results[0])]


def _is_complex(result) -> bool:
    return bool(jnp.issubdtype(result.dtype, jnp.complexfloating))


def _two(operands, results, plain, conjugated) -> list[Block]:
    """out[k] = plain * a[k] + conjugated * conj(a[k])"""
    shape, out, inp, sizes = _broadcast(operands, 0, results[0])
    shape.term(out, inp, sizes, scale=plain)
    return [shape.term(out, inp, sizes, scale=conjugated, conj=True).block()]


@register_rule(p.real_p)
def _real(operands, results, params):
    """out[k] = (a[k] + conj a[k]) / 2"""
    return _two(operands, results, 0.5, 0.5)


@register_rule(p.imag_p)
def _imag(operands, results, params):
    """out[k] = (a[k] - conj a[k]) / 2i"""
    return _two(operands, results, -0.5j, 0.5j)


@register_rule(p.conj_p)
def _conj(operands, results, params):
    """out[k] = conj a[k]"""
    return [_scaled(operands, 0, results[0], conj=operands[0].is_complex)]


@register_rule(p.complex_p)
def _complex(operands, results, params):
    """out[k] = a[k] + i b[k]"""
    return [_scaled(operands, i, results[0], (1, 1j)[i]) for i in _linear(operands)]
