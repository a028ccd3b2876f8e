"""The body of a loop or a branch, with its Jacobian accumulated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .._blocks.add import run_sum, run_update
from .._blocks.arrays import of_type, Values
from .._jaxpr.avals import struct
from .._jaxpr.program import evaluate, flatten, Program
from .._jaxpr.releases import ClosedJaxpr
from .._sparsity.pattern import Pattern, update
from .._sparsity.sum import cover


Ends = tuple[int, int]


class Block(NamedTuple):
    """A pattern with its values, for sums and products inside a loop."""

    pattern: Pattern
    values: Values
    dtype: np.dtype

    def add_product(self, left: Block, right: Block) -> Block:
        """`self + left @ right`."""
        recipe = update(self.pattern, left.pattern, right.pattern)
        args = self.values, left.values, right.values
        return self._replace(
            pattern=recipe.pattern, values=run_update(recipe, *args, self.dtype)
        )

    def into(self, target: Pattern) -> Values:
        """The values of the same block, stored in a pattern that covers its own."""
        return covered([target, self.pattern], 1, self.values, self.dtype)


# Evaluates a program: its outputs, and the blocks of those that depend on its inputs.
Differentiate = Callable[
    [Program, Sequence[Any], Sequence[int]], tuple[list[Any], dict[Ends, Block]]
]


class Body:
    """A closed jaxpr together with the blocks of its Jacobian.

    `blocks` has the pattern of every non-zero block `(output, input)`; calling the
    body gives its outputs and their values.
    """

    def __init__(
        self,
        jaxpr: ClosedJaxpr,
        active: Sequence[int],
        differentiate: Differentiate,
    ):
        program = flatten(jaxpr.jaxpr, jaxpr.consts)
        self.patterns: dict[Ends, Pattern] = {}
        self.dtypes = [v.aval.dtype for v in jaxpr.jaxpr.outvars]

        def run(*inputs):
            outputs, blocks = differentiate(program, inputs, list(active))
            self.patterns = {ends: block.pattern for ends, block in blocks.items()}
            return outputs, {ends: block.values for ends, block in blocks.items()}

        avals = [struct(v.aval) for v in jaxpr.jaxpr.invars]
        closed, shapes = jax.make_jaxpr(run, return_shape=True)(*avals)
        self.tree = jax.tree.structure(shapes)
        self.program = flatten(closed.jaxpr, closed.consts)

    def __call__(self, *inputs: Any) -> tuple[list[Any], dict[Ends, Block]]:
        flat = evaluate(self.program, inputs)
        outputs, values = jax.tree.unflatten(self.tree, flat)
        return outputs, {
            ends: Block(self.patterns[ends], value, self.dtypes[ends[0]])
            for ends, value in values.items()
        }


def covering(patterns: Sequence[Pattern], masks: bool = False) -> Pattern:
    """A pattern with a value for every term that can hold any of the given ones."""
    first = patterns[0]
    blocks = [pattern.terms for pattern in patterns]
    terms, _ = cover(blocks, first.shape, len(first.out_shape), masks)
    flags = first.complex_out, first.complex_in
    return Pattern(first.out_shape, first.in_shape, terms, *flags)


def covered(
    patterns: Sequence[Pattern],
    which: int,
    values: Values,
    dtype: np.dtype,
    masks: bool = False,
) -> Values:
    """The values of one of the patterns, stored in `covering(patterns)`."""
    first = patterns[0]
    blocks = [pattern.terms for pattern in patterns]
    _, sums = cover(blocks, first.shape, len(first.out_shape), masks)
    if first.complex_out or first.complex_in:
        dtype = np.promote_types(dtype, np.complex64)
    stored = run_sum(sums[which], values, dtype)
    return tuple(of_type(value, dtype) for value in stored)
