"""The Jacobian of a scan, carried through its iterations.

Forward: `D[c, s]`, the derivative of carry `c` with respect to source `s` (a constant,
an initial carry, or the stacked inputs), advances with the carry. Reverse: `A[r, c]`,
the derivative of result `r` with respect to carry `c`, goes back through the stored
partials `J` of the body. With `c'` for the carries of one iteration before:

    forward   D[c, s] = J[c, s] + sum over c' of J[c, c'] @ D[c', s]
    reverse   A[r, s] = J[r, s] + sum over c of A[r, c] @ J[c, s]

Either way a pattern is fixed first that the carried blocks never leave, so that nothing
grows with the length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
from jax import lax

from .._blocks.block import NumericBlock
from .._jaxpr.avals import is_complex, is_inexact
from .._jaxpr.program import Equation
from .._jaxpr.releases import scan_arity
from .._sparsity.pattern import identity, Pattern
from .body import at, Blocks, Body, Differentiate, Ends, stable_patterns, stacked


Entries = list[tuple[int, int, NumericBlock]]


@dataclass(frozen=True)
class _Scan:
    """A scan equation: operands are constants, carries, stacked inputs; results are
    carries, stacked outputs. `active` are the operands that are differentiated."""

    equation: Equation
    active: tuple[int, ...]

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
    def carries(self) -> range:
        """The body's inputs that are carries."""
        return range(self.num_consts, self.num_consts + self.num_carry)

    @property
    def inexact_results(self) -> list[int]:
        avals = self.equation.result_avals
        return [r for r, aval in enumerate(avals) if is_inexact(aval)]

    @property
    def is_forward(self) -> bool:
        """True if the sources are no more than the results."""
        inputs = sum(self.equation.operand_avals[i].size for i in self.active)
        results = self.equation.result_avals
        return inputs <= sum(results[r].size for r in self.inexact_results)

    def is_stacked(self, source: int) -> bool:
        return source >= self.num_consts + self.num_carry

    @property
    def stacked_sources(self) -> list[int]:
        return [s for s in self.active if self.is_stacked(s)]

    def reached_carries(self, body: Body) -> list[int]:
        """The carries that a block leads from or to, by their number among results."""
        outputs = {out for out, _ in body.blocks}
        inputs = {inp - self.num_consts for _, inp in body.blocks}
        return sorted((outputs | inputs) & {*range(self.num_carry)})

    def zero(
        self, result: int, source: int, *, result_slice=False, source_slice=False
    ) -> NumericBlock:
        """The zero block from a source to a result, or between slices of stacks."""
        out = self.equation.result_avals[result]
        inp = self.equation.operand_avals[source]
        shapes = (
            out.shape[1:] if result_slice and result >= self.num_carry else out.shape,
            inp.shape[1:] if source_slice else inp.shape,
        )
        pattern = Pattern(*shapes, (), is_complex(out), is_complex(inp))
        return NumericBlock(pattern, (), out.dtype)

    def identity(self, carry: int) -> NumericBlock:
        aval = self.equation.result_avals[carry]
        pattern = identity(aval.shape, complex=is_complex(aval))
        return NumericBlock(pattern, (None,) * len(pattern.terms), aval.dtype)

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


def scan_blocks(
    equation: Equation,
    active: tuple[int, ...],
    operands: Sequence[Any],
    differentiate: Differentiate,
):
    """The pairs `(operand, result, pattern)` of a scan, its results, and the values of
    the pairs."""
    scan = _Scan(equation, active)
    body = _closed_body(scan, differentiate)
    run = _forward if scan.is_forward else _reverse
    results, blocks = run(scan, body, operands)
    blocks = [(r, s, block) for r, s, block in blocks if not block.pattern.is_zero]
    pairs = [(s, r, block.pattern) for r, s, block in blocks]
    return pairs, results, [block.values for _, _, block in blocks]


def _closed_body(scan: _Scan, differentiate: Differentiate) -> Body:
    """The body, differentiated in every carry that comes to depend on the sources."""
    active = set(scan.active)
    while True:
        body = Body(scan.equation.params["jaxpr"], sorted(active), differentiate)
        reached = {scan.num_consts + r for r, _ in body.blocks if r < scan.num_carry}
        if reached <= active:
            return body
        active |= reached


def _forward(scan: _Scan, body: Body, operands) -> tuple[list[Any], Entries]:
    """Carries `D[c, s]` along with the carries."""
    steps = _ForwardSteps(scan, body)
    init = {
        (c, s): scan.identity(c) if s == scan.carries[c] else scan.zero(c, s)
        for c in steps.carries
        for s in scan.active
    }
    patterns = stable_patterns(init, body, steps.advance)
    consts, carry, xs = scan.split(operands)

    def step(state, slices):
        (carry, D), (t, xs) = state, slices
        results, J = body(*consts, *carry, *xs)
        outputs = results[scan.num_carry :], steps.sliced(D, J)
        D = _stored_in(patterns, steps.advance(D, J, t))
        return (results[: scan.num_carry], D), outputs

    start = carry, _stored_in(patterns, init)
    (carry, final), (ys, sliced) = scan.run(step, start, (scan.iterations, xs))
    blocks = [(*ends, final[ends]) for ends in init]
    for kind, slices in sliced.items():
        blocks += [(*e, stacked(b, scan.length, kind)) for e, b in slices.items()]
    return [*carry, *ys], blocks


class _ForwardSteps:
    """An iteration of forward accumulation."""

    def __init__(self, scan: _Scan, body: Body):
        self.scan, self.carries = scan, scan.reached_carries(body)

    def _chain(self, r: int, s: int, D: Blocks, J: Blocks, base: NumericBlock):
        """`base + sum of J[r, c] @ D[c, s]`."""
        for c in self.carries:
            if (r, self.scan.carries[c]) in J:
                base = base.add_product(J[r, self.scan.carries[c]], D[c, s])
        return base

    def advance(self, D: Blocks, J: Blocks, t) -> dict[Ends, NumericBlock]:
        """`D` after an iteration."""
        scan, advanced = self.scan, {}
        for c, s in D:
            base = scan.zero(c, s)
            if s not in scan.carries and (c, s) in J:
                base = J[c, s]
                if scan.is_stacked(s):
                    base = at(base, scan.length, t, "in")
            advanced[c, s] = self._chain(c, s, D, J, base)
        return advanced

    def sliced(self, D: Blocks, J: Blocks) -> dict[str, dict[Ends, NumericBlock]]:
        """The blocks of slices of stacked outputs, by the side that is stacked."""
        scan = self.scan
        results = [r for r in scan.inexact_results if r >= scan.num_carry]
        out = {}
        for r in results:
            for s in scan.active:
                base = J.get((r, s)) if s < scan.num_consts else None
                base = base or scan.zero(r, s, result_slice=True)
                out[r, s] = self._chain(r, s, D, J, base)
        pairs = [(r, s) for r in results for s in scan.stacked_sources]
        return {"out": out, "tied": {ends: J[ends] for ends in pairs if ends in J}}


def _reverse(scan: _Scan, body: Body, operands) -> tuple[list[Any], Entries]:
    """Goes back through the stored partials with `A[r, c]`."""
    steps = _ReverseSteps(scan, body)
    consts, carry, xs = scan.split(operands)

    def step(carry, xs):
        results, J = body(*consts, *carry, *xs)
        return results[: scan.num_carry], (results[scan.num_carry :], J)

    carry, (ys, partials) = scan.run(step, carry, xs)
    init = steps.init()
    patterns = stable_patterns(init, body, steps.advance)

    def back(A, slices):
        t, J = slices
        sliced = steps.sliced(A, J)
        return _stored_in(patterns, steps.advance(A, J, t)), sliced

    start = _stored_in(patterns, init)
    slices = scan.iterations, partials
    final, sliced = scan.run(back, start, slices, backwards=True)
    blocks = [(r, s, final[r, s]) for r, s in init if s in scan.active]
    blocks += [(*e, stacked(block, scan.length, "in")) for e, block in sliced.items()]
    for (r, s), block in partials.items():
        if r >= scan.num_carry and s not in scan.carries and s in scan.active:
            kind = "tied" if scan.is_stacked(s) else "out"
            blocks.append((r, s, stacked(block, scan.length, kind)))
    return [*carry, *ys], blocks


class _ReverseSteps:
    """An iteration of reverse accumulation."""

    def __init__(self, scan: _Scan, body: Body):
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
                base = at(J[r, s], scan.length, t, "out")
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


def _stored_in(patterns: dict[Ends, Pattern], blocks: Blocks) -> Blocks:
    return {e: block.stored_in(patterns[e]) for e, block in blocks.items()}
