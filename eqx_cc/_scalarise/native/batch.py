"""A batch of a program of scalars: a loop over blocks of it, each a native call."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.extend.core as jex
from jax import lax

from ..._jaxpr.avals import aval_of
from .emit import staged
from .layout import Layout
from .stages import Stages
from .widen import widened


# Bytes of an array in a native call: half of what XLA begins to split over threads,
# which such a call cannot do.
LARGEST = 1 << 17
# Points of a block: what it takes stays in the nearer caches, and its loops are long
# enough for vector instructions (64 to 256 take equally long).
_WIDTH = 128


def in_blocks(
    made: Stages,
    layouts: Sequence[Layout],
    size: int,
    mapped: Sequence[bool],
    arrays: Sequence[jax.Array],
) -> list[jax.Array]:
    """The results of a program of scalars for every element of a batch.

    The operands that are `mapped` have an axis of that size in front. The last block
    overlaps the one before it if they do not fit: the bounds of slices are clamped.
    """
    results = [lax.full((size, *own.shape), 0, own.dtype) for own in layouts]
    if not size:
        return results
    width = _width(made, layouts, size)
    program = staged(widened(made, mapped, width), layouts, (width,))

    def step(i, results):
        start = i * width
        own = [_cut(x, start, width) if m else x for x, m in zip(arrays, mapped)]
        blocks = jex.jaxpr_as_fun(program)(*own)
        return [
            lax.dynamic_update_slice_in_dim(r, x, start, 0)
            for r, x in zip(results, blocks)
        ]

    return lax.fori_loop(0, -(-size // width), step, results)


def _cut(array: jax.Array, start: jax.Array, width: int) -> jax.Array:
    return lax.dynamic_slice_in_dim(array, start, width)


def _width(made: Stages, layouts: Sequence[Layout], size: int) -> int:
    """The points of a block."""
    arrays = [(aval.size, aval.dtype) for aval in map(aval_of, made.jaxpr.invars)]
    arrays += [(math.prod(own.shape), own.dtype) for own in layouts]
    arrays += [(len(own), aval_of(own[0]).dtype) for own in made.stored if own]
    largest = max((count * dtype.itemsize for count, dtype in arrays), default=1)
    return max(1, min(size, _WIDTH, LARGEST // max(1, largest)))
