"""A program of scalars as a jaxpr of native calls.

Results are written by a chain of updates in place, which compiles to nothing but
stores; a concatenation branches. The jaxprs of the calls are written equation by
equation, in a tenth of the time of tracing, which took most of the time for lowering.

XLA aborts the process if an argument of a native function ends up without a use. To be
the operand of a call inside is a use that it cannot remove. And a barrier before the
native call hides which arguments are constant: XLA would move these into the function.
"""

from __future__ import annotations

import functools as ft
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.experimental.xla_metadata import set_xla_metadata

from ..._jaxpr.avals import aval_of
from ..._jaxpr.releases import ClosedJaxpr
from .layout import Layout
from .stages import is_stacking, Stages


def staged(
    program: Stages, layouts: Sequence[Layout], batch: tuple[int, ...] = ()
) -> ClosedJaxpr:
    """The jaxpr from arrays to those of `layouts`, in native calls.

    A `batch` has at most one axis; with it, vectors stand in place of scalars. Where
    there is nothing but scalars, the whole is one native call and every stage is a call
    inside; else every stage is a native call.
    """
    writer = Writer(program.jaxpr.invars)
    emission = _Emission(program, writer)
    for stored, equations in zip(program.stored, program.arrays):
        emission.add_stage(stored)
        for eqn in equations:
            emission.add_arrays(eqn)
    whole = writer.done(emission.outputs(layouts, batch))
    if any(program.arrays):
        return whole
    outer = Writer([jex.Var(v.aval) for v in program.jaxpr.invars])
    return outer.done(outer.call(whole, outer.barrier(outer.inputs), native=True))


class _Emission:
    """A program that is written stage by stage.

    `_sources` says where variables are: each is an array, or an entry of one.
    """

    def __init__(self, program: Stages, writer: Writer):
        self._program, self._writer = program, writer
        self._is_native = any(program.arrays)
        self._sources: dict[jex.Var, tuple[jex.Var, int | None]]
        self._sources = {v: (v, None) for v in writer.inputs}

    def add_arrays(self, eqn: jex.JaxprEqn) -> None:
        """Adds an equation of arrays."""
        results = self._stack(eqn) if is_stacking(eqn) else self._outside(eqn)
        self._sources.update((v, (r, None)) for v, r in zip(eqn.outvars, results))

    def _stack(self, eqn: jex.JaxprEqn) -> list[jex.Var]:
        """The array of scalars, which a call stores: outside of one, each scalar that
        is cut out of an array is an operation that XLA starts."""
        shape, dtype = _type(eqn.outvars[0])

        def finish(body: Writer, value: Callable) -> list[jex.Var]:
            entries = [body.reshape(value(v), ()) for v in eqn.invars]
            return [_stacked(body, entries, len(entries), (), dtype)]

        [array] = self._call(eqn.invars, finish)
        return [self._writer.reshape(array, shape)]

    def _outside(self, eqn: jex.JaxprEqn) -> list[jex.Var]:
        """The results of an equation of arrays, outside of calls."""
        sources = self._sources.copy()

        def value(v: Any) -> Any:
            if isinstance(v, jex.Literal):
                return v
            array, index = sources[v]
            return array if index is None else self._writer.read(array, index)

        # What is not stored takes next to nothing: the cut of an array, a sign.
        for each in self._program.needed(eqn.invars, self._sources)[0]:
            results = self._writer.add(each, list(map(value, each.invars)))
            sources.update((v, (r, None)) for v, r in zip(each.outvars, results))
        return self._writer.add(eqn, list(map(value, eqn.invars)))

    def add_stage(self, stored: Sequence[jex.Var]) -> None:
        """Computes what a stage stores: one array for each type of number."""
        groups: dict[tuple[Any, Any], list[jex.Var]] = defaultdict(list)
        for v in stored:
            groups[_type(v)].append(v)

        def finish(body: Writer, value: Callable) -> list[jex.Var]:
            return [
                _stacked(body, map(value, variables), len(variables), *kind)
                for kind, variables in groups.items()
            ]

        if groups:
            grouped = [v for variables in groups.values() for v in variables]
            arrays = self._call(grouped, finish)
            for variables, array in zip(groups.values(), arrays):
                self._sources.update((v, (array, i)) for i, v in enumerate(variables))

    def outputs(
        self, layouts: Sequence[Layout], batch: tuple[int, ...]
    ) -> list[jex.Var]:
        """The arrays of the layouts."""
        scalars = self._program.jaxpr.outvars

        def finish(body: Writer, value: Callable) -> list[jex.Var]:
            values = list(map(value, scalars))
            return [_assembled(body, layout, values, batch) for layout in layouts]

        return self._call(scalars, finish)

    def _call(self, variables: Sequence[Any], finish: Callable) -> list[jex.Var]:
        """The results of `finish(body, value)`, which writes what it makes of the
        values of `variables`, in a call."""
        equations, used = self._program.needed(variables, self._sources)
        arrays = list(dict.fromkeys(self._sources[v][0] for v in used))
        inside = {array: jex.Var(array.aval) for array in arrays}
        body = Writer(list(inside.values()))
        env: dict[jex.Var, Any] = {}

        def value(v: Any) -> Any:
            if isinstance(v, jex.Literal):
                return v
            if v not in env:
                array, index = self._sources[v]
                array = inside[array]
                env[v] = array if index is None else body.read(array, index)
            return env[v]

        for eqn in equations:
            env.update(zip(eqn.outvars, body.add(eqn, list(map(value, eqn.invars)))))
        closed = body.done(finish(body, value))
        if not self._is_native:
            return self._writer.call(closed, arrays, native=False)
        outer = Writer([jex.Var(v.aval) for v in arrays])
        whole = outer.done(outer.call(closed, outer.inputs, native=False))
        return self._writer.call(whole, self._writer.barrier(arrays), native=True)


def _stacked(body: Writer, values: Iterable[Any], count: int, shape, dtype) -> jex.Var:
    array = body.constant(np.zeros((count, *shape), dtype))
    for index, value in enumerate(values):
        array = body.store(array, value, index, axis=0)
    return array


def _assembled(
    body: Writer, layout: Layout, scalars: Sequence[Any], batch: tuple[int, ...]
) -> jex.Var:
    array = body.constant(layout.constants)
    for size in batch:
        array = body.repeat(array, size)
    for position, source in zip(layout.positions, layout.sources):
        array = body.store(array, scalars[source], position, axis=len(batch))
    return body.reshape(array, (*batch, *layout.shape))


#
# Jaxprs, equation by equation
#


class Writer:
    """A jaxpr in the making, with the variables `inputs`."""

    def __init__(self, inputs: Sequence[jex.Var]):
        self.inputs = list(inputs)
        self.equations: list[jex.JaxprEqn] = []
        self._constants: list[tuple[jex.Var, Any]] = []

    def add(
        self, eqn: jex.JaxprEqn, operands: Sequence[Any], avals: Sequence[Any] = ()
    ) -> list[jex.Var]:
        """The results of an equation like `eqn` of other operands; `avals` are their
        types if these differ."""
        results = [jex.Var(aval) for aval in avals or map(aval_of, eqn.outvars)]
        self.equations.append(eqn.replace(invars=list(operands), outvars=results))
        return results

    def constant(self, array: np.ndarray) -> jex.Var:
        """A constant array."""
        variable = jex.Var(ShapedArray(array.shape, array.dtype))
        self._constants.append((variable, array))
        return variable

    def read(self, array: jex.Var, index: int) -> jex.Var:
        """The element at an index of the first axis."""
        cut, drop = _template(_first_element, _type(array))
        shape = aval_of(array).shape
        start, limit = (index, *(0 for _ in shape[1:])), (index + 1, *shape[1:])
        bounds = {"start_indices": start, "limit_indices": limit}
        [slice_] = self.add(cut.replace(params=cut.params | bounds), [array])
        return self.add(drop, [slice_])[0]

    def store(self, array: jex.Var, value: Any, index: int, *, axis: int) -> jex.Var:
        """The array with `value` at an index of an axis: XLA updates it in place."""
        types = _type(array), (aval_of(value).shape, aval_of(array).dtype)
        widen, update = _template(_stored, *types, axis=axis)
        [slice_] = self.add(widen, [value])
        starts = [index if i == axis else 0 for i in range(len(aval_of(array).shape))]
        return self.add(update, [array, slice_, *map(_position, starts)])[0]

    def repeat(self, value: Any, width: int) -> jex.Var:
        """`width` times the same, along an axis in front."""
        [eqn] = _template(_repeated, _type(value), width=width)
        return self.add(eqn, [value])[0]

    def reshape(self, array: Any, shape: tuple[int, ...]) -> Any:
        """The array in another shape."""
        if aval_of(array).shape == shape:
            return array
        [eqn] = _template(_reshaped, _type(array), shape=shape)
        return self.add(eqn, [array])[0]

    def call(
        self, body: ClosedJaxpr, operands: Sequence[Any], *, native: bool
    ) -> list[jex.Var]:
        """The results of a call that XLA does not inline. A native one is compiled to
        one function; inside it, other calls are all that there may be."""
        return self.add(_call(body, native=native), operands)

    def barrier(self, operands: Sequence[jex.Var]) -> list[jex.Var]:
        """The operands, hiding from XLA which of them are constant."""
        return self.add(_barrier(operands), operands) if operands else []

    def done(self, outputs: Sequence[Any]) -> ClosedJaxpr:
        """The jaxpr."""
        template = jax.make_jaxpr(lambda: ())().jaxpr
        jaxpr = template.replace(
            constvars=[variable for variable, _ in self._constants],
            invars=self.inputs,
            outvars=list(outputs),
            eqns=self.equations,
            debug_info=template.debug_info.with_unknown_names(),
        )
        return ClosedJaxpr(jaxpr, [value for _, value in self._constants])


def _position(index: int) -> jex.Literal:
    return jex.Literal(np.int32(index), ShapedArray((), np.dtype(np.int32)))


def _type(v: Any) -> tuple[Any, Any]:
    return aval_of(v).shape, aval_of(v).dtype


def _equations(fun: Callable, *structs: Any) -> list[jex.JaxprEqn]:
    return jax.make_jaxpr(fun)(*structs).jaxpr.eqns


@ft.cache
def _template(fun: Callable, *types: tuple[Any, Any], **static) -> list[jex.JaxprEqn]:
    """The equations of a function of arrays of these shapes and dtypes."""
    structs = [jax.ShapeDtypeStruct(*each) for each in types]
    return _equations(ft.partial(fun, **static), *structs)


def _first_element(array):
    return lax.squeeze(lax.slice_in_dim(array, 0, 1), (0,))


def _stored(array, value, *, axis: int):
    shape = tuple(1 if i == axis else size for i, size in enumerate(array.shape))
    dims = [i for i in range(array.ndim) if i != axis] if value.shape else []
    slice_ = lax.broadcast_in_dim(value, shape, dims)
    return lax.dynamic_update_slice(array, slice_, [np.int32(0)] * array.ndim)


def _repeated(value, *, width: int):
    return lax.broadcast(value, (width,))


def _reshaped(array, *, shape: tuple[int, ...]):
    return lax.reshape(array, shape)


def _structs(variables: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(*_type(v)) for v in variables]


def _barrier(operands: Sequence[jex.Var]) -> jex.JaxprEqn:
    return _equations(lambda *xs: lax.optimization_barrier(xs), *_structs(operands))[0]


def _call(body: ClosedJaxpr, *, native: bool) -> jex.JaxprEqn:
    """The equation of a call of `body`, which replaces that of a traced function."""
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
