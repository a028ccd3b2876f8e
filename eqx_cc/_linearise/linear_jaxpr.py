"""Linear jaxprs: the blocks of one equation, and the elimination of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np
from jax.core import Tracer

from .._blocks.arrays import Values
from .._graph.elimination import plan
from .._jaxpr.avals import avals_of, is_inexact
from .._jaxpr.program import bind, Constant, Equation, flatten, plain, reader
from .._orders.orderings import MinimalMarkowitz
from .._rules import linear_rule, Operand
from .._rules.fallback import dense_pairs, dense_values, prefers_reverse
from .._sparsity.pattern import Pattern
from .accumulate import accumulate
from .graph_builder import GraphBuilder


Pair = tuple[int, int, Pattern]
Reading = Callable[[Sequence[Any]], list[Values]]


def linear_blocks(
    eqn: jex.JaxprEqn,
    linear: Sequence[int],
    indices: dict[int, np.ndarray],
    scalars: dict[int, Any],
) -> tuple[list[Pair], Reading] | None:
    """The blocks of an equation that is linear in operands `linear`.

    Returns the pairs, and how their values are read off the operands; None if no rule
    applies. `indices` and `scalars` are the operands that are known while tracing.
    """
    rule = linear_rule(eqn.primitive)
    if rule is not None:
        operands = [
            Operand(
                tuple(aval.shape),
                aval.dtype,
                i in linear,
                _number(scalars.get(i)),
                indices.get(i),
            )
            for i, aval in enumerate(avals_of(eqn.invars))
        ]
        results = [
            jax.ShapeDtypeStruct(aval.shape, aval.dtype)
            for aval in avals_of(eqn.outvars)
        ]
        blocks = rule(operands, results, plain(eqn.params))
        if blocks is not None:
            pairs = [(b.operand, b.result, b.pattern) for b in blocks]
            return pairs, lambda arrays: [b.values(arrays) for b in blocks]
    return None


def _fallback_blocks(eqn: jex.JaxprEqn, linear) -> tuple[list[Pair], Reading]:
    reverse = prefers_reverse(eqn, linear)
    pairs = dense_pairs(eqn, linear)
    return pairs, lambda arrays: dense_values(eqn, linear, arrays, reverse)


def _number(value):
    if value is None:
        return None
    value = np.asarray(value).item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def is_known_scalar(operand: Constant) -> bool:
    """Whether an operand is one floating-point number known while tracing."""
    if isinstance(operand.value, Tracer) or not is_inexact(operand.aval):
        return False
    return operand.aval.shape == ()


class LinearProgram:
    """A linear jaxpr with its intermediates eliminated.

    `pairs` are `(input, output, pattern)`; `run(residuals)` gives their values.
    """

    def __init__(self, jaxpr: jex.Jaxpr, inputs, residuals):
        self.program = flatten(jaxpr)
        self.num_inputs = len(jaxpr.invars)
        self.known = {
            self.num_inputs + i: residual
            for i, residual in enumerate(residuals)
            if isinstance(residual, Constant)
        }
        self.builder = GraphBuilder()
        self.fallback = False
        self._build(inputs)

    def _build(self, inputs) -> None:
        vertices: dict[Any, int] = {
            i: self.builder.vertex(aval.dtype) for i, aval in enumerate(inputs)
        }
        shapes = dict(enumerate(aval.shape for aval in inputs))
        self.steps: list[tuple[Equation, Reading, list[int]]] = []
        for equation in self.program.equations:
            own: dict[int, Any] = {
                i: vertices.get(o) for i, o in enumerate(equation.operands)
            }
            linear = [i for i, vertex in own.items() if vertex is not None]
            pairs = self._step(equation, linear) if linear else []
            for number, (which, result, pattern) in enumerate(pairs):
                name = equation.results[result]
                aval = equation.result_avals[result]
                if name not in vertices:
                    vertices[name] = self.builder.vertex(aval.dtype)
                    shapes[name] = aval.shape
                source = (len(self.steps) - 1, number)
                self.builder.edge(own[which], vertices[name], pattern, source)
        self._finish(vertices, shapes)

    def _step(self, equation: Equation, linear: list[int]) -> list[Pair]:
        operands = dict(enumerate(equation.operands))
        known = {
            i: o if isinstance(o, Constant) else self.known.get(o)
            for i, o in operands.items()
        }
        known = {i: c for i, c in known.items() if c is not None}
        scalars = {i: c.value for i, c in known.items() if is_known_scalar(c)}
        indices = {
            i: np.asarray(c.value)
            for i, c in known.items()
            if not isinstance(c.value, Tracer) and _is_integer(c.aval)
        }
        found = _inside(equation.eqn, linear)
        if found is None:
            found = linear_blocks(equation.eqn, linear, indices, scalars)
        self.fallback = self.fallback or found is None
        pairs, read = found or _fallback_blocks(equation.eqn, linear)
        kept = [n for n, (_, _, pattern) in enumerate(pairs) if not pattern.is_zero]
        self.steps.append((equation, read, kept))
        return [pairs[n] for n in kept]

    def _finish(self, vertices, shapes) -> None:
        ends = [
            (vertices[out], shapes[out])
            if isinstance(out, int) and out in vertices
            else None
            for out in self.program.outputs
        ]
        outputs = self.builder.outputs(ends, self.num_inputs)
        dependents = [vertex for vertex in outputs if vertex is not None]
        graph, self.edges = self.builder.build(list(range(self.num_inputs)), dependents)
        self.plan = plan(graph, MinimalMarkowitz()(graph))
        number = {vertex: i for i, vertex in enumerate(outputs) if vertex is not None}
        self.ends = list(self.plan.blocks)
        self.pairs = [(u, number[v], p) for (u, v), p in self.plan.blocks.items()]

    def run(self, residuals: Sequence[Any]) -> list[Values]:
        env = dict(enumerate(residuals, self.num_inputs))
        read = reader(env)
        steps = {equation.results: n for n, (equation, _, _) in enumerate(self.steps)}
        values: dict[int, list[Values]] = {}
        for equation in self.program.equations:
            arrays = [read(o) for o in equation.operands]
            if equation.results in steps:
                number = steps[equation.results]
                _, block_values, kept = self.steps[number]
                found = block_values(arrays)
                values[number] = [found[n] for n in kept]
            elif all(a is not None for a in arrays):
                env.update(zip(equation.results, bind(equation.eqn, arrays)))
        edges = {
            ends: edge.values(
                [_source(source, values) for source in edge.sources],
                self.builder.dtypes[ends[1]],
            )
            for ends, edge in self.edges.items()
        }
        result = accumulate(self.plan, edges, self.builder.dtypes)
        return [result[ends] for ends in self.ends]


def _source(source, values) -> Values:
    """The values of an edge: of block `(step, number)`, or all known (a copy)."""
    known = None in source or source == ()
    return source if known else values[source[0]][source[1]]


def _is_integer(aval) -> bool:
    return (
        isinstance(getattr(aval, "dtype", None), np.dtype) and aval.dtype.kind in "iu"
    )


def _inside(
    eqn: jex.JaxprEqn, linear: Sequence[int]
) -> tuple[Sequence[Pair], Reading] | None:
    """The blocks of a function with a derivative of its own, all operands of which are
    tangents: it is linear, and its values are its derivative. (Where a rule calls such
    a function, JAX 0.12 leaves the call in the linear jaxpr.)"""
    if eqn.primitive.name != "custom_jvp_call" or len(linear) < len(eqn.invars):
        return None
    body = eqn.params["call_jaxpr"]
    inside = LinearProgram(body.jaxpr, avals_of(eqn.invars), body.consts)
    if inside.fallback:
        return None
    return inside.pairs, lambda arrays: inside.run(body.consts)
