"""The exact dense block of an equation that has no rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex

from .._blocks.arrays import Values
from .._blocks.unit_vectors import by_columns, by_rows
from .._jaxpr.avals import avals_of, is_complex, struct
from .._jaxpr.program import as_function, inexact_results
from .._jaxpr.releases import UNSUPPORTED_BY_JAX
from .._sparsity.pattern import dense_pattern, Pattern


Pair = tuple[int, int, Pattern]


def dense_pairs(eqn: jex.JaxprEqn, linear: Sequence[int]) -> list[Pair]:
    """`(operand, result, pattern)` for every block of a linear equation."""
    return [
        (j, i, _pattern(eqn.outvars[i].aval, eqn.invars[j].aval))
        for j in linear
        for i in inexact_results(eqn)
    ]


def _pattern(out, inp) -> Pattern:
    """Dense; where the input is complex, the block acts on its conjugate as well."""
    flags = is_complex(out), is_complex(inp)
    terms = dense_pattern(out.shape, inp.shape, *flags).terms
    if is_complex(inp):
        terms += dense_pattern(out.shape, inp.shape, *flags, conj=True).terms
    return Pattern(out.shape, inp.shape, terms, *flags)


def dense_values(
    eqn: jex.JaxprEqn, linear: Sequence[int], arrays: Sequence, *, reverse: bool
) -> list[Values]:
    """The values for `dense_pairs`, by rows or by columns."""
    fun, inputs, outputs = _linear_function(eqn, linear, arrays)
    if reverse:
        pullback = jax.linear_transpose(fun, *map(struct, inputs))
        blocks = by_rows(pullback, outputs, len(inputs))
    else:
        blocks = by_columns(fun, inputs)
    return [values for column in blocks for values in column]


def prefers_reverse(eqn: jex.JaxprEqn, linear: Sequence[int]) -> bool:
    """True if outputs are fewer than inputs, and JAX transposes the equation."""
    arrays = [struct(aval) for aval in avals_of(eqn.invars)]
    _, inputs, outputs = _linear_function(eqn, linear, arrays)
    if any(map(is_complex, [*inputs, *outputs])):
        return False
    if _num_entries(outputs) >= _num_entries(inputs):
        return False

    def transpose(arrays, cotangents):
        fun, *_ = _linear_function(eqn, linear, arrays)
        return jax.linear_transpose(fun, *map(struct, inputs))(cotangents)

    try:
        jax.eval_shape(transpose, arrays, [struct(aval) for aval in outputs])
    except UNSUPPORTED_BY_JAX:
        return False
    return True


def _linear_function(
    eqn: jex.JaxprEqn, linear: Sequence[int], arrays: Sequence
) -> tuple[Callable[..., list[Any]], list[Any], list[Any]]:
    """An equation as a function of its linear operands, and the abstract values of
    these and of the results."""
    fun = as_function(eqn, linear, arrays)
    inputs = [eqn.invars[j].aval for j in linear]
    outputs = [eqn.outvars[i].aval for i in inexact_results(eqn)]
    return lambda *tangents: fun(*tangents)[0], inputs, outputs


def _num_entries(avals: Sequence[Any]) -> int:
    return sum(aval.size for aval in avals)
