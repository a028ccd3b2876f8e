"""Loops: their operands and results, and a forward accumulation of their Jacobians.

`D[c, s]`, the derivative of carry `c` with respect to source `s` (a constant, an
initial carry, or the stacked inputs of a scan), advances with the carry:

    D[c, s] = J[c, s] + sum over c' of J[c, c'] @ D[c', s]
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..._blocks.block import NumericBlock
from ..._jaxpr.avals import is_complex, is_inexact
from ..._jaxpr.program import Equation
from ..._jaxpr.releases import ClosedJaxpr
from ..._sparsity.pattern import identity, Pattern
from .body import Blocks, Body, Differentiate, Ends, Known, placed
from .reach import Reach


@dataclass(frozen=True)
class AbstractLoop(abc.ABC):
    """The equation of a loop: operands are constants, carries, stacked inputs; results
    are carries, stacked outputs. `active` are the operands that are differentiated."""

    equation: Equation
    active: tuple[int, ...]

    @property
    @abc.abstractmethod
    def jaxpr(self) -> ClosedJaxpr:
        """The body."""

    @property
    @abc.abstractmethod
    def num_consts(self) -> int:
        """The number of constants, which come first."""

    @property
    @abc.abstractmethod
    def num_carry(self) -> int:
        """The number of carries."""

    @property
    @abc.abstractmethod
    def length(self) -> int | None:
        """The number of iterations, None if it is not known while tracing."""

    @property
    @abc.abstractmethod
    def operand_avals(self) -> Sequence[Any]:
        """The abstract values of the operands."""

    @property
    def carries(self) -> range:
        """The body's inputs that are carries."""
        return range(self.num_consts, self.num_consts + self.num_carry)

    @property
    def inexact_results(self) -> list[int]:
        avals = self.equation.result_avals
        return [r for r, aval in enumerate(avals) if is_inexact(aval)]

    def is_stacked(self, source: int) -> bool:
        return source >= self.num_consts + self.num_carry

    def reached_carries(self, body: Body) -> list[int]:
        """The carries that a block leads from or to, by their number among results."""
        outputs = {out for out, _ in body.blocks}
        inputs = {inp - self.num_consts for _, inp in body.blocks}
        return sorted((outputs | inputs) & {*range(self.num_carry)})

    def reach(self, body: Body) -> Reach:
        """The structure of the carry after any number of iterations."""
        reached = self.reached_carries(body)
        patterns = {ends: block.pattern for ends, block in body.blocks.items()}
        sizes = [self.equation.result_avals[c].size for c in reached]
        inputs = [self.carries[c] for c in reached]
        return Reach(patterns, reached, inputs, sizes, self.length)

    def zero(
        self, result: int, source: int, *, result_slice=False, source_slice=False
    ) -> NumericBlock:
        """The zero block from a source to a result, or between slices of stacks."""
        out, inp = self.equation.result_avals[result], self.operand_avals[source]
        shapes = (
            out.shape[1:] if result_slice and result >= self.num_carry else out.shape,
            inp.shape[1:] if source_slice and self.is_stacked(source) else inp.shape,
        )
        pattern = Pattern(*shapes, (), is_complex(out), is_complex(inp))
        return NumericBlock(pattern, (), out.dtype)

    def identity(self, carry: int) -> NumericBlock:
        aval = self.equation.result_avals[carry]
        pattern = identity(aval.shape, complex=is_complex(aval))
        return NumericBlock(pattern, (None,) * len(pattern.terms), aval.dtype)


def closed_body(loop: AbstractLoop, differentiate: Differentiate, known: Known) -> Body:
    """The body, differentiated in every carry that comes to depend on the sources.

    Of the operands that are known while tracing, constants are so in every iteration.
    """
    active = set(loop.active)
    known = {i: value for i, value in known.items() if i < loop.num_consts}
    while True:
        body = Body(loop.jaxpr, sorted(active), differentiate, known)
        reached = {loop.num_consts + r for r, _ in body.blocks if r < loop.num_carry}
        if reached <= active:
            return body
        active |= reached


class ForwardSteps:
    """An iteration of forward accumulation."""

    def __init__(self, loop: AbstractLoop, body: Body):
        self.loop, self.carries = loop, loop.reached_carries(body)

    def init(self) -> dict[Ends, NumericBlock]:
        """`D` before the first iteration."""
        loop = self.loop
        return {
            (c, s): loop.identity(c) if s == loop.carries[c] else loop.zero(c, s)
            for c in self.carries
            for s in loop.active
        }

    def _chain(self, r: int, s: int, D: Blocks, J: Blocks, base: NumericBlock):
        """`base + sum of J[r, c] @ D[c, s]`."""
        for c in self.carries:
            if (r, self.loop.carries[c]) in J:
                base = base.add_product(J[r, self.loop.carries[c]], D[c, s])
        return base

    def advance(self, D: Blocks, J: Blocks, t) -> dict[Ends, NumericBlock]:
        """`D` after an iteration."""
        loop, advanced = self.loop, {}
        for c, s in D:
            base = loop.zero(c, s)
            if s not in loop.carries and (c, s) in J:
                base = J[c, s]
                if loop.is_stacked(s):
                    assert loop.length is not None
                    base = placed(base, loop.length, t, "in")
            advanced[c, s] = self._chain(c, s, D, J, base)
        return advanced

    def sliced(self, D: Blocks, J: Blocks) -> dict[str, dict[Ends, NumericBlock]]:
        """The blocks of slices of stacked outputs, by the side that is stacked."""
        loop = self.loop
        results = [r for r in loop.inexact_results if r >= loop.num_carry]
        out = {}
        for r in results:
            for s in loop.active:
                base = J.get((r, s)) if s < loop.num_consts else None
                base = base or loop.zero(r, s, result_slice=True)
                out[r, s] = self._chain(r, s, D, J, base)
        stacks = [s for s in loop.active if loop.is_stacked(s)]
        pairs = [(r, s) for r in results for s in stacks]
        return {"out": out, "tied": {ends: J[ends] for ends in pairs if ends in J}}
