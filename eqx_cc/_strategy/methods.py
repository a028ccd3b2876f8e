"""The methods that accumulate a Jacobian: one sweep, or elimination of arrays or of
their entries."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from jax import lax
from jaxtyping import Array

from .._blocks.arrays import as_numbers
from .._blocks.partial import Partial
from .._jaxpr.closed import Traced
from .._jaxpr.program import evaluate, Program
from .._linearise.body import Block
from .._linearise.interpreter import accumulated, Factorised, factorised, linearise
from .._linearise.storage import structured_limit
from .._orders.orderings import AbstractOrdering
from .._scalarise.expand import NotScalar, ScalarProgram
from .._scalarise.jacobian import scalar_jacobian
from .._sparsity.pattern import dense_pattern, Pattern
from .granularity import Granularity, scalars_of
from .sweep import Direction, sweep


@dataclass(frozen=True)
class Problem:
    """A program of which the first `count` outputs are to be differentiated; the others
    are auxiliary. `with_value`: whether these outputs themselves are wanted."""

    program: Program
    count: int
    with_value: bool

    @property
    def avals(self) -> tuple[Any, ...]:
        """The abstract values of the outputs to be differentiated."""
        return self.program.output_avals[: self.count]

    @property
    def has_auxiliary(self) -> bool:
        return len(self.program.outputs) > self.count


class Jacobian(NamedTuple):
    """The outputs, those that are auxiliary, and the blocks of the Jacobian: a row for
    each output. `outputs` may be empty if they are not wanted."""

    outputs: list[Any]
    auxiliary: list[Any]
    blocks: list[list[Partial]]

    def materialise(self) -> list[Array]:
        """The dense blocks."""
        return [block.materialise() for row in self.blocks for block in row]


@dataclass(frozen=True)
class AbstractMethod(abc.ABC):
    """A method that accumulates the Jacobian of a problem at the arrays `leaves`."""

    name: ClassVar[str]

    @abc.abstractmethod
    def __call__(self, problem: Problem, leaves: Sequence[Array]) -> Jacobian: ...


@dataclass(frozen=True)
class _AbstractSweep(AbstractMethod):
    """One pass of JAX's own for all directions. Raises `NotDifferentiable` where JAX
    has no such pass."""

    direction: ClassVar[Direction]

    def __call__(self, problem: Problem, leaves: Sequence[Array]) -> Jacobian:
        count = problem.count
        outputs, blocks = sweep(problem.program, leaves, count, self.direction)
        rows = [[blocks.get((i, j)) for j in range(len(leaves))] for i in range(count)]
        rows = dense_rows(problem.avals, leaves, rows)
        return Jacobian(outputs[:count], outputs[count:], rows)


@dataclass(frozen=True)
class ForwardMode(_AbstractSweep):
    name: ClassVar[str] = "forward mode of JAX"
    direction: ClassVar[Direction] = "forward"


@dataclass(frozen=True)
class ReverseMode(_AbstractSweep):
    name: ClassVar[str] = "reverse mode of JAX"
    direction: ClassVar[Direction] = "reverse"


@dataclass(frozen=True)
class ArrayElimination(AbstractMethod):
    """Vertex elimination of arrays. Blocks of `low_rank` may keep their factors; with a
    `structured` result, what is stored has a limit."""

    order: AbstractOrdering
    structured: bool = False
    low_rank: bool = False
    name: ClassVar[str] = "elimination of arrays"

    def __call__(self, problem: Problem, leaves: Sequence[Array]) -> Jacobian:
        count, order = problem.count, self.order
        program, active = problem.program, range(len(leaves))
        limit = structured_limit(program, leaves) if self.structured else math.inf
        made = linearise(program, leaves, active, order, count, limit=limit)
        if self.low_rank:
            blocks = factorised(made, order)
        else:
            blocks = {e: Factorised(b, []) for e, b in accumulated(made, order).items()}
        outputs = made.outputs[:count]
        rows = [
            [_partial(blocks.get((i, j)), out, leaf) for j, leaf in enumerate(leaves)]
            for i, out in enumerate(outputs)
        ]
        return Jacobian(outputs, made.outputs[count:], rows)


@dataclass(frozen=True)
class EntryElimination(AbstractMethod):
    """Vertex elimination of the single entries of arrays. Raises `NotScalar` where a
    program is not expanded into them; `scalars` is this expansion, if there is one
    already."""

    order: AbstractOrdering
    granularity: Granularity
    scalars: ScalarProgram | None = None
    name: ClassVar[str] = "elimination of scalars"

    def __call__(self, problem: Problem, leaves: Sequence[Array]) -> Jacobian:
        scalars, avals, wanted = self.scalars, problem.avals, problem.with_value
        if scalars is None:
            scalars = expansion(problem, leaves, self.order, self.granularity)
        if scalars is None:
            raise NotScalar("arrays are the better vertices.")
        is_same = scalars.is_strict and not problem.has_auxiliary
        outputs, rows = scalar_jacobian(
            scalars, leaves, avals, self.order, wanted and is_same
        )
        auxiliary = []
        if problem.has_auxiliary or (wanted and not scalars.is_strict):
            values = evaluate(problem.program, leaves)
            outputs, auxiliary = values[: problem.count], values[problem.count :]
        return Jacobian(outputs, auxiliary, dense_rows(avals, leaves, rows))


def expansion(
    problem: Problem,
    leaves: Sequence[Array],
    order: AbstractOrdering,
    granularity: Granularity,
) -> ScalarProgram | None:
    """The scalarised program, or None to keep arrays as vertices."""
    return scalars_of(problem.program, leaves, problem.count, order, granularity)


class Prepared(NamedTuple):
    """A method for one problem; it has been traced if selecting it took that."""

    method: AbstractMethod
    problem: Problem
    traced: Traced[Jacobian] | None = None

    def __call__(self, leaves: Sequence[Array]) -> Jacobian:
        if self.traced is None:
            return self.method(self.problem, leaves)
        return self.traced(leaves)


def prepare(
    method: AbstractMethod, problem: Problem, leaves: Sequence[Array]
) -> Prepared:
    """Traces a method: it raises what the method raises."""
    traced = Traced(lambda leaves: method(problem, leaves), leaves)
    return Prepared(method, problem, traced)


def dense_rows(avals, leaves, rows) -> list[list[Partial]]:
    """The blocks of the Jacobian as `Partial`s, from their arrays; None is zero."""
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
