"""A batch of a program of scalars: loops over blocks of it, that are native as well."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from ._layout import Layout


# Bytes of the inputs and the results of a block, which stay in the nearest cache.
# Larger arrays would be split over threads, which a native call cannot do.
_BLOCK = 1 << 15


def in_blocks(
    program: jex.ClosedJaxpr,
    layouts: Sequence[Layout],
    size: int,
    mapped: Sequence[bool],
    arrays: Sequence[jax.Array],
) -> list[jax.Array]:
    """The results of a program of scalars for every element of a batch.

    The operands that are `mapped` have an axis of that size in front. One native call
    does a block, in a loop inside: between elements there is nothing to start.
    """
    block = _block_size(program, layouts, size, mapped)
    body = jex.jaxpr_as_fun(program)

    def run(*operands):
        def step(i, results):
            own = [_element(x, i) if m else x for x, m in zip(operands, mapped)]
            pairs = zip(results, body(*own))
            return [lax.dynamic_update_index_in_dim(r, x, i, 0) for r, x in pairs]

        start = [jnp.zeros((block, *own.shape), own.dtype) for own in layouts]
        return lax.fori_loop(jnp.int32(0), jnp.int32(block), step, start)

    def native(moving):
        moving, constant = iter(moving), iter(fixed)
        operands = [next(moving if m else constant) for m in mapped]
        operands = lax.optimization_barrier(operands)
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            return jax.jit(run)(*operands)

    fixed = [x for x, m in zip(arrays, mapped) if not m]
    shape = size // block, block
    split = [
        lax.reshape(x, (*shape, *x.shape[1:])) for x, m in zip(arrays, mapped) if m
    ]
    return [lax.reshape(r, (size, *r.shape[2:])) for r in lax.map(native, split)]


def _element(array: jax.Array, index: jax.Array) -> jax.Array:
    return lax.dynamic_index_in_dim(array, index, 0, keepdims=False)


def _block_size(program, layouts, size: int, mapped) -> int:
    """A divisor of the batch."""
    avals = [aval for aval, m in zip(program.in_avals, mapped) if m]
    shapes = [(a.size, a.dtype) for a in avals]
    shapes += [(math.prod(own.shape), own.dtype) for own in layouts]
    each = sum(count * dtype.itemsize for count, dtype in shapes)
    block = max(1, min(size, _BLOCK // max(1, each)))
    return next(b for b in range(block, 0, -1) if size % b == 0)
