"""Loops and branches: their bodies are eliminated once, in their own order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from .._blocks.block import covered, covering
from .._jaxpr.avals import is_complex
from .._jaxpr.program import Equation
from .._sparsity.pattern import Pattern
from .equation import LocalPartials
from .loops.body import Body, Differentiate, EvaluatedPartials, Known
from .loops.independent import independent_blocks
from .loops.scan import scan_blocks
from .loops.while_loop import while_blocks


def control_flow(
    equation: Equation,
    active: tuple[int, ...],
    operands: Sequence[Any],
    differentiate: Differentiate,
    known: Known,
) -> LocalPartials | None:
    """The partials of a loop or a cond; None for any other equation.

    `known` are the operands that are integer arrays known while tracing.
    """
    kinds = {"scan": _scan, "while": while_blocks, "cond": _cond}
    partials = kinds.get(equation.primitive.name)
    if partials is None:
        return None
    pairs, results, values, refine, integers = partials(
        equation, active, operands, differentiate, known
    )
    run = lambda operands: (results, values)  # noqa: E731
    return LocalPartials(pairs, run, refine=refine, known=integers)


def _scan(*arguments: Any) -> EvaluatedPartials:
    """The partials of a `scan`: as a batch if that knows more."""
    return independent_blocks(*arguments) or scan_blocks(*arguments)


def _cond(
    equation: Equation, active, operands, differentiate, known: Known
) -> EvaluatedPartials:
    """The partials of a `cond`: the branch that runs stores its blocks in patterns that
    cover those of all branches."""
    index, *arguments = operands
    inputs = [i - 1 for i in active]
    known = {i - 1: value for i, value in known.items() if i > 0}
    branches = equation.params["branches"]
    bodies = [Body(b, inputs, differentiate, known) for b in branches]
    ends = sorted({ends for body in bodies for ends in body.blocks})
    patterns = {e: [_pattern(equation, body, e) for body in bodies] for e in ends}

    def branch(number: int):
        def run(*arguments):
            results, blocks = bodies[number](*arguments)
            return results, [store(blocks, number, e) for e in ends]

        return run

    def store(blocks, number: int, e):
        values = blocks[e].values if e in blocks else ()
        dtype = equation.result_avals[e[0]].dtype
        return covered(patterns[e], number, values, dtype, masks=True)

    branches = [branch(number) for number in range(len(bodies))]
    with equation.eqn.ctx.manager:
        results, values = jax.lax.switch(index, branches, *arguments)
    pairs = [(e[1] + 1, e[0], covering(patterns[e], masks=True)) for e in ends]
    return EvaluatedPartials(pairs, results, values)


def _pattern(equation: Equation, body: Body, ends: tuple[int, int]) -> Pattern:
    """The pattern of a block of a branch, which may be zero."""
    if ends in body.blocks:
        return body.blocks[ends].pattern
    out, inp = equation.result_avals[ends[0]], equation.operand_avals[ends[1] + 1]
    return Pattern(out.shape, inp.shape, (), is_complex(out), is_complex(inp))
