"""A program of scalars as calls that are compiled to native functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.extend.core as jex
import numpy as np

from ..._jaxpr.avals import aval_of
from ..._jaxpr.releases import ClosedJaxpr
from .layout import Layout
from .stages import Stages
from .writer import Writer


def staged(
    made: Stages, layouts: Sequence[Layout], batch: tuple[int, ...] = ()
) -> ClosedJaxpr:
    """The jaxpr from arrays to those of `layouts`, in native calls.

    Vectors in place of scalars are those of a `batch`, of one axis in front.

    Where there is nothing but scalars it is one native function, in which every stage
    is a call. (XLA aborts where an argument of a native function ends up without a use.
    To be the operand of another call is one that it cannot remove; and behind a barrier
    it does not see arguments that are constant, and might be moved into the function.)
    """
    whole = _in_calls(made, layouts, batch)
    if any(made.arrays):
        return whole
    outer = Writer([jex.Var(v.aval) for v in made.jaxpr.invars])
    return outer.done(outer.call(whole, outer.barrier(outer.inputs), native=True))


def _in_calls(made: Stages, layouts, batch: tuple[int, ...]) -> ClosedJaxpr:
    """The same without the call around it: of scalars alone it is one call after the
    other; else these are native calls already."""
    writer = Writer(made.jaxpr.invars)
    program = _Program(made, writer, is_native=any(made.arrays))
    for stored, equations in zip(made.stored, made.arrays):
        program.add_stage(stored)
        for eqn in equations:
            program.add_arrays(eqn)
    return writer.done(program.outputs(layouts, batch))


class _Program:
    """A program that is written stage by stage.

    `_where` says where variables are: each is an array, or an entry of one.
    """

    def __init__(self, made: Stages, writer: Writer, *, is_native: bool):
        self.writer, self._made, self._is_native = writer, made, is_native
        self._where: dict[jex.Var, tuple[jex.Var, int | None]]
        self._where = {v: (v, None) for v in writer.inputs}

    def add_arrays(self, eqn: jex.JaxprEqn) -> None:
        """Adds an equation of arrays."""
        # What is not stored is nothing to speak of: the cut of an array, a sign.
        for own in (*self._needed(eqn.invars)[0], eqn):
            results = self.writer.add(own, [self._outside(v) for v in own.invars])
            self._where.update((v, (r, None)) for v, r in zip(own.outvars, results))

    def _outside(self, v: Any) -> Any:
        """A variable for use outside of calls."""
        if isinstance(v, jex.Literal):
            return v
        array, index = self._where[v]
        return array if index is None else self.writer.read(array, index)

    def add_stage(self, stored: Sequence[jex.Var]) -> None:
        """Computes what a stage stores: one array for each type of number."""
        groups: dict[tuple[Any, Any], list[jex.Var]] = {}
        for v in stored:
            groups.setdefault((aval_of(v).shape, aval_of(v).dtype), []).append(v)

        def finish(body: Writer, value: Callable) -> list[jex.Var]:
            return [_stack(body, k, map(value, own)) for k, own in groups.items()]

        if groups:
            arrays = self._call([v for own in groups.values() for v in own], finish)
            for own, array in zip(groups.values(), arrays):
                self._where.update((v, (array, i)) for i, v in enumerate(own))

    def outputs(self, layouts, batch: tuple[int, ...]) -> list[jex.Var]:
        """The arrays of the layouts."""
        scalars = self._made.jaxpr.outvars

        def finish(body: Writer, value: Callable) -> list[jex.Var]:
            values = list(map(value, scalars))
            return [_stored(body, own, values, batch) for own in layouts]

        return self._call(scalars, finish)

    def _call(self, variables: Sequence[Any], finish: Callable) -> list[jex.Var]:
        """What `finish` makes of variables, in a call."""
        equations, arrays = self._needed(variables)
        inside = {array: jex.Var(array.aval) for array in arrays}
        body = Writer(list(inside.values()))
        env: dict[jex.Var, Any] = {}

        def value(v: Any) -> Any:
            if isinstance(v, jex.Literal):
                return v
            if v not in env:
                array, index = self._where[v]
                array = inside[array]
                env[v] = array if index is None else body.read(array, index)
            return env[v]

        for eqn in equations:
            env.update(zip(eqn.outvars, body.add(eqn, list(map(value, eqn.invars)))))
        made = body.done(finish(body, value))
        operands = self.writer.barrier(arrays) if self._is_native else arrays
        return self._in_call(made, operands)

    def _in_call(self, body: ClosedJaxpr, operands: list[jex.Var]):
        if not self._is_native:
            return self.writer.call(body, operands, native=False)
        outer = Writer([jex.Var(v.aval) for v in operands])
        whole = outer.done(outer.call(body, outer.inputs, native=False))
        return self.writer.call(whole, operands, native=True)

    def _needed(self, variables: Sequence[Any]) -> tuple[list[Any], list[jex.Var]]:
        """The equations that variables take, and the arrays that these read."""
        equations: list[jex.JaxprEqn] = []
        arrays: dict[jex.Var, None] = {}
        open_, seen = list(variables), set()
        numbers = set()
        while open_:
            v = open_.pop()
            if isinstance(v, jex.Literal) or v in seen:
                continue
            seen.add(v)
            if v in self._where:
                arrays[self._where[v][0]] = None
                continue
            number = self._made.number[v]
            if number not in numbers:
                numbers.add(number)
                open_ += self._made.jaxpr.eqns[number].invars
        equations = [self._made.jaxpr.eqns[number] for number in sorted(numbers)]
        return equations, list(arrays)


def _stack(body: Writer, kind: tuple[Any, Any], values) -> jex.Var:
    (shape, dtype), values = kind, list(values)
    array = body.constant(np.zeros((len(values), *shape), dtype))
    for index, value in enumerate(values):
        array = body.store(array, value, index, 0)
    return array


def _stored(
    body: Writer, layout: Layout, scalars: Sequence[Any], batch: tuple[int, ...]
) -> jex.Var:
    """The array of a layout, by storing one scalar after the other: that compiles to
    nothing but stores where a concatenation branches."""
    array = body.constant(layout.constants)
    for size in batch:
        array = body.repeat(array, size)
    for position, source in zip(layout.positions, layout.sources):
        array = body.store(array, scalars[source], position, len(batch))
    return body.reshape(array, (*batch, *layout.shape))
