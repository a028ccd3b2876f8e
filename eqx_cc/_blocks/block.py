"""A pattern with its values, as elimination inside loops and branches needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np

from .._sparsity.cover import cover, write
from .._sparsity.entries import positions
from .._sparsity.pattern import add, Pattern, update
from .._sparsity.positions.table import distinct
from .._sparsity.recipes import Sum
from .._sparsity.within import within
from .add import run_sum, run_update
from .arrays import of_type, take, Values


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["values"],
    meta_fields=["pattern", "dtype"],
)
@dataclass(frozen=True)
class NumericBlock:
    """A pattern with its values; a PyTree, so that a loop can carry it.

    Unlike a `Partial`, which users see, it has no factors and no operators: there may
    be thousands.
    """

    pattern: Pattern
    values: Values
    dtype: np.dtype

    def add_product(self, left: NumericBlock, right: NumericBlock) -> NumericBlock:
        """`self + left @ right`."""
        recipe = update(self.pattern, left.pattern, right.pattern)
        arrays = self.values, left.values, right.values
        return replace(
            self, pattern=recipe.pattern, values=run_update(recipe, *arrays, self.dtype)
        )

    def within(self, flat: np.ndarray) -> NumericBlock:
        """The part of the block at positions `flat`, ascending, of the ravelled block;
        the rest is left out."""
        terms, values = [], []
        for term, value in zip(self.pattern.terms, self.values):
            for part, recipe in within(term, self.pattern.shape, flat):
                terms.append(part)
                if value is not None and recipe is not None:
                    values.append(take(value, recipe))
                else:
                    values.append(value)
        pattern = replace(self.pattern, terms=tuple(terms))
        return replace(self, pattern=pattern, values=tuple(values))

    def stored_in(self, target: Pattern) -> NumericBlock:
        """The same block, stored in a pattern that covers its own.

        What lies outside of the pattern is left out: a loop of so many iterations
        keeps the entries that these can reach.
        """
        block, structures = self, {term.structure for term in target.terms}
        fits = all(term.structure in structures for term in self.pattern.terms)
        if not (fits or target.is_dense):
            lists = [positions(term, target.shape) for term in target.terms]
            empty = np.zeros(0, np.int64)
            block = self.within(distinct(np.concatenate([empty, *lists])))
        total = write(block.pattern.terms, target.terms)
        values = _stored(total, block.values, target, self.dtype)
        return replace(self, pattern=target, values=values)


def added(blocks: Sequence[NumericBlock]) -> NumericBlock:
    """The sum of blocks."""
    pattern, total = add(*(block.pattern for block in blocks))
    values = [value for block in blocks for value in block.values]
    first = blocks[0]
    return replace(
        first, pattern=pattern, values=run_sum(total, tuple(values), first.dtype)
    )


def covering(patterns: Sequence[Pattern], *, masks: bool = False) -> Pattern:
    """A pattern with a value for every term that can hold any of the patterns.

    A diagonal and one of known ones are covered by a diagonal. `masks` keeps track of
    which entries are non-zero.
    """
    terms, _ = _cover(patterns, masks)
    return replace(patterns[0], terms=terms)


def covered(
    patterns: Sequence[Pattern],
    position: int,
    values: Values,
    dtype: np.dtype,
    *,
    masks: bool = False,
) -> Values:
    """The values of one of the patterns, stored in `covering(patterns)`."""
    _, sums = _cover(patterns, masks)
    return _stored(sums[position], values, patterns[0], dtype)


def _stored(total: Sum, values: Values, target: Pattern, dtype: np.dtype) -> Values:
    """The values of a sum, in the type that a block of a pattern has."""
    if target.complex_out or target.complex_in:
        dtype = np.promote_types(dtype, np.complex64)
    stored = run_sum(total, values, dtype)
    return tuple(of_type(value, dtype) for value in stored)


def _cover(patterns: Sequence[Pattern], masks: bool):
    first, blocks = patterns[0], [pattern.terms for pattern in patterns]
    return cover(blocks, first.shape, len(first.out_shape), masks)
