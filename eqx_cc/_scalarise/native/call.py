"""Programs of scalars as native calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.extend.core as jex
from jax import lax

from ..._jaxpr.releases import ClosedJaxpr, FUSES_CONCATENATIONS
from ..._jaxpr.shard_map import varies
from .batch import in_blocks
from .cse import simplified, without_rules
from .emit import staged
from .layout import assembled, assembled_and_fused, Layout
from .lowering import (
    AbstractNativeFunction,
    MAX_BYTES,
    native_p,
    NativeCall,
    one_by_one,
)
from .stages import is_scalar, repetition, Stages, stages, weight_of
from .vectors import in_vectors, prefers_vectors


# A function is fused with the loop around it where it has at most so many rows and
# entries, so many of which are computed, and so much work with what is computed again
# for other rows. Of 33 functions of two to ten states, a native call was slower than
# `jax.jacfwd` in loops for 18 (down to 0.55 times as fast), and this is as fast for all
# but three (0.85). Releases that do not fuse all entries fuse no more than 8 rows. Many
# results are many loops, each of which computes what they share.
_FEW_ROWS, _FEW_ENTRIES, _FEW_COMPUTED = (
    (128, 128, 32) if FUSES_CONCATENATIONS else (8, 64, 24)
)
_LITTLE_WORK, _FEW_RESULTS = 1000, 4

# So much may be computed again by JAX's operations for a batch, where there are threads
# for it and equations of arrays, which may depend on the whole batch.
_LITTLE_REPEATED = 2


@dataclass(frozen=True, eq=False)
class ScalarFunction(AbstractNativeFunction):
    """A function from arrays to arrays that computes with scalars.

    `scalars` is a closed jaxpr, without constants, from arrays to scalars; `layouts`
    say how the results are assembled from these.
    """

    scalars: ClosedJaxpr
    layouts: tuple[Layout, ...]
    is_inlined = True

    @property
    def in_avals(self) -> Sequence[Any]:
        return self.scalars.in_avals

    @property
    def out_avals(self) -> Sequence[Layout]:
        return self.layouts

    def by_operations(self, *arrays) -> list[jax.Array]:
        scalars = jex.jaxpr_as_fun(self.scalars)(*arrays)
        return [assembled(layout, scalars) for layout in self.layouts]

    def natively(self, call: NativeCall, arrays: Sequence[jax.Array]) -> list[Any]:
        if self._is_tiny and not call.sizes:
            scalars = jex.jaxpr_as_fun(ClosedJaxpr(self._values, []))(*arrays)
            return [assembled_and_fused(layout, scalars) for layout in self.layouts]
        if not call.sizes:
            return self._one_point(*arrays)
        in_threads = prefers_vectors(self._stages, self.layouts, math.prod(call.sizes))
        if any(self._stages.arrays):
            if in_threads and repetition(self._values) <= _LITTLE_REPEATED:
                return call.plain(*arrays)
            return call.over_batches(self._one_point, one_by_one)(*arrays)
        return self._over_points(in_vectors if in_threads else in_blocks, call, arrays)

    def _over_points(
        self, run: Callable, call: NativeCall, arrays: Sequence[jax.Array]
    ) -> list[Any]:
        """What `run` makes of all batches as one."""
        batch, size = call.batch, math.prod(call.sizes)
        flags = [mapped[::-1] for mapped in zip(*call.mapped)]
        flat = [_flattened(a, batch, mapped) for a, mapped in zip(arrays, flags)]
        results = run(self._stages, self.layouts, size, list(map(any, flags)), flat)
        return [lax.reshape(r, (*batch, *r.shape[1:])) for r in results]

    def prefers_native(self, sizes: tuple[Any, ...]) -> bool:
        if not all(isinstance(size, int) for size in sizes):
            return False
        arrays = [*self.in_avals, *self.layouts]
        return all(math.prod(x.shape) * x.dtype.itemsize <= MAX_BYTES for x in arrays)

    @cached_property
    def _is_tiny(self) -> bool:
        """True if XLA fuses the whole with a loop around it, and is faster for that."""
        shapes = [layout.shape for layout in self.layouts]
        rows = sum(math.prod(shape[:-1]) for shape in shapes if len(shape) > 1)
        computed = sum(len(layout.sources) for layout in self.layouts)
        if rows > _FEW_ROWS or computed > _FEW_COMPUTED or len(shapes) > _FEW_RESULTS:
            return False
        if sum(map(math.prod, shapes)) > _FEW_ENTRIES:
            return False
        eqns = self._values.eqns
        work = sum(map(weight_of, eqns))
        if not all(map(is_scalar, eqns)) or work > _LITTLE_WORK:
            return False
        return work * repetition(self._values) <= _LITTLE_WORK

    @cached_property
    def _values(self) -> jex.Jaxpr:
        """The jaxpr for values alone, of which no derivative is taken."""
        return without_rules(self.scalars.jaxpr)

    @cached_property
    def _stages(self) -> Stages:
        return stages(self._values)

    @cached_property
    def _one_point(self) -> Callable:
        return jex.jaxpr_as_fun(staged(self._stages, self.layouts))


def _flattened(array: jax.Array, batch: tuple[int, ...], mapped: Sequence[bool]):
    """An operand with one axis for all batches; as it is if it has an axis of none."""
    if not any(mapped):
        return array
    axes = [axis for axis, is_mapped in enumerate(mapped) if is_mapped]
    shape = array.shape[len(axes) :]
    inner = range(len(batch), len(batch) + len(shape))
    array = lax.broadcast_in_dim(array, (*batch, *shape), (*axes, *inner))
    return lax.reshape(array, (math.prod(batch), *shape))


def native(
    fun: Callable[..., tuple[list[Any], list[Layout]]], arrays: Sequence[Any]
) -> list[jax.Array]:
    """The arrays that `fun(*arrays)` describes: it returns scalars, and layouts.

    Inside `jax.shard_map` they are computed by JAX's operations, as the types of the
    primitive do not say which axes of the mesh a value varies over. (With
    `check_vma=False` nothing asks for that.)
    """
    if any(map(varies, arrays)):
        values, plain_layouts = fun(*arrays)
        return [assembled(layout, values) for layout in plain_layouts]
    layouts: list[Layout] = []

    def scalars(*arrays):
        values, all_layouts = fun(*arrays)
        layouts.extend(all_layouts)
        return values

    closed = jax.make_jaxpr(scalars)(*arrays)
    jaxpr, operands = simplified(closed.jaxpr, [*closed.consts, *arrays])
    function = ScalarFunction(ClosedJaxpr(jaxpr, []), tuple(layouts))
    return native_p.bind(*operands, call=NativeCall(function))
