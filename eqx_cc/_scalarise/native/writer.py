"""Jaxprs written equation by equation, which takes a tenth of the time of tracing."""

from __future__ import annotations

import functools as ft
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.experimental.xla_metadata import set_xla_metadata

from ..._jaxpr.avals import aval_of
from ..._jaxpr.releases import ClosedJaxpr


class Writer:
    """A jaxpr in the making, of the inputs that it is given."""

    def __init__(self, inputs: Sequence[jex.Var]):
        self.inputs = list(inputs)
        self.equations: list[jex.JaxprEqn] = []
        self._constants: list[tuple[jex.Var, Any]] = []

    def add(
        self, eqn: jex.JaxprEqn, operands: Sequence[Any], avals: Sequence[Any] = ()
    ) -> list[jex.Var]:
        """The results of an equation like `eqn` of other operands; they are of the
        types `avals` if these are given."""
        results = [jex.Var(aval) for aval in avals or map(aval_of, eqn.outvars)]
        self.equations.append(eqn.replace(invars=list(operands), outvars=results))
        return results

    def constant(self, array: np.ndarray) -> jex.Var:
        """An array that is known."""
        variable = jex.Var(ShapedArray(array.shape, array.dtype))
        self._constants.append((variable, array))
        return variable

    def read(self, array: jex.Var, index: int) -> jex.Var:
        """What is at an index of the first axis."""
        shape, dtype = aval_of(array).shape, aval_of(array).dtype
        cut, drop = _reading(shape, dtype)
        start, limit = (index, *(0 for _ in shape[1:])), (index + 1, *shape[1:])
        bounds = {"start_indices": start, "limit_indices": limit}
        [one] = self.add(cut.replace(params=cut.params | bounds), [array])
        return self.add(drop, [one])[0]

    def store(self, array: jex.Var, value: Any, index: int, axis: int) -> jex.Var:
        """An array with something else at an index of an axis: in place, in the end."""
        aval = aval_of(array)
        widen, put = _storing(aval.shape, aval.dtype, axis, aval_of(value).shape)
        [one] = self.add(widen, [value])
        starts = [index if i == axis else 0 for i in range(len(aval.shape))]
        return self.add(put, [array, one, *map(_position, starts)])[0]

    def repeat(self, value: Any, width: int) -> jex.Var:
        """So many times the same, along an axis in front."""
        aval = aval_of(value)
        return self.add(_repeating(aval.shape, width, aval.dtype), [value])[0]

    def reshape(self, array: jex.Var, shape: tuple[int, ...]) -> jex.Var:
        aval = aval_of(array)
        if aval.shape == shape:
            return array
        return self.add(_reshaping(aval.shape, shape, aval.dtype), [array])[0]

    def call(self, body: ClosedJaxpr, operands: Sequence[Any], native: bool):
        """The results of a call that XLA does not inline; or of one that it compiles to
        one function, inside which there may only be such calls."""
        return self.add(_call(body, native), operands)

    def barrier(self, operands: Sequence[jex.Var]) -> list[jex.Var]:
        """The operands, of which XLA does not know then whether they are constant."""
        if not operands:
            return []
        return self.add(_barrier(operands), operands)

    def done(self, outputs: Sequence[Any]) -> ClosedJaxpr:
        """The jaxpr."""
        stand_in = jax.make_jaxpr(lambda: ())().jaxpr
        variables = [variable for variable, _ in self._constants]
        jaxpr = stand_in.replace(
            constvars=variables,
            invars=self.inputs,
            outvars=list(outputs),
            eqns=self.equations,
            debug_info=stand_in.debug_info.with_unknown_names(),
        )
        return ClosedJaxpr(jaxpr, [value for _, value in self._constants])


def _position(index: int) -> jex.Literal:
    return jex.Literal(np.int32(index), ShapedArray((), np.dtype(np.int32)))


def _equations(fun: Callable, *avals: Any) -> list[jex.JaxprEqn]:
    return jax.make_jaxpr(fun)(*avals).jaxpr.eqns


def _struct(shape: tuple[int, ...], dtype: np.dtype) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


@ft.cache
def _reading(shape: tuple[int, ...], dtype: np.dtype) -> list[jex.JaxprEqn]:
    def first(array):
        return lax.squeeze(lax.slice_in_dim(array, 0, 1), (0,))

    return _equations(first, _struct(shape, dtype))


@ft.cache
def _storing(
    shape: tuple[int, ...], dtype: np.dtype, axis: int, own: tuple[int, ...]
) -> list[jex.JaxprEqn]:
    def store(array, value):
        one = tuple(1 if i == axis else size for i, size in enumerate(shape))
        others = [i for i in range(len(shape)) if i != axis] if own else []
        one = lax.broadcast_in_dim(value, one, others)
        return lax.dynamic_update_slice(array, one, [np.int32(0) for _ in shape])

    return _equations(store, _struct(shape, dtype), _struct(own, dtype))


@ft.cache
def _repeating(shape: tuple[int, ...], width: int, dtype: np.dtype) -> jex.JaxprEqn:
    [eqn] = _equations(lambda x: lax.broadcast(x, (width,)), _struct(shape, dtype))
    return eqn


@ft.cache
def _reshaping(shape, new: tuple[int, ...], dtype: np.dtype) -> jex.JaxprEqn:
    [eqn] = _equations(lambda x: lax.reshape(x, new), _struct(shape, dtype))
    return eqn


def _structs(variables: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    return [_struct(aval.shape, aval.dtype) for aval in map(aval_of, variables)]


def _barrier(operands: Sequence[jex.Var]) -> jex.JaxprEqn:
    [eqn] = _equations(lambda *xs: lax.optimization_barrier(xs), *_structs(operands))
    return eqn


def _call(body: ClosedJaxpr, native: bool) -> jex.JaxprEqn:
    """The equation of a call of `body`, which is put where another function was."""
    results = _structs(body.jaxpr.outvars)

    @jax.jit
    def scalars(*operands):
        return [lax.full(r.shape, 0, r.dtype) for r in results]

    def call(*operands):
        attributes = {"xla_cpu_small_call": "true"} if native else {}
        with set_xla_metadata(inlineable="false", **attributes):
            return scalars(*operands)

    [eqn] = _equations(call, *_structs(body.jaxpr.invars))
    return eqn.replace(params=eqn.params | {"jaxpr": body})
