"""The ways to a Jacobian: eliminating arrays, eliminating scalars, one sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from jax import lax
from jaxtyping import Array

from ._arrays import as_numbers
from ._body import Block
from ._linearise import accumulated, Factorised, factorised, linearise
from ._ordering import AbstractOrdering
from ._partial import Partial
from ._pattern import dense_pattern, Pattern
from ._program import evaluate, Program
from ._scalarise import ScalarProgram
from ._scalars import scalar_jacobian
from ._sweep import Direction, sweep


@dataclass(frozen=True)
class Problem:
    """A program of which the first `count` outputs are to be differentiated; the others
    are auxiliary. `with_value`: whether these outputs themselves are wanted. `tried`
    are the ways that were gone, of which the last one is taken."""

    program: Program
    count: int
    with_value: bool
    tried: list[str] = field(default_factory=list)

    @property
    def avals(self) -> tuple[Any, ...]:
        """What is known of the outputs to be differentiated."""
        return self.program.output_avals[: self.count]

    @property
    def has_auxiliary(self) -> bool:
        return len(self.program.outputs) > self.count


class Found(NamedTuple):
    """The outputs, those that are auxiliary, and the blocks of the Jacobian: a row for
    each output. `outputs` may be empty if they are not wanted."""

    outputs: list[Any]
    auxiliary: list[Any]
    blocks: list[list[Partial]]


def by_arrays(
    problem: Problem,
    leaves: Sequence[Array],
    order: AbstractOrdering,
    low_rank: bool = False,
) -> Found:
    """Vertex elimination of arrays; blocks of `low_rank` may keep their factors."""
    problem.tried.append("elimination of arrays")
    count = problem.count
    made = linearise(problem.program, leaves, range(len(leaves)), order, count)
    if low_rank:
        blocks = factorised(made, order)
    else:
        blocks = {e: Factorised(b, []) for e, b in accumulated(made, order).items()}
    outputs = made.outputs[:count]
    rows = [
        [_partial(blocks.get((i, j)), out, leaf) for j, leaf in enumerate(leaves)]
        for i, out in enumerate(outputs)
    ]
    return Found(outputs, made.outputs[count:], rows)


def by_scalars(
    problem: Problem,
    made: ScalarProgram,
    leaves: Sequence[Array],
    order: AbstractOrdering,
) -> Found:
    """Vertex elimination of the single entries of arrays."""
    problem.tried.append("elimination of scalars")
    avals, wanted = problem.avals, problem.with_value
    is_same = made.is_strict and not problem.has_auxiliary
    outputs, rows = scalar_jacobian(made, leaves, avals, order, wanted and is_same)
    auxiliary = []
    if problem.has_auxiliary or (wanted and not made.is_strict):
        every = evaluate(problem.program, leaves)
        outputs, auxiliary = every[: problem.count], every[problem.count :]
    return Found(outputs, auxiliary, _dense_rows(avals, leaves, rows))


def by_sweep(problem: Problem, leaves: Sequence[Array], direction: Direction) -> Found:
    """One pass of forward or reverse mode for all directions."""
    problem.tried.append(f"{direction} mode of JAX")
    count = problem.count
    outputs, blocks = sweep(problem.program, leaves, count, direction)
    rows = [[blocks.get((i, j)) for j in range(len(leaves))] for i in range(count)]
    rows = _dense_rows(problem.avals, leaves, rows)
    return Found(outputs[:count], outputs[count:], rows)


def _dense_rows(avals, leaves, rows) -> list[list[Partial]]:
    return [
        [
            _partial(None, out, leaf) if block is None else _dense(block, out, leaf)
            for block, leaf in zip(row, leaves)
        ]
        for out, row in zip(avals, rows)
    ]


def _dense(block: Array, out: Any, leaf: Array) -> Partial:
    pattern = dense_pattern(out.shape, leaf.shape)
    values = tuple(lax.reshape(block, term.value_shape) for term in pattern.terms)
    return Partial(pattern, values, block.dtype)


def _partial(found: Factorised | None, out: Any, leaf: Array) -> Partial:
    rest, factors = found or (None, [])
    if rest is None:
        rest = Block(Pattern(out.shape, leaf.shape, ()), (), out.dtype)
    sides = tuple((_stored(left), _stored(right)) for left, right in factors)
    return replace(_stored(rest), factors=sides)


def _stored(block: Block) -> Partial:
    """A block whose masks are numbers."""
    values = (v if v is None else as_numbers(v, block.dtype) for v in block.values)
    terms = tuple(replace(term, kind="value") for term in block.pattern.terms)
    return Partial(replace(block.pattern, terms=terms), tuple(values), block.dtype)
