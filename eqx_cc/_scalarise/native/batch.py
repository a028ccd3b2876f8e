"""A batch of a program of scalars: a loop over blocks of points, each a native call.

In a block every scalar is a vector. Loops over these are compiled to vector
instructions, 1.1 to 2 times as fast as one point after the other, and what a stage
stores stays in the cache.

All of it runs on one thread: XLA splits neither a native call nor, as they share
memory, several loops over threads. Where there are more threads, large batches are left
to `vectors`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.extend.core as jex
from jax import lax

from ..._jaxpr.avals import aval_of
from .emit import staged, Writer
from .layout import Layout
from .lowering import MAX_BYTES
from .stages import is_reading, Stages


# Points of a block: what it takes stays in the nearer caches, and its loops are long
# enough for vector instructions (64 to 256 take equally long).
_WIDTH = 128


def in_blocks(
    program: Stages,
    layouts: Sequence[Layout],
    num_points: int,
    mapped: Sequence[bool],
    arrays: Sequence[jax.Array],
) -> list[jax.Array]:
    """The results of a program of scalars for every point of a batch.

    The operands that are `mapped` have an axis of points in front. The last block
    overlaps the one before it if they do not fit: the bounds of slices are clamped.
    """
    results = [lax.full((num_points, *x.shape), 0, x.dtype) for x in layouts]
    if not num_points:
        return results
    width = _width(program, layouts, num_points)
    block = jex.jaxpr_as_fun(
        staged(_widened(program, mapped, width), layouts, (width,))
    )

    def step(i, results):
        start = i * width
        operands = [
            lax.dynamic_slice_in_dim(x, start, width) if is_mapped else x
            for x, is_mapped in zip(arrays, mapped)
        ]
        return [
            lax.dynamic_update_slice_in_dim(result, part, start, 0)
            for result, part in zip(results, block(*operands))
        ]

    return lax.fori_loop(0, -(-num_points // width), step, results)


def _width(program: Stages, layouts: Sequence[Layout], num_points: int) -> int:
    """The points of a block."""
    arrays = [(aval.size, aval.dtype) for aval in map(aval_of, program.jaxpr.invars)]
    arrays += [(math.prod(layout.shape), layout.dtype) for layout in layouts]
    arrays += [(len(vs), aval_of(vs[0]).dtype) for vs in program.stored if vs]
    largest = max((count * dtype.itemsize for count, dtype in arrays), default=1)
    return max(1, min(num_points, _WIDTH, MAX_BYTES // max(1, largest)))


#
# Scalars as vectors
#


def _widened(program: Stages, mapped: Sequence[bool], width: int) -> Stages:
    """The same stages for `width` points, along an axis in front of everything that
    depends on an input that is `mapped`. There are no equations of arrays."""
    widening = _Widening(program.jaxpr.invars, mapped, width)
    for eqn in program.jaxpr.eqns:
        widening.add(eqn)
    outputs = [widening.read(v) for v in program.jaxpr.outvars]
    stored = tuple(tuple(map(widening.read, vs)) for vs in program.stored)
    return Stages(widening.writer.done(outputs).jaxpr, stored, program.arrays)


class _Widening:
    """The equations so far; `_substitutes` stand for the variables of the original."""

    def __init__(self, inputs: Sequence[jex.Var], mapped: Sequence[bool], width: int):
        self._width = width
        self._substitutes = {
            v: jex.Var(self._aval(v)) if is_mapped else v
            for v, is_mapped in zip(inputs, mapped)
        }
        self._wide = {self._substitutes[v] for v, m in zip(inputs, mapped) if m}
        self.writer = Writer(list(self._substitutes.values()))

    def _aval(self, v: jex.Var) -> Any:
        aval = aval_of(v)
        return aval.update(shape=(self._width, *aval.shape))

    def read(self, v: Any) -> Any:
        return self._substitutes[v] if isinstance(v, jex.Var) else v

    def add(self, eqn: jex.JaxprEqn) -> None:
        operands = list(map(self.read, eqn.invars))
        if not any(map(self._is_wide, operands)):
            results = self.writer.add(eqn, operands)
        else:
            if is_reading(eqn):
                eqn = eqn.replace(params=_with_axis_in_front(eqn, self._width))
            else:
                operands = [
                    v if self._is_wide(v) else self.writer.repeat(v, self._width)
                    for v in operands
                ]
            avals = list(map(self._aval, eqn.outvars))
            results = self.writer.add(eqn, operands, avals)
            self._wide.update(results)
        self._substitutes.update(zip(eqn.outvars, results))

    def _is_wide(self, v: Any) -> bool:
        return isinstance(v, jex.Var) and v in self._wide


def _with_axis_in_front(eqn: jex.JaxprEqn, width: int) -> dict[str, Any]:
    """The parameters of an equation that reads an entry, with an axis in front."""
    params = eqn.params
    if eqn.primitive.name == "slice":
        start, limit = (0, *params["start_indices"]), (width, *params["limit_indices"])
        strides = params["strides"] and (1, *params["strides"])
        new = {"start_indices": start, "limit_indices": limit, "strides": strides}
    elif eqn.primitive.name == "squeeze":
        new = {"dimensions": tuple(d + 1 for d in params["dimensions"])}
    else:
        assert eqn.primitive.name == "reshape" and params["dimensions"] is None
        new = {"new_sizes": (width, *params["new_sizes"])}
    return params | new
