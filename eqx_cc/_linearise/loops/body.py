"""The body of a loop or a branch with its Jacobian, and stacks of its blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..._blocks.arrays import as_numbers, take
from ..._blocks.block import added, NumericBlock
from ..._jaxpr.avals import avals_of, struct
from ..._jaxpr.known.uniform import without_uniform_factors
from ..._jaxpr.program import evaluate, flatten, Program
from ..._jaxpr.releases import ClosedJaxpr
from ..._sparsity.pattern import Pattern
from ..._sparsity.positions.affine import Affine, single
from ..._sparsity.term import normalise, Take, Term
from ..entries import Refine


# The positions of an output and an input.
Ends: TypeAlias = tuple[int, int]
Blocks: TypeAlias = Mapping[Ends, NumericBlock]

# Inputs of a program that are integer arrays known while tracing.
Known: TypeAlias = Mapping[int, np.ndarray]

# Evaluates a program: its outputs, and the blocks of those that depend on its inputs.
Differentiate: TypeAlias = Callable[
    [Program, Sequence[Any], Sequence[int], Known],
    tuple[list[Any], dict[Ends, NumericBlock]],
]


class EvaluatedPartials(NamedTuple):
    """The partials of a loop or a branch: the pairs `(operand, result, pattern)`, its
    results, and the values of the pairs. `refine` and `known` as in `LocalPartials`."""

    pairs: Sequence[tuple[int, int, Pattern]]
    results: list[Any]
    values: list[Any]
    refine: Refine | None = None
    known: Mapping[int, np.ndarray] = MappingProxyType({})


class Body:
    """A closed jaxpr together with the blocks of its Jacobian.

    `known` are the inputs whose values are the same in every call and known while
    tracing. `blocks` has every non-zero block `(output, input)`, with abstract values;
    calling the body gives its outputs and its blocks.
    """

    blocks: Blocks

    def __init__(
        self,
        jaxpr: ClosedJaxpr,
        active: Sequence[int],
        differentiate: Differentiate,
        known: Known,
    ):
        program = without_uniform_factors(flatten(jaxpr.jaxpr, jaxpr.consts))
        run = lambda *inputs: differentiate(program, inputs, list(active), known)  # noqa: E731
        inputs = [struct(aval) for aval in avals_of(jaxpr.jaxpr.invars)]
        closed, shapes = jax.make_jaxpr(run, return_shape=True)(*inputs)
        _, self.blocks = shapes
        self._tree = jax.tree.structure(shapes)
        self._program = flatten(closed.jaxpr, closed.consts)

    @property
    def num_equations(self) -> int:
        """Equations of the outputs and the blocks together, at least one."""
        return max(len(self._program.equations), 1)

    def __call__(self, *inputs: Any) -> tuple[list[Any], dict[Ends, NumericBlock]]:
        return jax.tree.unflatten(self._tree, evaluate(self._program, inputs))


#
# Blocks of slices as blocks of stacks
#


def stacked(block: NumericBlock, length: int, kind: str) -> NumericBlock:
    """A block whose values are stacked over iterations, as one of stacked arrays.

    `kind` is the side that is stacked: "out", "in" or both, iteration by iteration
    ("tied").
    """
    return _timed(block, length, kind, lambda value: value)


def stacked_each(
    iterations: Sequence[Blocks], kind: str
) -> list[tuple[int, int, NumericBlock]]:
    """The blocks of stacked arrays, from those of each iteration."""
    ends = iterations[0] if iterations else ()
    return [(*e, _stacked([blocks[e] for blocks in iterations], kind)) for e in ends]


def _stacked(blocks: Sequence[NumericBlock], kind: str) -> NumericBlock:
    """A stack of blocks: of their values, or a sum of windows if patterns differ."""
    first, length = blocks[0], len(blocks)
    if all(block.pattern == first.pattern for block in blocks):
        every = jax.tree.map(lambda *values: jnp.stack(values), *blocks)
        return stacked(every, length, kind)
    return added([placed(block, length, t, kind) for t, block in enumerate(blocks)])


def placed(block: NumericBlock, length: int, t, kind: str) -> NumericBlock:
    """The block of iteration `t`, as one of a stack that is zero at other times."""

    def stack(value):
        here = lax.broadcasted_iota(np.int32, (length, *value.shape), 0)
        here = lax.eq(here, lax.full_like(here, t))
        value = jnp.broadcast_to(value, here.shape)
        return jnp.where(here, value, jnp.zeros_like(value))

    if isinstance(t, int):
        return _placed(block, length, t, kind)
    values = tuple(
        jnp.ones((), block.dtype) if value is None else as_numbers(value, block.dtype)
        for value in block.values
    )
    terms = tuple(
        replace(term, value=term.value or (), kind="value")
        for term in block.pattern.terms
    )
    pattern = replace(block.pattern, terms=terms)
    return _timed(NumericBlock(pattern, values, block.dtype), length, kind, stack)


def _placed(block: NumericBlock, length: int, t: int, kind: str) -> NumericBlock:
    """The block of an iteration that is known while tracing: a window of the stack."""
    axis = (Affine(t),)
    terms = tuple(
        replace(
            term,
            out=(axis if kind != "in" else ()) + term.out,
            inp=(axis if kind != "out" else ()) + term.inp,
        )
        for term in block.pattern.terms
    )
    return replace(block, pattern=_timed_pattern(block.pattern, terms, length, kind))


def _timed_pattern(pattern: Pattern, terms, length: int, kind: str) -> Pattern:
    return replace(
        pattern,
        out_shape=((length,) if kind != "in" else ()) + pattern.out_shape,
        in_shape=((length,) if kind != "out" else ()) + pattern.in_shape,
        terms=tuple(terms),
    )


def _timed(block: NumericBlock, length: int, kind: str, stack) -> NumericBlock:
    """A block with an axis of time on one side or both.

    `stack` has a value with such an axis in front. Without iterations nothing is left.
    """
    terms, values = [], []
    pairs = zip(block.pattern.terms, block.values) if length > 0 else ()
    for term, value in pairs:
        term, recipe = _timed_term(term, kind, length)
        terms.append(term)
        values.append(None if value is None else take(stack(value), recipe))
    pattern = _timed_pattern(block.pattern, terms, length, kind)
    return NumericBlock(pattern, tuple(values), block.dtype)


def _timed_term(term: Term, kind: str, length: int) -> tuple[Term, Take]:
    """A term with an index of time on one side or both, first among its values."""
    time = len(term.sizes)
    axis = (single(time),)
    raw = replace(
        term,
        out=(axis if kind != "in" else ()) + term.out,
        inp=(axis if kind != "out" else ()) + term.inp,
        value=None if term.value is None else (time, *term.value),
        kind="mask" if kind == "in" and term.kind == "selection" else term.kind,
    )
    return normalise(raw, dict(enumerate((*term.sizes, length))))
