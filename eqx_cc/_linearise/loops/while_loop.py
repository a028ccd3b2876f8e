"""The Jacobian of a while loop, carried forward through its iterations.

As nobody knows how many there are, its pattern is one that no iteration leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax import lax

from ..._jaxpr.program import bind, Equation, evaluate, flatten
from ..._jaxpr.releases import ClosedJaxpr
from .body import Body, Differentiate, EvaluatedPartials, Known
from .carried import carried
from .loop import AbstractLoop, closed_body, ForwardSteps


class _While(AbstractLoop):
    """A while equation, without the constants of its condition."""

    @property
    def jaxpr(self) -> ClosedJaxpr:
        return self.equation.params["body_jaxpr"]

    @property
    def num_consts(self) -> int:
        return self.equation.params["body_nconsts"]

    @property
    def num_carry(self) -> int:
        return len(self.equation.results)

    @property
    def length(self) -> None:
        return None

    @property
    def operand_avals(self) -> Sequence[Any]:
        return self.equation.operand_avals[_num_condition(self.equation) :]


def _num_condition(equation: Equation) -> int:
    """The number of constants of the condition, which are the first operands."""
    return equation.params["cond_nconsts"]


def while_blocks(
    equation: Equation,
    active: tuple[int, ...],
    operands: Sequence[Any],
    differentiate: Differentiate,
    known: Known,
) -> EvaluatedPartials:
    """The partials of a while loop."""
    skip = _num_condition(equation)
    loop = _While(equation, tuple(i - skip for i in active if i >= skip))
    if not loop.active:
        return EvaluatedPartials([], bind(equation.eqn, operands), [])
    known = {i - skip: value for i, value in known.items() if i >= skip}
    body = closed_body(loop, differentiate, known)
    results, blocks = _forward(loop, body, operands[:skip], operands[skip:])
    ends = [e for e, block in blocks.items() if not block.pattern.is_zero]
    pairs = [(s + skip, r, blocks[r, s].pattern) for r, s in ends]
    return EvaluatedPartials(pairs, results, [blocks[e].values for e in ends])


def _forward(loop: _While, body: Body, fixed, operands):
    """The results and `D[c, s]`; `fixed` are the constants of the condition."""
    steps = ForwardSteps(loop, body)
    init = steps.init()
    patterns = carried(init, steps.advance, loop, body)
    consts = list(operands[: loop.num_consts])
    closed = loop.equation.params["cond_jaxpr"]
    condition = flatten(closed.jaxpr, closed.consts)

    def goes_on(state):
        return evaluate(condition, [*fixed, *state[0]])[0]

    def step(state):
        carry, D = state
        results, J = body(*consts, *carry)
        return results, patterns.stored(steps.advance(D, J, None))

    start = list(operands[loop.num_consts :]), patterns.stored(init)
    with loop.equation.eqn.ctx.manager:
        return lax.while_loop(goes_on, step, start)
