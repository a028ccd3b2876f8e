"""Primitives that are native calls on CPU, and JAX's own operations elsewhere."""

from __future__ import annotations

import functools as ft
from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex
from jax.interpreters import ad, mlir

from ..._jaxpr.interpreters import seen_as_call
from .probe import is_native


def native_primitive(name: str) -> jex.Primitive:
    """A primitive with the parameter `call`, an object that has the function as
    `plain` and as `native`, and says in `is_native` whether the latter is the way.

    What is left to be told is the types of its results, and what a batch of it is.
    """
    primitive = jex.Primitive(name)
    primitive.multiple_results = True

    @ft.lru_cache(maxsize=256)
    def jitted(call: Any) -> Callable:
        return jax.jit(lambda *arrays: primitive.bind(*arrays, call=call))

    @primitive.def_impl
    def _(*arrays, call):
        with jax.disable_jit(False):  # As JAX does for primitives of its own.
            return jitted(call)(*arrays)

    ad.primitive_jvps[primitive] = _jvp
    mlir.register_lowering(primitive, _lower_plain)
    mlir.register_lowering(primitive, _lower_native, platform="cpu")
    seen_as_call(primitive, lambda *arrays, call: call.plain(*arrays))
    return primitive


def _jvp(primals, tangents, *, call: Any):
    tangents = tuple(ad.instantiate_zeros(t) for t in tangents)
    return jax.jvp(call.plain, tuple(primals), tangents)


def _lower_plain(ctx, *arrays, call: Any):
    return _lowered(call.plain, ctx, arrays)


def _lower_native(ctx, *arrays, call: Any):
    if not call.is_native or not is_native(ctx.module_context):
        return _lower_plain(ctx, *arrays, call=call)
    return _lowered(call.native, ctx, arrays)


def _lowered(fun: Callable, ctx, arrays):
    with jax.disable_jit(False):  # JAX compiles branches whole where jit is disabled.
        return mlir.lower_fun(fun, multiple_results=True)(ctx, *arrays)
