"""The Jacobian of a scan, carried through its iterations.

Forward: `D[c, s]`, the derivative of carry `c` with respect to source `s`, advances
with the carry. Reverse: `A[r, c]`, the derivative of result `r` with respect to carry
`c`, goes back through the stored partials `J` of the body. With `c'` for the carries of
one iteration before:

    forward   D[c, s] = J[c, s] + sum over c' of J[c, c'] @ D[c', s]
    reverse   A[r, s] = J[r, s] + sum over c of A[r, c] @ J[c, s]

Either way a pattern is fixed first that the carried blocks never leave, so that nothing
grows with the length. A short loop whose blocks would get wider with every iteration is
unrolled instead: each iteration has blocks with the structure of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax.numpy as jnp
from jax import lax

from ..._blocks.block import NumericBlock
from ..._jaxpr.program import Equation
from ..._jaxpr.releases import ClosedJaxpr, scan_arity
from .body import (
    Blocks,
    Body,
    Differentiate,
    Ends,
    EvaluatedPartials,
    Known,
    placed,
    stacked,
    stacked_each,
)
from .carried import Carried, carried
from .loop import AbstractLoop, closed_body, ForwardSteps
from .steps import ScanEntries


Entries = list[tuple[int, int, NumericBlock]]

# A loop of at most so many iterations is unrolled where its blocks would grow, if its
# equations and their partials are not more than so many. Three steps of a stencil take
# half of the time of a loop then; eight take longer, and a minute to compile.
MAX_UNROLLED = 3
MAX_EQUATIONS = 512


class Scan(AbstractLoop):
    """A scan equation."""

    @property
    def jaxpr(self) -> ClosedJaxpr:
        return self.equation.params["jaxpr"]

    @cached_property
    def num_consts(self) -> int:
        return scan_arity(self.equation.eqn).num_consts

    @cached_property
    def num_carry(self) -> int:
        return scan_arity(self.equation.eqn).num_carry

    @property
    def length(self) -> int:
        return self.equation.params["length"]

    @property
    def operand_avals(self) -> Sequence[Any]:
        return self.equation.operand_avals

    @property
    def is_forward(self) -> bool:
        """True if the sources are no more than the results."""
        inputs = sum(self.operand_avals[i].size for i in self.active)
        results = self.equation.result_avals
        return inputs <= sum(results[r].size for r in self.inexact_results)

    @property
    def stacked_sources(self) -> list[int]:
        return [s for s in self.active if self.is_stacked(s)]

    def split(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Constants, initial carries and stacked inputs."""
        first, last = self.num_consts, self.num_consts + self.num_carry
        operands = list(operands)
        return operands[:first], operands[first:last], operands[last:]

    def run(self, step, init, xs, *, backwards: bool = False) -> Any:
        """A loop of as many iterations, in the same direction or the other."""
        params = self.equation.params
        with self.equation.eqn.ctx.manager:
            return lax.scan(
                step,
                init,
                xs,
                length=self.length,
                reverse=params["reverse"] != backwards,
                unroll=params["unroll"],
            )

    @property
    def iterations(self):
        return jnp.arange(self.length, dtype=jnp.int32)

    @property
    def order(self) -> Sequence[int]:
        """The iterations one after the other."""
        times = range(self.length)
        return times[::-1] if self.equation.params["reverse"] else times

    def unrolled(self, body: Body, operands) -> tuple[list[Any], list[Blocks]]:
        """The results, and the partials of every iteration."""
        consts, carry, xs = self.split(operands)
        outputs, partials = {}, {}
        for t in self.order:
            results, partials[t] = body(*consts, *carry, *(x[t] for x in xs))
            carry, outputs[t] = results[: self.num_carry], results[self.num_carry :]
        times = range(self.length)
        ys = [jnp.stack(slices) for slices in zip(*(outputs[t] for t in times))]
        return [*carry, *ys], [partials[t] for t in times]

    def entries(self, body: Body, ends: Sequence[Ends]) -> ScanEntries:
        """The entries of blocks `(result, operand)`."""
        sizes = [
            aval.size // max(1, self.length) if self.is_stacked(s) else aval.size
            for s, aval in enumerate(self.operand_avals)
        ]
        return ScanEntries(
            tuple(ends),
            tuple((e, block.pattern) for e, block in body.blocks.items()),
            tuple(sizes),
            self.num_consts,
            self.num_carry,
            self.length,
            bool(self.equation.params["reverse"]),
        )

    def direct(self, blocks: Blocks) -> list[tuple[Ends, str]]:
        """The blocks that go by the carries, with the kind of their stack."""
        return [
            ((r, s), "tied" if self.is_stacked(s) else "out")
            for r, s in blocks
            if r >= self.num_carry and s not in self.carries and s in self.active
        ]


def scan_blocks(
    equation: Equation,
    active: tuple[int, ...],
    operands: Sequence[Any],
    differentiate: Differentiate,
    known: Known,
) -> EvaluatedPartials:
    """The partials of a scan."""
    scan = Scan(equation, active)
    body = closed_body(scan, differentiate, known)
    run = _forward if scan.is_forward else _reverse
    results, blocks = run(scan, body, operands)
    blocks = [(r, s, block) for r, s, block in blocks if not block.pattern.is_zero]
    pairs = [(s, r, block.pattern) for r, s, block in blocks]
    values = [block.values for _, _, block in blocks]
    refine = scan.entries(body, [(r, s) for r, s, _ in blocks])
    return EvaluatedPartials(pairs, results, values, refine)


def _unrolls(scan: Scan, body: Body, patterns: Carried) -> bool:
    """True if each iteration is to have blocks of its own structure."""
    longest = min(MAX_UNROLLED, MAX_EQUATIONS // body.num_equations)
    return 0 < scan.length <= longest and bool(patterns.grow)


def _forward(scan: Scan, body: Body, operands) -> tuple[list[Any], Entries]:
    """Carries `D[c, s]` along with the carries."""
    steps = ForwardSteps(scan, body)
    init = steps.init()
    patterns = carried(init, steps.advance, scan, body)
    if _unrolls(scan, body, patterns):
        return _forward_unrolled(scan, body, operands)
    consts, carry, xs = scan.split(operands)

    def step(state, slices):
        (carry, D), (t, xs) = state, slices
        results, J = body(*consts, *carry, *xs)
        outputs = results[scan.num_carry :], steps.sliced(D, J)
        D = patterns.stored(steps.advance(D, J, t))
        return (results[: scan.num_carry], D), outputs

    start = carry, patterns.stored(init)
    (carry, final), (ys, sliced) = scan.run(step, start, (scan.iterations, xs))
    blocks = [(*e, patterns.final(e, final[e])) for e in init]
    for kind, slices in sliced.items():
        blocks += [(*e, stacked(b, scan.length, kind)) for e, b in slices.items()]
    return [*carry, *ys], blocks


def _forward_unrolled(scan: Scan, body: Body, operands) -> tuple[list[Any], Entries]:
    steps = ForwardSteps(scan, body)
    D = steps.init()
    results, partials = scan.unrolled(body, operands)
    sliced = {}
    for t in scan.order:
        sliced[t] = steps.sliced(D, partials[t])
        D = steps.advance(D, partials[t], t)
    blocks = [(*ends, block) for ends, block in D.items()]
    for kind in ("out", "tied"):
        by_time = [sliced[t][kind] for t in range(scan.length)]
        blocks += stacked_each(by_time, kind)
    return results, blocks


def _reverse(scan: Scan, body: Body, operands) -> tuple[list[Any], Entries]:
    """Goes back through the stored partials with `A[r, c]`."""
    steps = _ReverseSteps(scan, body)
    init = steps.init()
    patterns = carried(init, steps.advance, scan, body)
    if _unrolls(scan, body, patterns):
        return _reverse_unrolled(scan, body, operands)
    consts, carry, xs = scan.split(operands)

    def step(carry, xs):
        results, J = body(*consts, *carry, *xs)
        return results[: scan.num_carry], (results[scan.num_carry :], J)

    carry, (ys, partials) = scan.run(step, carry, xs)

    def back(A, slices):
        t, J = slices
        sliced = steps.sliced(A, J)
        return patterns.stored(steps.advance(A, J, t)), sliced

    start = patterns.stored(init)
    slices = scan.iterations, partials
    final, sliced = scan.run(back, start, slices, backwards=True)
    ends = [(r, s) for r, s in init if s in scan.active]
    blocks = [(*e, patterns.final(e, final[e])) for e in ends]
    blocks += [(*e, stacked(block, scan.length, "in")) for e, block in sliced.items()]
    for (r, s), kind in scan.direct(partials):
        blocks.append((r, s, stacked(partials[r, s], scan.length, kind)))
    return [*carry, *ys], blocks


def _reverse_unrolled(scan: Scan, body: Body, operands) -> tuple[list[Any], Entries]:
    steps = _ReverseSteps(scan, body)
    A = steps.init()
    results, partials = scan.unrolled(body, operands)
    sliced = {}
    for t in reversed(scan.order):
        sliced[t] = steps.sliced(A, partials[t])
        A = steps.advance(A, partials[t], t)
    blocks = [(r, s, block) for (r, s), block in A.items() if s in scan.active]
    times = range(scan.length)
    blocks += stacked_each([sliced[t] for t in times], "in")
    for ends, kind in scan.direct(body.blocks):
        blocks += stacked_each([{ends: partials[t][ends]} for t in times], kind)
    return results, blocks


class _ReverseSteps:
    """An iteration of reverse accumulation."""

    def __init__(self, scan: Scan, body: Body):
        self.scan, self.carries = scan, scan.reached_carries(body)

    def init(self) -> dict[Ends, NumericBlock]:
        """`A` after the last iteration; constants collect theirs on the way."""
        scan, init = self.scan, {}
        for r in scan.inexact_results:
            for c in self.carries:
                s = scan.carries[c]
                init[r, s] = scan.identity(r) if r == c else scan.zero(r, s)
            for s in scan.active:
                if s < scan.num_consts:
                    init[r, s] = scan.zero(r, s)
        return init

    def _chain(self, r: int, s: int, A: Blocks, J: Blocks, base: NumericBlock):
        """`base + sum of A[r, c] @ J[c, s]`."""
        for c in self.carries:
            if (c, s) in J:
                base = base.add_product(A[r, self.scan.carries[c]], J[c, s])
        return base

    def advance(self, A: Blocks, J: Blocks, t) -> dict[Ends, NumericBlock]:
        """`A` before an iteration."""
        scan, advanced = self.scan, {}
        for r, s in A:
            base = A[r, s] if s < scan.num_consts else scan.zero(r, s)
            if r >= scan.num_carry and s in scan.carries and (r, s) in J:
                base = placed(J[r, s], scan.length, t, "out")
            advanced[r, s] = self._chain(r, s, A, J, base)
        return advanced

    def sliced(self, A: Blocks, J: Blocks) -> dict[Ends, NumericBlock]:
        """The blocks of results with respect to slices of stacked inputs."""
        scan, blocks = self.scan, {}
        for r in scan.inexact_results:
            for s in scan.stacked_sources:
                zero = scan.zero(r, s, source_slice=True)
                blocks[r, s] = self._chain(r, s, A, J, zero)
        return blocks
