"""Native functions as one JAX primitive, and how XLA gets them.

On CPU a call with the frontend attributes `xla_cpu_small_call="true"` and
`inlineable="false"` is compiled to one native function. (Without the second attribute
XLA inlines the call, and the first one is lost.) A probe compiles a small one, once per
process. JAX's own operations compute the same function where the probe fails, where XLA
is to split a program over devices, on other platforms, and everywhere if the
environment variable `EQX_CC_NATIVE` is `off`.
"""

from __future__ import annotations

import abc
import functools as ft
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.experimental.xla_metadata import set_xla_metadata
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from ..._jaxpr.interpreters import register_as_call
from ..._jaxpr.outside_trace import call_outside_trace
from ..._jaxpr.releases import ClosedJaxpr
from ..._jaxpr.shard_map import is_split


# Half of the bytes from which on XLA splits operations on an array over threads, which
# it cannot do in a native call.
MAX_BYTES = 1 << 17


class AbstractNativeFunction(abc.ABC):
    """A function of arrays that is written twice: natively and as JAX's operations.

    `is_inlined`: transformations that read calls in place read this one too.
    """

    is_inlined: ClassVar[bool]

    @property
    @abc.abstractmethod
    def in_avals(self) -> Sequence[Any]:
        """The abstract values of the arguments."""

    @property
    @abc.abstractmethod
    def out_avals(self) -> Sequence[Any]:
        """The results, each with a shape and a dtype."""

    @abc.abstractmethod
    def by_operations(self, *arrays) -> list[jax.Array]:
        """The results for one point, by JAX's own operations."""

    @abc.abstractmethod
    def natively(self, call: NativeCall, arrays: Sequence[jax.Array]) -> list[Any]:
        """The results of a call, which may be over batches, natively."""

    @abc.abstractmethod
    def prefers_native(self, sizes: tuple[Any, ...]) -> bool:
        """True if native code is allowed and faster for batches of these sizes."""


@dataclass(frozen=True)
class NativeCall:
    """A native function over batches, of which the last has its axis in front.

    `sizes[k]` is the size of batch `k` (a symbol in `jax.export`), and `mapped[k][i]`
    is true if operand `i` has its axis. For example, `jax.vmap(jax.vmap(f), (0, None))`
    of `f(x, y)` has the mapped operands `((True, True), (True, False))`.
    """

    function: AbstractNativeFunction
    sizes: tuple[Any, ...] = ()
    mapped: tuple[tuple[bool, ...], ...] = ()

    @property
    def batch(self) -> tuple[Any, ...]:
        """The axes of all batches, as results have them."""
        return tuple(reversed(self.sizes))

    def plain(self, *arrays) -> list[jax.Array]:
        """The results by JAX's own operations."""
        return self.over_batches(self.function.by_operations, _vmapped)(*arrays)

    def native(self, *arrays) -> list[jax.Array]:
        """The results by native functions."""
        return self.function.natively(self, arrays)

    def over_batches(self, fun: Callable, transform: Callable) -> Callable:
        """`fun` transformed for one batch after the other."""
        for mapped in self.mapped:
            fun = transform(fun, mapped)
        return fun

    @ft.cached_property
    def body(self) -> ClosedJaxpr | None:
        """The jaxpr of a call that transformations read in place, else None."""
        if not self.function.is_inlined:
            return None
        structs = []
        for i, aval in enumerate(self.function.in_avals):
            pairs = zip(self.batch, reversed(self.mapped))
            axes = [size for size, mapped in pairs if mapped[i]]
            structs.append(jax.ShapeDtypeStruct((*axes, *aval.shape), aval.dtype))
        return jax.make_jaxpr(self.plain)(*structs)


def _vmapped(fun: Callable, mapped: Sequence[bool]) -> Callable:
    return jax.vmap(fun, in_axes=tuple(0 if m else None for m in mapped))


def one_by_one(fun: Callable, mapped: Sequence[bool]) -> Callable:
    """`fun` in a loop over a batch, the first axis of the operands that are mapped."""

    def run(*arrays):
        constants = [a for a, m in zip(arrays, mapped) if not m]

        def point(slices):
            pair = iter(constants), iter(slices)
            return fun(*[next(pair[m]) for m in mapped])

        return lax.map(point, [a for a, m in zip(arrays, mapped) if m])

    return run


#
# The primitive
#

native_p = jex.Primitive("native_call")
native_p.multiple_results = True


@ft.lru_cache(maxsize=512)
def _jitted(call: NativeCall) -> Callable:
    return jax.jit(lambda *arrays: native_p.bind(*arrays, call=call))


@native_p.def_impl
def _(*arrays, call: NativeCall):
    with jax.disable_jit(False):  # As JAX does for primitives of its own.
        return _jitted(call)(*arrays)


@native_p.def_abstract_eval
def _(*avals, call: NativeCall):
    outs = call.function.out_avals
    return [_on_mesh(avals, (*call.batch, *out.shape), out.dtype) for out in outs]


def _on_mesh(avals: Sequence[Any], shape: tuple[Any, ...], dtype: Any) -> ShapedArray:
    """The abstract value of a result, which is on the mesh of the operands."""
    mesh = getattr(getattr(avals[0], "sharding", None), "mesh", None) if avals else None
    if mesh is None or mesh.empty:
        return ShapedArray(shape, dtype)
    whole = NamedSharding(mesh, PartitionSpec(*[None] * len(shape)))
    changed = dict(shape=shape, dtype=dtype, weak_type=False, sharding=whole)
    return avals[0].update(**changed)


def _batch(arrays, dims, *, call: NativeCall):
    [size] = {a.shape[d] for a, d in zip(arrays, dims) if d is not None}
    mapped = tuple(d is not None for d in dims)
    call = replace(call, sizes=(*call.sizes, size), mapped=(*call.mapped, mapped))
    split = [array for array in arrays if is_split(array)]
    arrays = [a if d is None else jnp.moveaxis(a, d, 0) for a, d in zip(arrays, dims)]
    if split:
        with jax.sharding.use_abstract_mesh(jax.typeof(split[0]).sharding.mesh):
            results = call.plain(*arrays)
    else:
        results = native_p.bind(*arrays, call=call)
    return results, [0] * len(results)


def _jvp(primals, tangents, *, call: NativeCall):
    tangents = tuple(ad.instantiate_zeros(t) for t in tangents)
    return jax.jvp(call.plain, tuple(primals), tangents)


def _lower_plain(ctx, *arrays, call: NativeCall):
    return _lower(call.plain, ctx, arrays)


def _lower_native(ctx, *arrays, call: NativeCall):
    prefers_native = call.function.prefers_native(call.sizes)
    if prefers_native and _allows_native(ctx.module_context):
        return _lower(call.native, ctx, arrays)
    return _lower_plain(ctx, *arrays, call=call)


def _lower(fun: Callable, ctx, arrays):
    with jax.disable_jit(False):  # JAX compiles branches whole where jit is disabled.
        return mlir.lower_fun(fun, multiple_results=True)(ctx, *arrays)


batching.primitive_batchers[native_p] = _batch
ad.primitive_jvps[native_p] = _jvp
mlir.register_lowering(native_p, _lower_plain)
mlir.register_lowering(native_p, _lower_native, platform="cpu")
register_as_call(native_p, lambda *arrays, call: call.plain(*arrays))


#
# Where native calls are possible
#


def _allows_native(module: Any) -> bool:
    """True if a module that is being lowered for CPU may have native calls: not where
    XLA is to split it over devices, as it could not split a loop over the batch."""
    if os.environ.get("EQX_CC_NATIVE", "on") == "off":
        return False
    context = getattr(module, "axis_context", None)
    mesh, manual = getattr(context, "mesh", None), getattr(context, "manual_axes", ())
    is_whole = mesh is not None and set(mesh.axis_names) == set(manual)
    return (is_whole or getattr(context, "num_devices", 1) == 1) and works()


@ft.cache
def works() -> bool:
    """True if this version of XLA compiles a native call with a call inside."""
    return call_outside_trace(_probe)


def in_native_call(fun: Callable) -> Callable:
    """`fun` in a call that XLA compiles to one native function."""

    def run(*arrays):
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            return jax.jit(fun)(*arrays)

    return run


def _probe() -> bool:
    def inner(x):
        return lax.dynamic_update_slice(x, lax.sin(x[:1]), (1,))

    def outer(x):
        y = in_native_call(inner)(x)
        return lax.dynamic_update_slice(y, lax.exp(y[1:]), (0,))

    try:
        x = np.array([0.5, 0.0], np.float32)
        device = jax.local_devices(backend="cpu")[0]
        result = jax.jit(in_native_call(outer))(jax.device_put(x, device))
    except Exception:  # Whatever a version of XLA may say: there is only JAX above.
        return False
    return bool(np.allclose(result, [np.exp(np.sin(0.5)), np.sin(0.5)], rtol=1e-5))
