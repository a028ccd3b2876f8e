"""The Jacobian of a scan, carried through its iterations.

Forward: `D[c, s]`, the derivative of carry `c` with respect to source `s` (a constant,
an initial carry, or the stacked inputs), advances with the carry. Reverse: `A[r, c]`,
the derivative of result `r` with respect to carry `c`, goes back through the stored
partials of the body. Either way a pattern is found first that the carried blocks never
leave, so that nothing grows with the length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
from jax import lax

from .._jaxpr.avals import is_complex, is_inexact
from .._jaxpr.program import Equation
from .._jaxpr.releases import scan_arity
from .._sparsity.pattern import identity, Pattern
from .body import Block, Body, Ends
from .carry import at, Blocks, stable, stacked


MakeBody = Callable[[Any, Sequence[int]], Body]


@dataclass(frozen=True)
class _Scan:
    """A scan equation: operands are constants, carries, stacked inputs; results are
    carries, stacked outputs. `active` are the operands that are differentiated."""

    equation: Equation
    active: tuple[int, ...]

    @property
    def num_consts(self) -> int:
        return scan_arity(self.equation.eqn).num_consts

    @property
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
    def is_forward(self) -> bool:
        """Whether the sources are no more than the results."""
        inputs = sum(self.equation.operand_avals[i].size for i in self.active)
        results = self.equation.result_avals
        return inputs <= sum(aval.size for aval in results if is_inexact(aval))

    def is_stacked(self, source: int) -> bool:
        return source >= self.num_consts + self.num_carry

    def sources(self, *, stacked: bool) -> list[int]:
        return [s for s in self.active if self.is_stacked(s) == stacked]

    def zero(self, result: int, source: int, stacked_out: bool = False) -> Block:
        """The zero block from a source to a carry or one slice of a result."""
        out = self.equation.result_avals[result]
        inp = self.equation.operand_avals[source]
        shape = out.shape
        if result >= self.num_carry and not stacked_out:
            shape = shape[1:]
        pattern = Pattern(shape, inp.shape, (), is_complex(out), is_complex(inp))
        return Block(pattern, (), out.dtype)

    def identity(self, carry: int) -> Block:
        aval = self.equation.result_avals[carry]
        pattern = identity(aval.shape, complex=is_complex(aval))
        return Block(pattern, (None,) * len(pattern.terms), aval.dtype)


def scan_blocks(
    equation: Equation, active: tuple[int, ...], operands: Sequence[Any], body: MakeBody
):
    """`(pairs, results, values)` of a scan, as a `Template` has them."""
    scan = _Scan(equation, active)
    made = _stable_body(scan, body)
    run = _forward if scan.is_forward else _reverse
    results, blocks = run(scan, made, operands)
    found = [(r, s, block) for r, s, block in blocks if not block.pattern.is_zero]
    pairs = [(s, r, block.pattern) for r, s, block in found]
    return pairs, results, [block.values for _, _, block in found]


def _stable_body(scan: _Scan, make: MakeBody) -> Body:
    """The body, differentiated in every carry that comes to depend on the sources."""
    active = set(scan.active)
    while True:
        body = make(scan.equation.params["jaxpr"], sorted(active))
        reached = {
            scan.num_consts + out for out, _ in body.patterns if out < scan.num_carry
        }
        if reached <= active:
            return body
        active |= reached


def _run(scan: _Scan, step, init, stacked, reverse: bool) -> Any:
    with scan.equation.eqn.ctx.manager:
        return lax.scan(
            step,
            init,
            stacked,
            length=scan.length,
            reverse=reverse,
            unroll=scan.equation.params["unroll"],
        )


def _split(scan: _Scan, operands: Sequence[Any]):
    first, last = scan.num_consts, scan.num_consts + scan.num_carry
    consts, carries, stacked = operands[:first], operands[first:last], operands[last:]
    return list(consts), list(carries), list(stacked)


def _inexact_carries(scan: _Scan, body: Body) -> list[int]:
    """The carries that depend on a source, by their number among the results."""
    inputs = {inp for _, inp in body.patterns}
    outputs = {out for out, _ in body.patterns}
    return [
        c
        for c in range(scan.num_carry)
        if c in outputs or scan.num_consts + c in inputs
    ]


def _forward(scan: _Scan, body: Body, operands):
    """Carries `D[c, s]` along with the carries."""
    carries = _inexact_carries(scan, body)
    init = {
        (c, s): scan.identity(c) if s == scan.carries[c] else scan.zero(c, s)
        for c in carries
        for s in scan.active
    }

    def chain(result: int, s: int, D: Blocks, J: Blocks, base: Block) -> Block:
        for c in carries:
            if (result, scan.carries[c]) in J:
                base = base.add_product(J[result, scan.carries[c]], D[c, s])
        return base

    def advance(D: Blocks, J: Blocks, t) -> dict[Ends, Block]:
        new = {}
        for c, s in D:
            base = scan.zero(c, s)
            if s not in scan.carries and (c, s) in J:
                direct = J[c, s]
                base = (
                    at(direct, scan.length, t, "in") if scan.is_stacked(s) else direct
                )
            new[c, s] = chain(c, s, D, J, base)
        return new

    patterns = stable(init, body, advance)
    stacked_results = range(scan.num_carry, len(scan.equation.result_avals))
    sliced: dict[str, dict[Ends, Block]] = {}

    def outputs(D: Blocks, J: Blocks) -> dict[Ends, Block]:
        found = {}
        for r in (
            r for r in stacked_results if is_inexact(scan.equation.result_avals[r])
        ):
            for s in scan.active:
                const = s < scan.num_consts
                base = J.get((r, s)) if const else None
                found[r, s] = chain(r, s, D, J, base or scan.zero(r, s))
        return found

    def tied(J: Blocks) -> dict[Ends, Block]:
        return {
            (r, s): J[r, s]
            for r in stacked_results
            for s in scan.sources(stacked=True)
            if (r, s) in J
        }

    def step(state, slices):
        (carry, values), (t, xs) = state, slices
        D = {e: Block(patterns[e], values[e], init[e].dtype) for e in init}
        results, J = body(*consts, *carry, *xs)
        found = {"out": outputs(D, J), "tied": tied(J)}
        sliced.update({kind: _bare(blocks) for kind, blocks in found.items()})
        D = {e: block.into(patterns[e]) for e, block in advance(D, J, t).items()}
        ys = results[scan.num_carry :], {k: _values(v) for k, v in found.items()}
        return (results[: scan.num_carry], D), ys

    consts, carry, xs = _split(scan, operands)
    start = {e: block.into(patterns[e]) for e, block in init.items()}
    (carry, final), (ys, values) = _run(
        scan, step, (carry, start), (_times(scan), xs), scan.equation.params["reverse"]
    )
    blocks = [
        (c, s, Block(patterns[c, s], final[c, s], init[c, s].dtype)) for c, s in init
    ]
    for kind, found in sliced.items():
        for ends, block in found.items():
            block = block._replace(values=values[kind][ends])
            blocks.append((*ends, stacked(block, scan.length, kind)))
    return [*carry, *ys], blocks


def _reverse(scan: _Scan, body: Body, operands):
    """Goes back through the stored partials with `A[r, c]`."""
    carries = _inexact_carries(scan, body)
    consts, carry, xs = _split(scan, operands)

    def step(carry, xs):
        results, J = body(*consts, *carry, *xs)
        values = {e: block.values for e, block in J.items()}
        return results[: scan.num_carry], (results[scan.num_carry :], values)

    reverse = scan.equation.params["reverse"]
    carry, stacks = _run(scan, step, carry, xs, reverse)
    ys: list[Any] = stacks[0]
    stored: dict[Ends, Any] = stacks[1]
    avals = scan.equation.result_avals
    rows = [r for r in range(len(avals)) if is_inexact(avals[r])]
    gathered = [s for s in scan.active if s < scan.num_consts]
    init = {}
    for r in rows:
        for c in carries:
            zero = scan.zero(r, scan.carries[c], stacked_out=True)
            init[r, scan.carries[c]] = scan.identity(r) if r == c else zero
        for s in gathered:
            init[r, s] = scan.zero(r, s, stacked_out=True)

    def chain(r: int, s: int, A: Blocks, J: Blocks, base: Block) -> Block:
        for c in carries:
            if (c, s) in J:
                base = base.add_product(A[r, scan.carries[c]], J[c, s])
        return base

    def advance(A: Blocks, J: Blocks, t) -> dict[Ends, Block]:
        new = {}
        for r, s in A:
            base = A[r, s] if s in gathered else scan.zero(r, s, stacked_out=True)
            if r >= scan.num_carry and s in scan.carries and (r, s) in J:
                base = at(J[r, s], scan.length, t, "out")
            new[r, s] = chain(r, s, A, J, base)
        return new

    patterns = stable(init, body, advance)
    sliced: dict[Ends, Block] = {}

    def back(values, slices):
        t, stored = slices
        A = {e: Block(patterns[e], values[e], init[e].dtype) for e in init}
        J = {
            e: Block(body.patterns[e], v, body.dtypes[e[0]]) for e, v in stored.items()
        }
        found = {
            (r, s): chain(r, s, A, J, _slice_zero(scan, r, s))
            for r in rows
            for s in scan.sources(stacked=True)
        }
        sliced.update(_bare(found))
        A = {e: block.into(patterns[e]) for e, block in advance(A, J, t).items()}
        return A, {e: block.values for e, block in found.items()}

    start = {e: block.into(patterns[e]) for e, block in init.items()}
    ended = _run(scan, back, start, (_times(scan), stored), not reverse)
    final: dict[Ends, Any] = ended[0]
    values: dict[Ends, Any] = ended[1]
    blocks = [
        (r, s, Block(patterns[r, s], final[r, s], init[r, s].dtype))
        for r, s in init
        if s in scan.active
    ]
    for ends, block in sliced.items():
        block = block._replace(values=values[ends])
        blocks.append((*ends, stacked(block, scan.length, "in")))
    for (r, s), pattern in body.patterns.items():
        if r >= scan.num_carry and s not in scan.carries and s in scan.active:
            block = Block(pattern, stored[r, s], body.dtypes[r])
            kind = "tied" if scan.is_stacked(s) else "out"
            blocks.append((r, s, stacked(block, scan.length, kind)))
    return [*carry, *ys], blocks


def _slice_zero(scan: _Scan, r: int, s: int) -> Block:
    """The zero block from one slice of a stacked input to a whole result."""
    zero = scan.zero(r, s, stacked_out=True)
    pattern = replace(zero.pattern, in_shape=zero.pattern.in_shape[1:])
    return zero._replace(pattern=pattern)


def _values(blocks: Blocks) -> dict[Ends, Any]:
    return {ends: block.values for ends, block in blocks.items()}


def _bare(blocks: Blocks) -> dict[Ends, Block]:
    """Blocks without their values, which must not leave the loop's body."""
    return {ends: block._replace(values=()) for ends, block in blocks.items()}


def _times(scan: _Scan):
    return jnp.arange(scan.length, dtype=jnp.int32)
