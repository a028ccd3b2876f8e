"""The functions that a native call stands for: plain, and in stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from .._program import bind
from ._stages import Stages


@dataclass(frozen=True)
class Layout:
    """An array that is put together from scalars: `sources[k]` is the number of the one
    at the flat position `positions[k]`; `base`, flat, is what is elsewhere."""

    shape: tuple[int, ...]
    dtype: np.dtype
    base: bytes
    positions: tuple[int, ...]
    sources: tuple[int, ...]

    @property
    def constants(self) -> np.ndarray:
        """The flat array before the scalars are put in."""
        return np.frombuffer(self.base, self.dtype)


def concatenated(layout: Layout, scalars: Sequence[Any]) -> jax.Array:
    """The array of a layout, in one concatenation."""
    entries: list[Any] = list(layout.constants)
    for position, source in zip(layout.positions, layout.sources):
        entries[position] = scalars[source]
    if not entries:
        return lax.full(layout.shape, 0, layout.dtype)
    return lax.reshape(_concatenated(entries), layout.shape)


def _concatenated(entries: list[Any]) -> jax.Array:
    return lax.concatenate([lax.broadcast_in_dim(x, (1,), ()) for x in entries], 0)


def _stored(layout: Layout, scalars: Sequence[Any]) -> jax.Array:
    """The array of a layout, by storing one scalar after the other: that compiles to
    nothing but stores where a concatenation branches."""
    array = jnp.asarray(layout.constants)
    for position, source in zip(layout.positions, layout.sources):
        one = lax.broadcast_in_dim(scalars[source], (1,), ())
        array = lax.dynamic_update_slice(array, one, (np.int32(position),))
    return lax.reshape(array, layout.shape)


Wrap = Callable[[Callable], Callable]


class _Stored:
    """Where variables are: each is an array, or an entry of one."""

    def __init__(self, made: Stages, arrays: dict[Any, Any], where: dict):
        self.made, self.arrays, self.where = made, arrays, where

    def needed(self, variables: Sequence[Any]) -> tuple[list[jex.JaxprEqn], list[Any]]:
        """The equations that variables take, and the names of the arrays."""
        wanted = {v for v in variables if isinstance(v, jex.Var)}
        names = {self.where[v][0]: None for v in wanted if v in self.where}
        equations = []
        for eqn in reversed(self.made.jaxpr.eqns):
            if not any(v in wanted and v not in self.where for v in eqn.outvars):
                continue
            equations.append(eqn)
            own = [v for v in eqn.invars if isinstance(v, jex.Var)]
            wanted.update(own)
            names.update({self.where[v][0]: None for v in own if v in self.where})
        return equations[::-1], list(names)

    def evaluate(self, variables: Sequence[Any]) -> list[Any]:
        """The values of variables."""
        env: dict[Any, Any] = {}

        def read(v):
            if isinstance(v, jex.Literal):
                return v.val
            if v not in env:
                name, index = self.where[v]
                array = self.arrays[name]
                env[v] = array if index is None else _entry(array, index)
            return env[v]

        for eqn in self.needed(variables)[0]:
            env.update(zip(eqn.outvars, bind(eqn, [read(v) for v in eqn.invars])))
        return [read(v) for v in variables]

    def call(self, variables: Sequence[Any], layouts: Sequence[Layout], wrap: Wrap):
        """The arrays of layouts, put together from variables, in a call."""
        names = self.needed(variables)[1]

        def inside(*arrays):
            own = _Stored(self.made, dict(zip(names, arrays)), self.where)
            scalars = own.evaluate(variables)
            return [_stored(layout, scalars) for layout in layouts]

        return wrap(_call(inside))(*[self.arrays[name] for name in names])


def _entry(array: Any, index: int) -> Any:
    return lax.squeeze(lax.slice(array, (index,), (index + 1,)), (0,))


def staged(made: Stages, layouts: Sequence[Layout]) -> Callable[..., list[jax.Array]]:
    """The function of a jaxpr from arrays to scalars, put together by `layouts`, in
    calls that are compiled to native functions."""
    inputs = made.jaxpr.invars
    outputs = made.jaxpr.outvars
    # Of scalars alone: then it is one native function, with the stages inside.
    is_whole = not any(made.arrays)
    wrap = _as_it_is if is_whole else _native

    def run(*arrays):
        state = _Stored(made, dict(zip(inputs, arrays)), {v: (v, None) for v in inputs})
        for stored, equations in zip(made.stored, made.arrays):
            _add_stage(state, stored, wrap)
            for eqn in equations:
                results = bind(eqn, state.evaluate(eqn.invars))
                state.arrays.update(zip(eqn.outvars, results))
                state.where.update({v: (v, None) for v in eqn.outvars})
        return state.call(outputs, layouts, wrap)

    return _native(run) if is_whole else run


def _add_stage(state: _Stored, stored: Sequence[jex.Var], wrap: Wrap) -> None:
    """Computes what a stage stores: one array for each type of number."""
    by_dtype: dict[np.dtype, list[jex.Var]] = {}
    for v in stored:
        by_dtype.setdefault(v.aval.dtype, []).append(v)
    variables = [v for own in by_dtype.values() for v in own]
    layouts, first = [], 0
    for dtype, own in by_dtype.items():
        layouts.append(_stack(dtype, range(first, first + len(own))))
        first += len(own)
    if variables:
        arrays = state.call(variables, layouts, wrap)
        for own, array in zip(by_dtype.values(), arrays):
            state.arrays[own[0]] = array
            state.where.update({v: (own[0], i) for i, v in enumerate(own)})


def _stack(dtype: np.dtype, sources: range) -> Layout:
    count = len(sources)
    base = bytes(count * dtype.itemsize)
    return Layout((count,), dtype, base, tuple(range(count)), tuple(sources))


def _as_it_is(fun: Callable) -> Callable:
    return fun


def _call(fun: Callable) -> Callable:
    """A call that XLA does not inline."""

    def run(*arguments):
        with set_xla_metadata(inlineable="false"):
            return jax.jit(fun)(*arguments)

    return run


def _native(fun: Callable) -> Callable:
    """A call that XLA compiles to one function; inside, there may only be other calls.

    (XLA aborts where an argument of such a call ends up without a use. To be the
    operand of another call is one that it cannot remove; and behind a barrier it does
    not see arguments that are constant, and might be moved into the function.)
    """

    def run(*arguments):
        arguments = lax.optimization_barrier(arguments)
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            return jax.jit(fun)(*arguments)

    return run
