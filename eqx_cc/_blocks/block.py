"""A pattern with its values, as elimination inside loops and branches needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np

from .._sparsity.cover import cover
from .._sparsity.pattern import Pattern, update
from .add import run_sum, run_update
from .arrays import of_type, Values


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

    def stored_in(self, target: Pattern) -> NumericBlock:
        """The same block, stored in a pattern that covers its own."""
        values = covered([target, self.pattern], 1, self.values, self.dtype)
        return replace(self, pattern=target, values=values)


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
    if patterns[0].complex_out or patterns[0].complex_in:
        dtype = np.promote_types(dtype, np.complex64)
    stored = run_sum(sums[position], values, dtype)
    return tuple(of_type(value, dtype) for value in stored)


def _cover(patterns: Sequence[Pattern], masks: bool):
    first, blocks = patterns[0], [pattern.terms for pattern in patterns]
    return cover(blocks, first.shape, len(first.out_shape), masks)
