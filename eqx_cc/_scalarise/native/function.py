"""Loops over numbers as one native call, and as JAX's own operations elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.interpreters import batching

from ..._jaxpr.releases import ClosedJaxpr
from ..._jaxpr.shard_map import is_split, varies
from .primitive import native_primitive
from .sharding import aval_like


# From this size on, a batch is run operation by operation, each of them for all of it:
# an operation takes about a microsecond to start.
_LARGE_BATCH = 32
# Bytes of what XLA leaves to one thread.
_LARGEST = 1 << 17


@dataclass(frozen=True, eq=False)
class NativeFunction:
    """One function of arrays, written twice.

    `native` is made for a compiler of numbers: nothing but loops and single entries of
    arrays. `plain` has operations of arrays. Both are closed jaxprs without constants,
    and every argument of `native` is used. `always`: for large batches as well.
    """

    native: ClosedJaxpr
    plain: ClosedJaxpr
    always: bool

    def __call__(self, *arrays) -> list[jax.Array]:
        if any(map(varies, arrays)):
            return jex.jaxpr_as_fun(self.plain)(*arrays)
        return function_p.bind(*arrays, call=_Call(self))


def native_function(
    native: Callable, plain: Callable, *structs, always: bool = False
) -> NativeFunction:
    """The function that both are; `structs` have the types of its arguments."""
    with jax.disable_jit(False):  # Which would unroll loops.
        made = jax.make_jaxpr(native)(*structs), jax.make_jaxpr(plain)(*structs)
    return NativeFunction(*made, always)


@dataclass(frozen=True)
class _Call:
    """A function over batches; those arguments that are `mapped` have their axes in
    front, the last batch first."""

    function: NativeFunction
    sizes: tuple[int, ...] = ()
    mapped: tuple[tuple[bool, ...], ...] = ()

    def plain(self, *arrays) -> list[jax.Array]:
        fun = jex.jaxpr_as_fun(self.function.plain)
        for mapped in self.mapped:
            fun = jax.vmap(fun, in_axes=tuple(0 if m else None for m in mapped))
        return fun(*arrays)

    def native(self, *arrays) -> list[jax.Array]:
        fun = jex.jaxpr_as_fun(self.function.native)
        if self._fits:
            return _as_native(self._over_batches(fun))(*arrays)
        return self._over_batches(_as_native(fun))(*arrays)

    def _over_batches(self, fun: Callable) -> Callable:
        for mapped in self.mapped:
            fun = _one_by_one(fun, mapped)
        return fun

    @property
    def is_native(self) -> bool:
        return self.function.always or math.prod(self.sizes) < _LARGE_BATCH

    @property
    def _fits(self) -> bool:
        """Whether the loop over the batch may be native too: XLA may split larger
        arrays over threads, which is not for native calls."""
        avals = *self.function.plain.in_avals, *self.function.plain.out_avals
        each = sum(aval.size * aval.dtype.itemsize for aval in avals)
        return math.prod(self.sizes) * each <= _LARGEST


def _as_native(fun: Callable) -> Callable:
    def run(*arrays):
        # XLA stops the process if an argument of such a call is found to be unused.
        arrays = lax.optimization_barrier(arrays)
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            return jax.jit(fun)(*arrays)

    return run


def _one_by_one(fun: Callable, mapped: Sequence[bool]) -> Callable:
    def run(*arrays):
        fixed = [a for a, m in zip(arrays, mapped) if not m]

        def one(moving):
            moving, constant = iter(moving), iter(fixed)
            return fun(*[next(moving if m else constant) for m in mapped])

        return lax.map(one, [a for a, m in zip(arrays, mapped) if m])

    return run


function_p = native_primitive("native_function")


@function_p.def_abstract_eval
def _abstract(*avals, call: _Call):
    batch = tuple(reversed(call.sizes))
    outs = call.function.plain.out_avals
    return [aval_like(avals, (*batch, *out.shape), out.dtype) for out in outs]


def _batch(arrays, dims, *, call: _Call):
    [size] = {a.shape[d] for a, d in zip(arrays, dims) if d is not None}
    mapped = tuple(d is not None for d in dims)
    own = [a if d is None else jnp.moveaxis(a, d, 0) for a, d in zip(arrays, dims)]
    call = replace(call, sizes=(*call.sizes, size), mapped=(*call.mapped, mapped))
    split = [array for array in arrays if is_split(array)]
    if split:
        with jax.sharding.use_abstract_mesh(jax.typeof(split[0]).sharding.mesh):
            results = call.plain(*own)
    else:
        results = function_p.bind(*own, call=call)
    return results, [0] * len(results)


batching.primitive_batchers[function_p] = _batch
