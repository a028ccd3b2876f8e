"""Patterns that a loop never leaves, for what it carries of the Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._blocks.arrays import Masked
from ..._blocks.block import covering, NumericBlock
from ..._sparsity.pattern import Pattern
from ..._sparsity.sum import entries_term
from ..._sparsity.term import dense_term, Term
from .body import Blocks, Body, Ends
from .loop import AbstractLoop
from .reach import every_time, TooMuchWork


# After so many rounds, what still grows becomes a list of entries.
_MAX_ROUNDS = 4
# Blocks of several terms and at most so many entries are left with those of the end.
_MAX_CHECKED = 1 << 16


class Reached:
    """The entries that the blocks of a loop have, None where they are too many."""

    def __init__(self, loop: AbstractLoop, body: Body):
        self._loop, self._reach = loop, loop.reach(body)

    def at_any_time(self, result: int, source: int) -> np.ndarray | None:
        """The entries that a block has after some iteration; those of stacks at any
        place along them."""
        loop = self._loop
        try:
            flat = self._reach.within(result, source)
        except TooMuchWork:
            return None
        zero = loop.zero(result, source, result_slice=True, source_slice=True)
        if result >= loop.num_carry:
            return every_time(flat, loop.length, 0, zero.pattern)
        if loop.is_stacked(source):
            num_out = len(zero.pattern.out_shape)
            return every_time(flat, loop.length, num_out, zero.pattern)
        return flat

    def at_the_end(self, result: int, source: int) -> np.ndarray | None:
        """The entries that a block of carries has after the last iteration."""
        loop = self._loop
        if loop.length is None or result >= loop.num_carry:
            return None
        try:
            return self._reach.after(result, source) if source in loop.carries else None
        except TooMuchWork:
            return None


@dataclass(frozen=True)
class Carried:
    """Patterns for the blocks that a loop carries. `grow`: those that it would leave
    without the entries being listed."""

    patterns: Mapping[Ends, Pattern]
    grow: frozenset[Ends]
    reached: Reached

    def stored(self, blocks: Blocks) -> Blocks:
        return {e: block.stored_in(self.patterns[e]) for e, block in blocks.items()}

    def final(self, ends: Ends, block: NumericBlock) -> NumericBlock:
        """The block after the last iteration, without what is zero by then: of the
        powers of a permutation, the last."""
        pattern = block.pattern
        few = len(pattern.terms) > 1 and pattern.num_nonzeros <= _MAX_CHECKED
        flat = self.reached.at_the_end(*ends) if few or ends in self.grow else None
        return block if flat is None else block.within(flat)


def carried(init: Blocks, advance: Callable, loop: AbstractLoop, body: Body) -> Carried:
    """Patterns that cover those of `init` and that `advance` does not leave.

    A carry that starts as the identity and is multiplied by a band gets wider with each
    iteration: identity, band, wider band, ... Its pattern lists the entries that the
    iterations reach.
    """
    reached, most = Reached(loop, body), _MAX_ROUNDS
    if loop.length is not None:
        most = min(most, loop.length)
    patterns = {ends: covering([block.pattern]) for ends, block in init.items()}
    iteration = jax.ShapeDtypeStruct((), jnp.int32)
    rounds, lists = 0, {}
    while True:
        state = {e: _abstract(patterns[e], block.dtype) for e, block in init.items()}
        after = jax.eval_shape(advance, state, body.blocks, iteration)
        grown = {}
        for ends, old in patterns.items():
            new = _next(old, after[ends].pattern, ends in lists)
            if new != old:
                grown[ends] = new
        if not grown:
            return Carried(patterns, frozenset(lists), reached)
        rounds += 1
        if rounds > most:
            for ends in grown.keys() - lists.keys():
                lists[ends] = reached.at_any_time(*ends)
            grown = {e: _filled(p, lists[e]) for e, p in grown.items()}
        patterns |= grown


def _next(old: Pattern, after: Pattern, is_list: bool) -> Pattern:
    """The pattern after another round: of a list, with the conjugates that it lacks."""
    if not is_list:
        return covering([old, after])
    conjs = {term.conj for term in old.terms}
    new = tuple(term for term in after.terms if term.conj not in conjs)
    return replace(old, terms=old.terms + new)


def _filled(pattern: Pattern, flat: np.ndarray | None) -> Pattern:
    """The pattern that lists entries, or is dense, and acts on the same conjugates."""
    shapes = pattern.out_shape, pattern.in_shape
    terms = []
    for conj in sorted({term.conj for term in pattern.terms}):
        if flat is None:
            terms.append(dense_term(*shapes, conj))
        else:
            terms.append(entries_term(flat, *shapes, conj))
    return replace(pattern, terms=tuple(terms))


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
