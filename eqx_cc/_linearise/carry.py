"""What a loop carries: blocks in patterns that it never leaves, and blocks of slices
as blocks of stacks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._blocks.arrays import as_numbers, Masked, take
from .._sparsity.affine import single
from .._sparsity.pattern import Pattern
from .._sparsity.sum import dense
from .._sparsity.term import normalise, Take, Term
from .body import Block, Body, covering, Ends


MAX_ROUNDS = 4
Blocks = Mapping[Ends, Block]


def stable(
    init: Blocks, body: Body, advance: Callable[[Blocks, Blocks, Any], Blocks]
) -> dict[Ends, Pattern]:
    """Patterns that cover those of `init` and that `advance` does not leave."""
    patterns = {ends: covering([block.pattern]) for ends, block in init.items()}
    for rounds in itertools.count():
        moved = _moved(patterns, init, body, advance)
        wider = {e: covering([p, moved[e]]) for e, p in patterns.items()}
        if rounds >= MAX_ROUNDS:
            wider = {e: p if p == patterns[e] else _dense(p) for e, p in wider.items()}
        if wider == patterns:
            break
        patterns = wider
    return patterns


def _moved(patterns, init: Blocks, body: Body, advance) -> dict[Ends, Pattern]:
    """The patterns after one iteration."""
    after = {}

    def run(values, partials, t):
        D = {e: Block(patterns[e], values[e], block.dtype) for e, block in init.items()}
        J = {
            e: Block(body.patterns[e], v, body.dtypes[e[0]])
            for e, v in partials.items()
        }
        after.update({e: block.pattern for e, block in advance(D, J, t).items()})

    values = {e: _abstract(patterns[e], block.dtype) for e, block in init.items()}
    partials = {e: _abstract(p, body.dtypes[e[0]]) for e, p in body.patterns.items()}
    jax.eval_shape(run, values, partials, jax.ShapeDtypeStruct((), jnp.int32))
    return after


def _abstract(pattern: Pattern, dtype):
    if pattern.complex_in or pattern.complex_out:
        dtype = np.promote_types(dtype, np.complex64)
    return tuple(_abstract_value(term, dtype) for term in pattern.terms)


def _abstract_value(term: Term, dtype):
    mask: Any = jax.ShapeDtypeStruct(term.value_shape, bool)
    number: Any = jax.ShapeDtypeStruct(term.value_shape, dtype)
    kinds = {"value": number, "masked": Masked(mask, number)}
    return None if term.value is None else kinds.get(term.kind, mask)


def _dense(pattern: Pattern) -> Pattern:
    conjs = sorted({term.conj for term in pattern.terms})
    flags = pattern.complex_out, pattern.complex_in
    terms = tuple(dense(pattern.out_shape, pattern.in_shape, conj) for conj in conjs)
    return Pattern(pattern.out_shape, pattern.in_shape, terms, *flags)


def stacked(block: Block, length: int, kind: str) -> Block:
    """A block whose values are stacked over iterations, as one of stacked arrays.

    `kind` is the side that is stacked: "out", "in" or both, iteration by iteration
    ("tied").
    """
    return _timed(block, length, kind, lambda value: value)


def at(block: Block, length: int, t, side: str) -> Block:
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
    block = block._replace(pattern=replace(block.pattern, terms=terms), values=values)
    return _timed(block, length, side, placed)


def _timed(block: Block, length: int, kind: str, stack) -> Block:
    if length == 0:
        block = block._replace(pattern=replace(block.pattern, terms=()), values=())
    out = (length,) if kind != "in" else ()
    inp = (length,) if kind != "out" else ()
    terms, values = [], []
    for term, value in zip(block.pattern.terms, block.values):
        term, recipe = _timed_term(term, kind, length)
        terms.append(term)
        values.append(None if value is None else take(stack(value), recipe))
    pattern = replace(
        block.pattern,
        out_shape=out + block.pattern.out_shape,
        in_shape=inp + block.pattern.in_shape,
        terms=tuple(terms),
    )
    return Block(pattern, tuple(values), block.dtype)


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
