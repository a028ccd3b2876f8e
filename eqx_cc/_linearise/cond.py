"""Scan and cond: their bodies are eliminated once, in their own order.

(`while` has no rule: JAX linearises it as a whole, forward.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax

from .._blocks.arrays import Values
from .._jaxpr.avals import is_complex
from .._jaxpr.program import Equation
from .._sparsity.pattern import Pattern
from .body import Body, covered, covering, Differentiate
from .scan import scan_blocks


class Made(NamedTuple):
    """The results of an equation and its partials, as a `Template` gives them."""

    pairs: list[tuple[int, int, Pattern]]
    results: list[Any]
    values: list[Values]
    fallback: bool = False

    def run(self, operands: Sequence[Any]) -> tuple[list[Any], list[Values]]:
        return self.results, self.values


def control_flow(
    equation: Equation,
    active: tuple[int, ...],
    operands: Sequence[Any],
    differentiate: Differentiate,
) -> Made | None:
    """The partials of a scan or a cond; None for any other equation."""
    if equation.primitive.name == "scan":
        make = partial(Body, differentiate=differentiate)
        return Made(*scan_blocks(equation, active, operands, make))
    if equation.primitive.name == "cond":
        return _cond(equation, active, operands, differentiate)
    return None


def _cond(equation: Equation, active, operands, differentiate) -> Made:
    """One branch runs; every branch stores its blocks in patterns that cover all."""
    index, *arguments = operands
    inputs = [i - 1 for i in active]
    bodies = [Body(b, inputs, differentiate) for b in equation.params["branches"]]
    ends = sorted({ends for body in bodies for ends in body.patterns})
    shapes = [aval.shape for aval in equation.result_avals]
    dtypes = [aval.dtype for aval in equation.result_avals]
    patterns = {}
    for out, inp in ends:
        zero = _zero(equation, out, inp, shapes[out])
        patterns[out, inp] = [body.patterns.get((out, inp), zero) for body in bodies]

    def branch(number: int):
        def run(*arguments):
            results, blocks = bodies[number](*arguments)
            return results, [
                covered(patterns[e], number, stored(blocks, e), dtypes[e[0]], True)
                for e in ends
            ]

        return run

    def stored(blocks, e) -> Values:
        return blocks[e].values if e in blocks else ()

    branches = [branch(number) for number in range(len(bodies))]
    with equation.eqn.ctx.manager:
        results, values = jax.lax.switch(index, branches, *arguments)
    pairs = [(inp + 1, out, covering(patterns[out, inp], True)) for out, inp in ends]
    return Made(pairs, results, values)


def _zero(equation: Equation, out: int, inp: int, shape) -> Pattern:
    source = equation.operand_avals[inp + 1]
    flags = is_complex(equation.result_avals[out]), is_complex(source)
    return Pattern(shape, source.shape, (), *flags)
