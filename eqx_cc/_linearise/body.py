"""The body of a loop or a branch with its Jacobian, and what a loop carries of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._blocks.arrays import as_numbers, Masked, take
from .._blocks.block import covering, NumericBlock
from .._jaxpr.avals import avals_of, struct
from .._jaxpr.program import evaluate, flatten, Program
from .._jaxpr.releases import ClosedJaxpr
from .._sparsity.affine import single
from .._sparsity.pattern import Pattern
from .._sparsity.term import dense_term, normalise, Take, Term


# The positions of an output and an input.
Ends: TypeAlias = tuple[int, int]
Blocks: TypeAlias = Mapping[Ends, NumericBlock]

# Evaluates a program: its outputs, and the blocks of those that depend on its inputs.
Differentiate: TypeAlias = Callable[
    [Program, Sequence[Any], Sequence[int]],
    tuple[list[Any], dict[Ends, NumericBlock]],
]

# After so many rounds, what still grows becomes dense.
_MAX_ROUNDS = 4


class Body:
    """A closed jaxpr together with the blocks of its Jacobian.

    `blocks` has every non-zero block `(output, input)`, with abstract values; calling
    the body gives its outputs and its blocks.
    """

    blocks: Blocks

    def __init__(
        self,
        jaxpr: ClosedJaxpr,
        active: Sequence[int],
        differentiate: Differentiate,
    ):
        program = flatten(jaxpr.jaxpr, jaxpr.consts)
        run = lambda *inputs: differentiate(program, inputs, list(active))  # noqa: E731
        inputs = [struct(aval) for aval in avals_of(jaxpr.jaxpr.invars)]
        closed, shapes = jax.make_jaxpr(run, return_shape=True)(*inputs)
        _, self.blocks = shapes
        self._tree = jax.tree.structure(shapes)
        self._program = flatten(closed.jaxpr, closed.consts)

    def __call__(self, *inputs: Any) -> tuple[list[Any], dict[Ends, NumericBlock]]:
        return jax.tree.unflatten(self._tree, evaluate(self._program, inputs))


#
# Blocks in patterns that a loop never leaves
#


def stable_patterns(
    init: Blocks, body: Body, advance: Callable[[Blocks, Blocks, Any], Blocks]
) -> dict[Ends, Pattern]:
    """Patterns that cover those of `init` and that `advance` does not leave.

    A carry that starts as the identity and is multiplied by a band gets wider with each
    iteration: identity, band, wider band, ... and so is dense in the end.
    """
    patterns = {ends: covering([block.pattern]) for ends, block in init.items()}
    iteration = jax.ShapeDtypeStruct((), jnp.int32)
    for rounds in itertools.count():
        state = {e: _abstract(patterns[e], block.dtype) for e, block in init.items()}
        after = jax.eval_shape(advance, state, body.blocks, iteration)
        wider = {e: covering([p, after[e].pattern]) for e, p in patterns.items()}
        if rounds >= _MAX_ROUNDS:
            wider = {e: p if p == patterns[e] else _filled(p) for e, p in wider.items()}
        if wider == patterns:
            break
        patterns = wider
    return patterns


def _abstract(pattern: Pattern, dtype: np.dtype) -> NumericBlock:
    """A block with abstract values."""
    numbers = dtype
    if pattern.complex_in or pattern.complex_out:
        numbers = np.promote_types(dtype, np.complex64)
    values = tuple(_abstract_value(term, numbers) for term in pattern.terms)
    return NumericBlock(pattern, values, dtype)


def _abstract_value(term: Term, dtype):
    mask: Any = jax.ShapeDtypeStruct(term.value_shape, bool)
    number: Any = jax.ShapeDtypeStruct(term.value_shape, dtype)
    kinds = {"value": number, "masked": Masked(mask, number)}
    return None if term.value is None else kinds.get(term.kind, mask)


def _filled(pattern: Pattern) -> Pattern:
    """The pattern of a dense block that acts on the same conjugates."""
    conjs = sorted({term.conj for term in pattern.terms})
    terms = (dense_term(pattern.out_shape, pattern.in_shape, conj) for conj in conjs)
    return replace(pattern, terms=tuple(terms))


#
# Blocks of slices as blocks of stacks
#


def stacked(block: NumericBlock, length: int, kind: str) -> NumericBlock:
    """A block whose values are stacked over iterations, as one of stacked arrays.

    `kind` is the side that is stacked: "out", "in" or both, iteration by iteration
    ("tied").
    """
    return _timed(block, length, kind, lambda value: value)


def at(block: NumericBlock, length: int, t, kind: str) -> NumericBlock:
    """The block of iteration `t`, as one of a stack that is zero at other times."""

    def placed(value):
        here = lax.broadcasted_iota(np.int32, (length, *value.shape), 0)
        here = lax.eq(here, lax.full_like(here, t))
        value = jnp.broadcast_to(value, here.shape)
        return jnp.where(here, value, jnp.zeros_like(value))

    values = tuple(
        jnp.ones((), block.dtype) if value is None else as_numbers(value, block.dtype)
        for value in block.values
    )
    terms = tuple(
        replace(term, value=term.value or (), kind="value")
        for term in block.pattern.terms
    )
    pattern = replace(block.pattern, terms=terms)
    return _timed(NumericBlock(pattern, values, block.dtype), length, kind, placed)


def _timed(block: NumericBlock, length: int, kind: str, stack) -> NumericBlock:
    """A block with an axis of time on one side or both.

    `stack` has a value with such an axis in front. Without iterations nothing is left.
    """
    out = (length,) if kind != "in" else ()
    inp = (length,) if kind != "out" else ()
    terms, values = [], []
    pairs = zip(block.pattern.terms, block.values) if length > 0 else ()
    for term, value in pairs:
        term, recipe = _timed_term(term, kind, length)
        terms.append(term)
        values.append(None if value is None else take(stack(value), recipe))
    pattern = replace(
        block.pattern,
        out_shape=out + block.pattern.out_shape,
        in_shape=inp + block.pattern.in_shape,
        terms=tuple(terms),
    )
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
