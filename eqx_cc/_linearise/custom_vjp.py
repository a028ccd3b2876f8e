"""Functions with a custom reverse rule (`jax.custom_vjp`): the blocks of that rule,
where it is a linear program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import numpy as np

from .._blocks.arrays import taken, Values
from .._blocks.unit_vectors import by_rows
from .._jaxpr.avals import avals_of, is_complex, is_inexact, struct
from .._jaxpr.program import (
    as_function,
    Constant,
    evaluate,
    flatten,
    inexact_results,
    Program,
)
from .._jaxpr.releases import ClosedJaxpr
from .._rules.fallback import dense_pairs, Pair
from .linear_jaxpr import LinearProgram


class ReverseRule(NamedTuple):
    """The partials of such an equation, as those of `LocalPartials`."""

    pairs: Sequence[Pair]
    run: Callable[[Sequence[Any]], tuple[list[Any], list[Values]]]
    is_dense: bool


def reverse_rule(eqn: jex.JaxprEqn, active: Sequence[int]) -> ReverseRule:
    """The partials that the reverse rule of an equation stands for.

    A rule need not be linear (one that clips gradients is not), nor zero where the
    cotangents are: then its rows are what it gives for each unit vector, as they are in
    `jax.jacrev`.
    """
    forward, pullback = _traced(eqn, active)
    outputs = [eqn.outvars[i].aval for i in inexact_results(eqn)]
    count = len(eqn.outvars)
    avals = [*outputs, *(eqn.invars[i].aval for i in active)]
    if not any(map(is_complex, avals)) and is_linear(flatten(pullback), len(outputs)):
        inside = LinearProgram(pullback, outputs, forward.outputs[count:])
        if not inside.fallback:
            return _transposed(eqn, active, forward, inside)

    def run(operands):
        values = evaluate(forward, operands)
        pull = jex.jaxpr_as_fun(ClosedJaxpr(pullback, values[count:]))
        blocks = by_rows(lambda cotangents: pull(*cotangents), outputs, len(active))
        return values[:count], [values for column in blocks for values in column]

    return ReverseRule(dense_pairs(eqn, active), run, is_dense=True)


def _traced(eqn: jex.JaxprEqn, active: Sequence[int]) -> tuple[Program, jex.Jaxpr]:
    """The equation with its residuals, and the map from cotangents of its results to
    those of the operands `active`. It takes the residuals as constants."""
    pullbacks = []

    def forward(*operands):
        fun = as_function(eqn, active, operands)
        primals = [operands[i] for i in active]
        outputs, pullback, results = jax.vjp(fun, *primals, has_aux=True)
        closed = jax.make_jaxpr(lambda *cotangents: pullback(list(cotangents)))(
            *map(struct, outputs)
        )
        pullbacks.append(closed.jaxpr)
        return results, closed.consts

    closed = jax.make_jaxpr(forward)(*map(struct, avals_of(eqn.invars)))
    return flatten(closed.jaxpr, closed.consts), pullbacks[-1]


def _transposed(
    eqn: jex.JaxprEqn, active: Sequence[int], forward: Program, inside: LinearProgram
) -> ReverseRule:
    positions, count = inexact_results(eqn), len(eqn.outvars)
    pairs, takes = [], []
    for result, operand, pattern in inside.pairs:
        transposed, reads = pattern.transpose
        pairs.append((active[operand], positions[result], transposed))
        takes.append(reads)

    def run(operands):
        values = evaluate(forward, operands)
        return values[:count], list(map(taken, inside.run(values[count:]), takes))

    return ReverseRule(pairs, run, is_dense=False)


#
# Linearity
#


# Zero where one of these operands is, and where all operands are.
_PRODUCTS = {
    "mul": (0, 1),
    "dot_general": (0, 1),
    "conv_general_dilated": (0, 1),
    "div": (0,),
    "triangular_solve": (1,),
}
_SUMS = frozenset(
    "add add_any broadcast_in_dim concatenate convert_element_type copy cumsum "
    "dynamic_slice dynamic_update_slice gather neg pad reduce_precision reduce_sum "
    "reduce_window_sum reshape rev scatter scatter-add select_n slice split squeeze "
    "stack sub tile transpose unstack".split()
)


def is_linear(program: Program, num_inputs: int) -> bool:
    """True if a program whose every equation is linear, or has constants beside what is
    linear, is zero where its inputs are."""
    zeros: set[Any] = set(range(num_inputs))

    def is_zero(operand: Any, aval: Any) -> bool:
        if isinstance(operand, Constant):
            value = operand.value
            known = isinstance(value, np.ndarray | np.generic | float | int)
            return is_inexact(aval) and known and not np.any(value)
        return operand in zeros

    for equation in program.equations:
        pairs = list(zip(equation.operands, equation.operand_avals))
        name = equation.primitive.name
        if name in _PRODUCTS:
            ends = any(is_zero(*pairs[i]) for i in _PRODUCTS[name])
        else:
            numbers = [pair for pair in pairs if is_inexact(pair[1])]
            ends = name in _SUMS and numbers and all(is_zero(*x) for x in numbers)
        if ends:
            zeros.update(equation.results)
    return all(map(is_zero, program.outputs, program.output_avals))
