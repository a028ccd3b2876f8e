"""The primitive of a program of scalars, with its rules for every transformation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax
from jax.interpreters import batching

from ..._jaxpr.releases import ClosedJaxpr
from ..._jaxpr.shard_map import is_split, varies
from .apart import is_apart
from .batch import in_blocks, LARGEST
from .cse import simplified
from .emit import staged
from .layout import assembled, Layout
from .primitive import native_primitive
from .sharding import aval_like
from .stages import Stages, stages


@dataclass(frozen=True)
class NativeCall:
    """A function from arrays to arrays of which the inside is scalars.

    `scalars` is a closed jaxpr, without constants, from arrays to scalars; `layouts`
    say how arrays are put together from these. In a batch of shape `batch`, the
    operands that are `mapped` have its axes in front.
    """

    scalars: ClosedJaxpr
    layouts: tuple[Layout, ...]
    batch: tuple[Any, ...] = ()  # Sizes may be symbols of `jax.export`.
    mapped: tuple[bool, ...] = ()

    def plain(self, *arrays) -> list[jax.Array]:
        """The function as JAX's own operations."""
        return _over_batch(self._plain, self)(*arrays)

    def _plain(self, *arrays) -> list[jax.Array]:
        scalars = jex.jaxpr_as_fun(self.scalars)(*arrays)
        return [assembled(layout, scalars) for layout in self.layouts]

    @cached_property
    def body(self) -> ClosedJaxpr:
        """The function as other transformations see it, our own among them."""
        batches = [self.batch if mapped else () for mapped in self.mapped]
        batches = batches or [()] * len(self.scalars.in_avals)
        structs = [
            jax.ShapeDtypeStruct((*batch, *aval.shape), aval.dtype)
            for batch, aval in zip(batches, self.scalars.in_avals)
        ]
        return jax.make_jaxpr(self.plain)(*structs)

    @property
    def is_native(self) -> bool:
        """Whether native calls are the way. (XLA has to leave all of their arrays to
        one thread.)"""
        if not all(isinstance(size, int) for size in self.batch):
            return False
        size = math.prod(self.batch)
        if self.batch and is_apart(self.scalars.jaxpr, self.layouts, size):
            return False
        arrays = [(aval.size, aval.dtype) for aval in self.scalars.in_avals]
        arrays += [(math.prod(x.shape), x.dtype) for x in self.layouts]
        return all(count * dtype.itemsize <= LARGEST for count, dtype in arrays)

    @cached_property
    def _stages(self) -> Stages:
        return stages(self.scalars.jaxpr)

    @cached_property
    def _staged(self) -> ClosedJaxpr:
        return staged(self._stages, self.layouts)

    def native(self, *arrays) -> list[jax.Array]:
        """The function as native calls, one after the other for the whole batch."""
        if not self.batch:
            return jex.jaxpr_as_fun(self._staged)(*arrays)
        size, ndim = math.prod(self.batch), len(self.batch)
        flat = [
            lax.reshape(a, (size, *a.shape[ndim:])) if mapped else a
            for a, mapped in zip(arrays, self.mapped)
        ]
        if any(self._stages.arrays):
            results = self._one_by_one(flat)
        else:
            results = in_blocks(self._stages, self.layouts, size, self.mapped, flat)
        return [lax.reshape(r, (*self.batch, *r.shape[1:])) for r in results]

    def _one_by_one(self, arrays: Sequence[jax.Array]) -> list[jax.Array]:
        run = jex.jaxpr_as_fun(self._staged)

        def one(moving):
            moving, constant = iter(moving), iter(fixed)
            return run(*[next(moving if m else constant) for m in self.mapped])

        fixed = [a for a, mapped in zip(arrays, self.mapped) if not mapped]
        return lax.map(one, [a for a, mapped in zip(arrays, self.mapped) if mapped])


native_p = native_primitive("native_call")


def native(
    fun: Callable[..., tuple[list[Any], list[Layout]]], arrays: Sequence[Any]
) -> list[jax.Array]:
    """The arrays that a function makes of scalars: it returns these, and layouts.

    In `jax.shard_map` they are made at once, for the primitive's types do not say which
    axes of the mesh a value varies over. (With `check_vma=False` nobody asks.)
    """
    if any(map(varies, arrays)):
        found, own = fun(*arrays)
        return [assembled(layout, found) for layout in own]
    layouts: list[Layout] = []

    def scalars(*arrays):
        found, own = fun(*arrays)
        layouts.extend(own)
        return found

    closed = jax.make_jaxpr(scalars)(*arrays)
    jaxpr, used = simplified(closed.jaxpr, [*closed.consts, *arrays])
    call = NativeCall(ClosedJaxpr(jaxpr, []), tuple(layouts))
    return native_p.bind(*used, call=call)


def _over_batch(fun: Callable, call: NativeCall) -> Callable:
    axes = tuple(0 if mapped else None for mapped in call.mapped)
    for _ in call.batch:
        fun = jax.vmap(fun, in_axes=axes)
    return fun


@native_p.def_abstract_eval
def _abstract(*avals, call: NativeCall):
    return [aval_like(avals, (*call.batch, *x.shape), x.dtype) for x in call.layouts]


def _batch(arrays, dims, *, call: NativeCall):
    """A batch gets its axis in front; what is mapped at all has the axes of all
    batches."""
    split = [array for array in arrays if is_split(array)]
    if split:
        with jax.sharding.use_abstract_mesh(jax.typeof(split[0]).sharding.mesh):
            results = jax.vmap(call.plain, tuple(dims))(*arrays)
        return results, [0] * len(results)
    [size] = {a.shape[d] for a, d in zip(arrays, dims) if d is not None}
    was = call.mapped or (False,) * len(arrays)
    mapped = tuple(old or d is not None for old, d in zip(was, dims))
    own = [
        _in_front(array, dim, (size, *call.batch), old) if new else array
        for array, dim, old, new in zip(arrays, dims, was, mapped)
    ]
    call = replace(call, batch=(size, *call.batch), mapped=mapped)
    results = native_p.bind(*own, call=call)
    return results, [0] * len(results)


def _in_front(array, dim: int | None, batch: tuple[Any, ...], mapped: bool):
    """An operand with the axes `batch`, of which it may have the first, at `dim`, and,
    if it was `mapped` before, the others."""
    array = array[None] if dim is None else jnp.moveaxis(array, dim, 0)
    rest = array.shape[len(batch) :] if mapped else array.shape[1:]
    inner = array.shape[1 : len(batch)] if mapped else (1,) * (len(batch) - 1)
    array = lax.reshape(array, (array.shape[0], *inner, *rest))
    return jnp.broadcast_to(array, (*batch, *rest))


batching.primitive_batchers[native_p] = _batch
