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
from ._push import pays, push
from ._rules.dense import is_complex, is_inexact
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
    blocks = {
        (i, active[u]): block for (i, u), block in accumulated(made, ordering).items()
    }
    return made.outputs, blocks, made


def accumulated(
    made: Linearised, ordering: AbstractOrdering
) -> dict[tuple[int, int], Block]:
    """The non-zero blocks `(output, input)`, by their positions among dependents and
    independents."""
    order = tuple(ordering(made.graph))
    check_order(made.graph, order)
    steps = plan(made.graph, order)
    values = accumulate(steps, made.values, made.dtypes)
    return {
        (i, u): Block(steps.blocks[u, v], values[u, v], made.dtypes[v])
        for i, v in enumerate(made.dependents)
        for u in made.graph.independents
        if v is not None and (u, v) in steps.blocks
    }


class _Walk:
    """The state of an evaluation: values, and a vertex for what depends on inputs."""

    def __init__(self, program, inputs, active, ordering):
        self.program, self.ordering = program, ordering
        self.env = dict(enumerate(inputs))
        self.inputs = [jax.typeof(inputs[i]) for i in active]
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
        made = None
        if not self._is_wide(equation, active, operands):
            made = control_flow(equation, active, operands, self._inner)
        if made is None:
            made = template(equation, active, self._indices(equation))
        if made.fallback and self._pays(equation, made.pairs):
            return self._push(equation, active, operands)
        outs, values = made.run(operands)
        for (which, result, pattern), value in zip(made.pairs, values):
            if not pattern.is_zero:
                v = self._vertex(equation, result, made.fallback)
                u = self.vertices[equation.operands[which]]
                self.builder.edge(u, v, pattern, value)
        return outs

    def _vertex(self, equation: Equation, result: int, fallback: bool) -> int:
        """The vertex of a result, made when it gets its first edge."""
        name = equation.results[result]
        if name not in self.vertices:
            dtype = equation.result_avals[result].dtype
            vertex = self.builder.vertex(
                dtype, equation.primitive.name, place(equation.eqn)
            )
            self.vertices[name] = vertex
            if fallback:
                self.builder.dense_fallbacks.append(vertex)
        return self.vertices[name]

    def _is_wide(self, equation: Equation, active, operands) -> bool:
        """Whether a loop's own blocks, with their structure, are more than it pays to
        form when the inputs are few."""
        sizes = [equation.operand_avals[i].size for i in active]
        if equation.primitive.name != "scan" or sum(sizes) <= 4 * self._num_inputs:
            return False
        pairs = []

        def run(operands):
            made = control_flow(equation, active, operands, self._inner)
            assert made is not None
            pairs.extend(made.pairs)

        jax.eval_shape(run, operands)
        return self._pays(equation, pairs)

    @property
    def _num_inputs(self) -> int:
        return sum(aval.size for aval in self.inputs)

    def _pays(self, equation: Equation, pairs) -> bool:
        if any(is_complex(aval) for aval in self.inputs):
            return False
        size = sum(pattern.num_values for _, _, pattern in pairs)
        return pays(equation, self._num_inputs, size)

    def _push(self, equation: Equation, active, operands) -> list[Any]:
        """Edges from the inputs: what was accumulated, through the equation."""
        names = [equation.operands[i] for i in active]
        ends = [(self.vertices[o], np.shape(self.env[o])) for o in names]
        before = self._linearised(self.builder.copy(), ends, [])
        blocks = accumulated(before, self._inner_ordering)
        outs, found = push(equation, active, operands, self.inputs, blocks)
        for (result, j), block in found.items():
            v = self._vertex(equation, result, fallback=True)
            self.builder.edge(j, v, block.pattern, block.values)
        return outs

    @property
    def _inner_ordering(self) -> AbstractOrdering:
        """The ordering for other graphs than the whole function's."""
        given = isinstance(self.ordering, Given)
        return MinimalMarkowitz() if given else self.ordering

    def _inner(self, program, inputs, active):
        """The outputs and the blocks of the body of a loop or a branch."""
        order, count = self._inner_ordering, len(program.outputs)
        return differentiate(program, inputs, active, order, count)[:2]

    def _indices(self, equation: Equation) -> dict[int, np.ndarray]:
        found = {i: known_value(o, self.known) for i, o in enumerate(equation.operands)}
        return {i: value for i, value in found.items() if value is not None}

    def finish(self, num_outputs: int) -> Linearised:
        outputs = [_array(self.read(o), o) for o in self.program.outputs]
        own = zip(self.program.outputs[:num_outputs], outputs)
        vertices = [self._end(operand, np.shape(value)) for operand, value in own]
        return self._linearised(self.builder, vertices, outputs)

    def _linearised(self, builder: GraphBuilder, ends, outputs) -> Linearised:
        """What has been built, with `ends` (vertex and shape) for outputs."""
        independents = list(range(len(self.inputs)))
        dependents = builder.outputs(ends, len(independents))
        graph, edges = builder.build(
            independents, [vertex for vertex in dependents if vertex is not None]
        )
        values = {
            ends: edge.values(list(edge.sources), builder.dtypes[ends[1]])
            for ends, edge in edges.items()
        }
        return Linearised(outputs, graph, values, dependents, builder.dtypes)

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
