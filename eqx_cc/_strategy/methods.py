"""Methods that accumulate a Jacobian: forward mode, reverse mode, and elimination of
arrays or of scalars."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .._blocks.algebra import trace
from .._blocks.arrays import as_numbers
from .._blocks.block import NumericBlock
from .._blocks.convert import sorted_positions
from .._blocks.coordinates import Entries
from .._blocks.partial import Partial
from .._jaxpr.closed import TracedFunction
from .._jaxpr.program import evaluate, Program
from .._linearise.interpreter import (
    diagonal_blocks,
    eliminated_blocks,
    entries_of_blocks,
    linearise,
    low_rank_blocks,
    LowRankBlock,
)
from .._linearise.storage import structured_limit
from .._orders.orderings import AbstractOrdering, Given
from .._scalarise.expand import NotScalar, ScalarProgram
from .._scalarise.jacobian import scalar_jacobian
from .._scalarise.merge import merged
from .._scalarise.small_arrays import evaluated_natively
from .._sparsity.pattern import dense_pattern, Pattern
from .granularity import Granularity, is_compiled, scalarised
from .sweep import DenseBlocks, diagonal_sums, Direction, sweep


@dataclass(frozen=True)
class Problem:
    """A program at the arrays `leaves`. Its first `num_outputs` outputs are
    differentiated; the others are auxiliary. `with_value` is `False` if nobody reads
    the values of the former; `chunk_size` is the number of rows or columns that are
    computed at a time, if it is limited."""

    program: Program
    num_outputs: int
    leaves: Sequence[Array]
    granularity: Granularity = "auto"
    with_value: bool = False
    chunk_size: int | None = None

    @property
    def avals(self) -> tuple[Any, ...]:
        """The abstract values of the outputs to be differentiated."""
        return self.program.output_avals[: self.num_outputs]

    @property
    def has_auxiliary(self) -> bool:
        return len(self.program.outputs) > self.num_outputs

    def scalars(self, order: AbstractOrdering) -> ScalarProgram | None:
        """The scalarised program, or None to keep arrays as vertices."""
        options = self.num_outputs, order, self.granularity
        return scalarised(self.program, self.leaves, *options)

    def result(
        self, outputs: Sequence[Any], blocks: list[list[Partial]]
    ) -> JacobianBlocks:
        """The blocks with the outputs of the program that somebody reads."""
        count = self.num_outputs
        values = list(outputs[:count]) if self.with_value else []
        return JacobianBlocks(values, list(outputs[count:]), blocks)


class JacobianBlocks(NamedTuple):
    """The outputs, the auxiliary outputs, and the blocks of the Jacobian: a row for
    each output. `outputs` may be empty if the problem is not `with_value`."""

    outputs: list[Any]
    auxiliary: list[Any]
    blocks: list[list[Partial]]

    def materialise(self) -> list[Array]:
        """The dense blocks."""
        return [block.materialise() for row in self.blocks for block in row]


@dataclass(frozen=True)
class AbstractMethod(abc.ABC):
    """A method that accumulates the Jacobian of a problem."""

    name: ClassVar[str]

    @property
    def description(self) -> str:
        """What reports call it."""
        return self.name

    @abc.abstractmethod
    def __call__(self, problem: Problem) -> JacobianBlocks: ...


@dataclass(frozen=True)
class _AbstractSweep(AbstractMethod):
    """A sweep of JAX for all directions, or for `chunk_size` of them at a time. Raises
    `NotDifferentiable` where JAX has none."""

    chunk_size: int | None = None
    direction: ClassVar[Direction]
    lines: ClassVar[str]

    @property
    def description(self) -> str:
        if self.chunk_size is None:
            return self.name
        return f"{self.name}, {self.chunk_size} {self.lines} at a time"

    def __call__(self, problem: Problem) -> JacobianBlocks:
        count, leaves = problem.num_outputs, problem.leaves
        outputs, blocks = sweep(
            problem.program, leaves, count, self.direction, self.chunk_size
        )
        return problem.result(outputs, dense_rows(problem.avals, leaves, blocks))


@dataclass(frozen=True)
class ForwardMode(_AbstractSweep):
    name: ClassVar[str] = "forward mode of JAX"
    direction: ClassVar[Direction] = "forward"
    lines: ClassVar[str] = "columns"


@dataclass(frozen=True)
class ReverseMode(_AbstractSweep):
    name: ClassVar[str] = "reverse mode of JAX"
    direction: ClassVar[Direction] = "reverse"
    lines: ClassVar[str] = "rows"


@dataclass(frozen=True)
class ArrayElimination(AbstractMethod):
    """Vertex elimination of arrays. `low_rank`: blocks of low rank keep their factors.
    `structured`: the bytes of the blocks are limited."""

    order: AbstractOrdering
    structured: bool = False
    low_rank: bool = False
    name: ClassVar[str] = "elimination of arrays"

    def __call__(self, problem: Problem) -> JacobianBlocks:
        count, order = problem.num_outputs, self.order
        program, leaves = problem.program, problem.leaves
        limit = structured_limit(program, leaves) if self.structured else math.inf
        if self.structured and not isinstance(order, Given):
            program = merged(program, leaves)
        linearised = linearise(
            program, leaves, range(len(leaves)), order, count, limit=limit
        )
        if self.low_rank:
            blocks = low_rank_blocks(linearised, order)
        else:
            whole = eliminated_blocks(linearised, order)
            blocks = {edge: LowRankBlock(block, []) for edge, block in whole.items()}
        rows = [
            [_partial(blocks.get((i, j)), out, leaf) for j, leaf in enumerate(leaves)]
            for i, out in enumerate(linearised.outputs[:count])
        ]
        if not self.structured:
            rows = [[_dense(block) for block in row] for row in rows]
        else:
            for (i, j), flat in entries_of_blocks(linearised).items():
                rows[i][j] = _refined(rows[i][j], flat)
        return problem.result(linearised.outputs, rows)


@dataclass(frozen=True)
class ScalarElimination(AbstractMethod):
    """Vertex elimination of scalars. Raises `NotScalar` where a program is not expanded
    into them. `scalars` is the scalarised program, if there is one
    already."""

    order: AbstractOrdering
    scalars: ScalarProgram | None = None
    name: ClassVar[str] = "elimination of scalars"

    def __call__(self, problem: Problem) -> JacobianBlocks:
        leaves, count, avals = problem.leaves, problem.num_outputs, problem.avals
        scalars = self.scalars or problem.scalars(self.order)
        if scalars is None:
            raise NotScalar("arrays are faster as vertices.")
        # Values of the program itself: auxiliary outputs, and all that is not strict.
        from_program = problem.has_auxiliary or not scalars.is_strict
        outputs, rows = scalar_jacobian(
            scalars,
            leaves,
            avals,
            self.order,
            with_value=problem.with_value and not from_program,
        )
        auxiliary = []
        if problem.has_auxiliary or (problem.with_value and from_program):
            values = evaluate(problem.program, leaves)
            outputs, auxiliary = values[:count], values[count:]
        blocks = {
            (i, j): block for i, row in enumerate(rows) for j, block in enumerate(row)
        }
        return JacobianBlocks(outputs, auxiliary, dense_rows(avals, leaves, blocks))


class JacobianTrace(NamedTuple):
    """The outputs, the auxiliary outputs, and the trace of the Jacobian."""

    outputs: list[Any]
    auxiliary: list[Any]
    trace: Array


def trace_by_elimination(
    problem: Problem, order: AbstractOrdering, least: int = 2**30
) -> JacobianTrace:
    """The trace of a Jacobian whose outputs have the shapes of the leaves: of its
    blocks on the diagonal, by elimination of arrays up to the last product. `least` is
    the number of bytes that blocks may take in any case."""
    count, program, leaves = problem.num_outputs, problem.program, problem.leaves
    limit, active = structured_limit(program, leaves, least), range(len(leaves))
    linearised = linearise(program, leaves, active, order, count, limit=limit)
    blocks = diagonal_blocks(linearised, order)
    outputs, auxiliary = linearised.outputs[:count], linearised.outputs[count:]
    traces = [
        trace(_partial(blocks[i, i], out, leaf))
        for i, (out, leaf) in enumerate(zip(outputs, leaves))
        if (i, i) in blocks
    ]
    return JacobianTrace(outputs, auxiliary, _total(traces, problem.avals))


def trace_by_columns(problem: Problem) -> JacobianTrace:
    """The same by forward mode for one unit vector after the other, in the memory of a
    few vectors. Raises `NotDifferentiable` where JAX has no forward mode."""
    count, program, leaves = problem.num_outputs, problem.program, problem.leaves
    outputs, traces = diagonal_sums(program, leaves, count)
    return JacobianTrace(
        outputs[:count], outputs[count:], _total(traces, problem.avals)
    )


def _total(traces: Sequence[Array], avals: Sequence[Any]) -> Array:
    """The sum in the type that all outputs promote to."""
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*[aval.dtype for aval in avals])
    return sum((t.astype(dtype) for t in traces), jnp.zeros((), dtype))


class Prepared(NamedTuple):
    """A method for one problem. It has been traced if selecting it took that."""

    method: AbstractMethod
    problem: Problem
    traced: TracedFunction[JacobianBlocks] | None = None

    def __call__(self) -> JacobianBlocks:
        if self.traced is None:
            return self.method(self.problem)
        evaluate = evaluated_natively if is_compiled() else TracedFunction.__call__
        return evaluate(self.traced, self.problem.leaves)


def prepare(method: AbstractMethod, problem: Problem) -> Prepared:
    """Traces a method for one problem. Raises what the method raises."""
    traced = TracedFunction(
        lambda leaves: method(replace(problem, leaves=leaves)), problem.leaves
    )
    return Prepared(method, problem, traced)


def dense_rows(
    outputs: Sequence[Any], leaves: Sequence[Array], blocks: DenseBlocks
) -> list[list[Partial]]:
    """The dense blocks as `Partial`s. DenseBlocks that are missing are zero."""
    return [
        [
            _full(blocks[i, j], out.shape, leaf.shape)
            if (i, j) in blocks
            else _partial(None, out, leaf)
            for j, leaf in enumerate(leaves)
        ]
        for i, out in enumerate(outputs)
    ]


def _dense(block: Partial) -> Partial:
    pattern = block.pattern
    return _full(block.materialise(), pattern.out_shape, pattern.in_shape)


def _full(
    block: Array, out_shape: tuple[int, ...], in_shape: tuple[int, ...]
) -> Partial:
    pattern = dense_pattern(out_shape, in_shape)
    values = tuple(lax.reshape(block, term.value_shape) for term in pattern.terms)
    return Partial(pattern, values, block.dtype)


def _refined(block: Partial, flat: np.ndarray) -> Partial:
    """The block with the entries at positions `flat` alone, if it stores more."""
    pattern = block.pattern
    stored = math.prod(block.shape) if block.factors else pattern.num_nonzeros
    if len(flat) < stored and not block.factors and len(pattern.terms) > 1:
        stored = len(sorted_positions(pattern).rows)  # Several terms may share some.
    return block if len(flat) == stored else replace(block, entries=Entries(flat))


def _partial(block: LowRankBlock | None, out: Any, leaf: Array) -> Partial:
    rest, factors = block or (None, [])
    if rest is None:
        rest = NumericBlock(Pattern(out.shape, leaf.shape, ()), (), out.dtype)
    sides = tuple((_stored(left), _stored(right)) for left, right in factors)
    return replace(_stored(rest), factors=sides)


def _stored(block: NumericBlock) -> Partial:
    """The block with numbers in place of masks."""
    values = (v if v is None else as_numbers(v, block.dtype) for v in block.values)
    terms = tuple(replace(term, kind="value") for term in block.pattern.terms)
    return Partial(replace(block.pattern, terms=terms), tuple(values), block.dtype)
