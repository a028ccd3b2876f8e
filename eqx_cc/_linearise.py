"""From a program and its inputs to outputs, computational graph and local partials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._accumulate import accumulate
from ._body import Block
from ._builder import GraphBuilder
from ._control_flow import control_flow
from ._graph import ComputationalGraph
from ._numeric import Values
from ._ordering import AbstractOrdering, check_order, Given, MinimalMarkowitz
from ._plan import plan
from ._program import bind, concrete, Constant, Equation, known_value, Program
from ._rules.dense import is_inexact
from ._source import place
from ._template import template


class Linearised(NamedTuple):
    """The values of a program at a point, with its linearised computational graph.

    `dependents` has the vertex of each output, None where it depends on no input.
    """

    outputs: list[Any]
    graph: ComputationalGraph
    values: dict[tuple[int, int], Values]
    dependents: list[int | None]
    dtypes: list[np.dtype]


def linearise(
    program: Program,
    inputs: Sequence[Any],
    active: Sequence[int],
    ordering: AbstractOrdering,
    num_outputs: int,
) -> Linearised:
    """Evaluates a program, with the partials of every equation that depends on the
    inputs `active`, for the first `num_outputs` of its outputs. The bodies of loops are
    eliminated in the order of `ordering`."""
    walk = _Walk(program, inputs, active, ordering)
    for equation in program.equations:
        walk.step(equation)
    return walk.finish(num_outputs)


def differentiate(
    program: Program,
    inputs: Sequence[Any],
    active: Sequence[int],
    ordering: AbstractOrdering,
    num_outputs: int,
) -> tuple[list[Any], dict[tuple[int, int], Block], Linearised]:
    """The outputs of a program, and the non-zero blocks `(output, input)` of the
    Jacobian of the first `num_outputs` with respect to the inputs `active`."""
    made = linearise(program, inputs, active, ordering, num_outputs)
    order = tuple(ordering(made.graph))
    check_order(made.graph, order)
    steps = plan(made.graph, order)
    values = accumulate(steps, made.values, made.dtypes)
    blocks = {}
    for i, vertex in enumerate(made.dependents):
        for u, j in enumerate(active):
            if vertex is not None and (u, vertex) in steps.blocks:
                pattern = steps.blocks[u, vertex]
                dtype = made.dtypes[vertex]
                blocks[i, j] = Block(pattern, values[u, vertex], dtype)
    return made.outputs, blocks, made


class _Walk:
    """The state of an evaluation: values, and a vertex for what depends on inputs."""

    def __init__(self, program, inputs, active, ordering):
        self.program, self.ordering = program, ordering
        self.env = dict(enumerate(inputs))
        self.known: dict[int, np.ndarray] = {}
        self.builder = GraphBuilder()
        self.vertices = {
            i: self.builder.vertex(inputs[i].dtype, "input") for i in active
        }

    def read(self, operand: int | Constant) -> Any:
        return operand.value if isinstance(operand, Constant) else self.env[operand]

    def step(self, equation: Equation) -> None:
        operands = [self.read(o) for o in equation.operands]
        active = tuple(i for i, o in enumerate(equation.operands) if o in self.vertices)
        results = [is_inexact(aval) for aval in equation.result_avals]
        if active and any(results):
            outs = self._differentiate(equation, active, operands)
        else:
            found = concrete(equation, self.known) if not active else None
            if found is not None:
                self.known.update(zip(equation.results, found))
            outs = bind(equation.eqn, operands)
        self.env.update(zip(equation.results, outs))

    def _differentiate(self, equation: Equation, active, operands) -> list[Any]:
        made = control_flow(equation, active, operands, self._inner)
        if made is None:
            made = template(equation, active, self._indices(equation))
        outs, values = made.run(operands)
        where = place(equation.eqn)
        for (which, result, pattern), value in zip(made.pairs, values):
            if pattern.is_zero:
                continue
            name = equation.results[result]
            if name not in self.vertices:
                label = equation.primitive.name
                dtype = equation.result_avals[result].dtype
                self.vertices[name] = self.builder.vertex(dtype, label, where)
                if made.fallback:
                    self.builder.dense_fallbacks.append(self.vertices[name])
            u, v = self.vertices[equation.operands[which]], self.vertices[name]
            self.builder.edge(u, v, pattern, value)
        return outs

    def _inner(self, program, inputs, active):
        """The outputs and the blocks of the body of a loop or a branch."""
        order = self.ordering
        order = MinimalMarkowitz() if isinstance(order, Given) else order
        return differentiate(program, inputs, active, order, len(program.outputs))[:2]

    def _indices(self, equation: Equation) -> dict[int, np.ndarray]:
        found = {i: known_value(o, self.known) for i, o in enumerate(equation.operands)}
        return {i: value for i, value in found.items() if value is not None}

    def finish(self, num_outputs: int) -> Linearised:
        outputs = [_array(self.read(o), o) for o in self.program.outputs]
        own = zip(self.program.outputs[:num_outputs], outputs)
        vertices = [self._end(operand, np.shape(value)) for operand, value in own]
        num_inputs = self.builder.labels.count("input")
        dependents = self.builder.outputs(vertices, num_inputs)
        ends = [vertex for vertex in dependents if vertex is not None]
        graph, edges = self.builder.build(list(range(num_inputs)), ends)
        dtypes = self.builder.dtypes
        values = {
            ends: edge.values(list(edge.sources), dtypes[ends[1]])
            for ends, edge in edges.items()
        }
        return Linearised(outputs, graph, values, dependents, dtypes)

    def _end(self, operand: int | Constant, shape: tuple[int, ...]):
        """The vertex and the shape of an output, or None if it depends on no input."""
        vertex = None if isinstance(operand, Constant) else self.vertices.get(operand)
        return None if vertex is None else (vertex, shape)


def _array(value: Any, operand: int | Constant) -> Any:
    """A literal as the array that it stands for."""
    if not isinstance(operand, Constant) or isinstance(value, jax.Array):
        return value
    if getattr(operand.aval, "weak_type", False):
        return jnp.asarray(np.asarray(value).item())
    return jnp.asarray(value, operand.aval.dtype)
