"""The exact dense block of an equation that has no rule."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax

from .._blocks.arrays import complex_type, Values
from .._jaxpr.avals import avals_of, is_complex, is_inexact, struct
from .._jaxpr.program import bind
from .._sparsity.pattern import dense_pattern, Pattern


Pair = tuple[int, int, Pattern]


def dense_pairs(eqn: jex.JaxprEqn, linear: Sequence[int]) -> list[Pair]:
    """`(operand, result, pattern)` for every block of a linear equation."""
    return [
        (j, i, _pattern(eqn.outvars[i].aval, eqn.invars[j].aval))
        for j in linear
        for i in inexact_results(eqn)
    ]


def inexact_results(eqn: jex.JaxprEqn) -> list[int]:
    """The results that can have a derivative."""
    return [i for i, v in enumerate(eqn.outvars) if is_inexact(v.aval)]


def _pattern(out, inp) -> Pattern:
    plain = dense_pattern(out.shape, inp.shape, is_complex(out), is_complex(inp))
    if not is_complex(inp):
        return plain
    flags = plain.complex_out, plain.complex_in
    conjugated = dense_pattern(out.shape, inp.shape, *flags, conj=True)
    terms = plain.terms + conjugated.terms
    return Pattern(out.shape, inp.shape, terms, *flags)


def dense_values(
    eqn: jex.JaxprEqn, linear: Sequence[int], arrays: Sequence, reverse: bool
) -> list[Values]:
    """The values for `dense_pairs`, by the smaller of the two bases."""
    results = inexact_results(eqn)
    avals = [eqn.invars[j].aval for j in linear]

    def apply(*tangents):
        operands = list(arrays)
        for j, tangent in zip(linear, tangents):
            operands[j] = tangent
        outs = bind(eqn, operands)
        return [outs[i] for i in results]

    if reverse:
        columns = _by_transpose(apply, avals, [eqn.outvars[i].aval for i in results])
    else:
        columns = [_by_basis(apply, avals, which) for which in range(len(linear))]
    return [values for column in columns for values in column]


def prefers_reverse(eqn: jex.JaxprEqn, linear: Sequence[int]) -> bool:
    """Whether the outputs are fewer than the inputs, and the equation transposes."""
    outs = [avals_of(eqn.outvars)[i] for i in inexact_results(eqn)]
    avals = [avals_of(eqn.invars)[j] for j in linear]
    if any(is_complex(aval) for aval in outs + avals):
        return False
    if sum(a.size for a in outs) >= sum(a.size for a in avals):
        return False
    try:
        jax.eval_shape(
            lambda arrays: dense_values(eqn, linear, arrays, reverse=True),
            [struct(v.aval) for v in eqn.invars],
        )
    except Exception:  # whatever a primitive raises that has no transpose
        return False
    return True


def _by_basis(apply, avals, which: int) -> list[Values]:
    """Values of the blocks of every result with respect to one operand."""

    def column(tangent):
        tangents = [lax.full(a.shape, 0, a.dtype) for a in avals]
        tangents[which] = tangent
        return apply(*tangents)

    aval = avals[which]
    basis = basis_of(aval)
    images = [jnp.moveaxis(x, 0, -1) for x in jax.vmap(column)(basis)]
    if not is_complex(aval):
        return [stored(x, (*x.shape[:-1], *aval.shape)) for x in images]
    turned = [jnp.moveaxis(x, 0, -1) for x in jax.vmap(column)(basis * 1j)]
    return [
        stored(p, shape) + stored(q, shape)
        for a, b in zip(images, turned)
        for shape in ((*a.shape[:-1], *aval.shape),)
        for p, q in (_wirtinger(a, b),)
    ]


def _wirtinger(along, across):
    """The coefficients of t and conj(t), from the images of 1 and i."""
    if not jnp.iscomplexobj(along):
        dtype = complex_type(along.dtype)
        along, across = along.astype(dtype), across.astype(dtype)
    return (along - 1j * across) / 2, (along + 1j * across) / 2


def _by_transpose(apply, avals, outs) -> list[list[Values]]:
    pull = jax.linear_transpose(apply, *[struct(a) for a in avals])
    columns: list[list[Values]] = [[] for _ in avals]
    for which, out in enumerate(outs):

        def row(cotangent, which=which):
            cotangents = [lax.full(a.shape, 0, a.dtype) for a in outs]
            cotangents[which] = cotangent
            return pull(cotangents)

        for column, image in zip(columns, jax.vmap(row)(basis_of(out))):
            column.append(stored(image, (*out.shape, *image.shape[1:])))
    return columns


def basis_of(aval):
    """The standard basis of an array space, along a leading axis."""
    count = math.prod(aval.shape)
    return jnp.eye(count, dtype=aval.dtype).reshape(count, *aval.shape)


def stored(value, shape) -> Values:
    """The one value of a dense block of `shape`: axes of size 1 are not stored."""
    kept = tuple(n for n in shape if n != 1)
    return () if 0 in shape else (lax.reshape(value, kept),)
