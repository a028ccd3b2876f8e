"""From a program and its inputs to outputs, computational graph and local partials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._blocks.arrays import Values
from .._graph.elimination import Plan, plan
from .._graph.graph import ComputationalGraph
from .._graph.low_rank import factored_plan
from .._jaxpr.avals import is_complex, is_inexact
from .._jaxpr.program import (
    bind,
    concrete,
    Constant,
    Equation,
    known_value,
    Program,
    remainder,
)
from .._jaxpr.source_info import place, placed_at
from .._jaxpr.stop_elimination import held_p
from .._orders.orderings import AbstractOrdering, checked_order, Given, MinimalMarkowitz
from .accumulate import accumulate
from .body import Block
from .cond import control_flow
from .equation import template
from .graph_builder import GraphBuilder
from .push_pull import pull, push, transposes
from .storage import check_partials, Storage


class Linearised(NamedTuple):
    """The values of a program at a point, with its linearised computational graph.

    `dependents` has the vertex of each output, None where it depends on no input.
    `storage` has the limit to what its blocks may take.
    """

    outputs: list[Any]
    graph: ComputationalGraph
    values: dict[tuple[int, int], Values]
    dependents: list[int | None]
    dtypes: list[np.dtype]
    storage: Storage


def linearise(
    program: Program,
    inputs: Sequence[Any],
    active: Sequence[int],
    ordering: AbstractOrdering,
    num_outputs: int,
    known: Mapping[int, np.ndarray] | None = None,
    limit: int | float = math.inf,
) -> Linearised:
    """Evaluates a program, with the partials of every equation that depends on the
    inputs `active`, for the first `num_outputs` of its outputs. The bodies of loops are
    eliminated in the order of `ordering`. `known` are the inputs that are integer
    arrays known while tracing. `limit` is the number of bytes that all blocks may take
    at any time."""
    walk = _Walk(program, inputs, active, ordering, limit)
    walk.known.update(known or {})
    for position, equation in enumerate(program.equations):
        if walk.is_deep(equation, num_outputs):
            return walk.pull(position, num_outputs)
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
    steps = plan(made.graph, checked_order(made.graph, ordering))
    blocks = _blocks(made, steps)
    return {
        (i, u): blocks[u, v]
        for i, v in enumerate(made.dependents)
        for u in made.graph.independents
        if v is not None and (u, v) in blocks
    }


def _blocks(made: Linearised, steps: Plan) -> dict[tuple[int, int], Block]:
    """The blocks that a plan ends with, by their vertices."""
    made.storage.check(steps, made.graph, made.dtypes)
    values = accumulate(steps, made.values, made.dtypes)
    return {
        (u, v): Block(pattern, values[u, v], made.dtypes[v])
        for (u, v), pattern in steps.blocks.items()
    }


class Factorised(NamedTuple):
    """A block as a sum: what is left of it without the products of its factors."""

    rest: Block | None
    factors: list[tuple[Block, Block]]


def factorised(
    made: Linearised, ordering: AbstractOrdering
) -> dict[tuple[int, int], Factorised]:
    """The non-zero blocks as `accumulated` has them, those of low rank by factors."""
    steps, factors = factored_plan(made.graph, checked_order(made.graph, ordering))
    blocks = _blocks(made, steps)

    def block(u: int, v: int) -> Factorised:
        through = [f.vertex for f in factors.get((u, v), ())]
        pairs = [(blocks[k, v], blocks[u, k]) for k in through]
        return Factorised(blocks.get((u, v)), pairs)

    return {
        (i, u): block(u, v)
        for i, v in enumerate(made.dependents)
        for u in made.graph.independents
        if v is not None and ((u, v) in blocks or (u, v) in factors)
    }


class _Walk:
    """The state of an evaluation: values, and a vertex for what depends on inputs."""

    def __init__(self, program, inputs, active, ordering, limit):
        self.program, self.ordering = program, ordering
        self.storage = Storage(limit)
        self.env = dict(enumerate(inputs))
        self.inputs = [jax.typeof(inputs[i]) for i in active]
        self.known: dict[int, np.ndarray] = {}
        self.builder = GraphBuilder()
        self.vertices = {
            i: self.builder.vertex(inputs[i].dtype, "input") for i in active
        }

    def read(self, operand: int | Constant) -> Any:
        return operand.value if isinstance(operand, Constant) else self.env[operand]

    def _active(self, equation: Equation) -> tuple[int, ...]:
        """The operands that depend on the inputs."""
        if equation.primitive is held_p:
            return ()
        return tuple(i for i, o in enumerate(equation.operands) if o in self.vertices)

    def step(self, equation: Equation) -> None:
        operands = [self.read(o) for o in equation.operands]
        active = self._active(equation)
        results = [is_inexact(aval) for aval in equation.result_avals]
        if active and any(results):
            with placed_at(equation.eqn):
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
        check_partials(equation, made.pairs)
        self.storage.add(equation, made.pairs)
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
        """Whether a loop has so many active operands that columns are fewer numbers
        than its own blocks, with whatever structure they have."""
        sizes = [equation.operand_avals[i].size for i in active]
        if equation.primitive.name != "scan" or sum(sizes) <= 4 * self._num_inputs:
            return False
        return self._pays(equation, self._loop_pairs(equation, active, operands))

    def _loop_pairs(self, equation: Equation, active, operands) -> list:
        """The patterns of a loop's blocks, without the blocks."""
        pairs = []

        def run(operands):
            made = control_flow(equation, active, operands, self._inner)
            assert made is not None
            pairs.extend(made.pairs)

        jax.eval_shape(run, operands)
        return pairs

    @property
    def _num_inputs(self) -> int:
        return sum(aval.size for aval in self.inputs)

    def _pays(self, equation: Equation, pairs) -> bool:
        """Whether columns for all inputs are fewer numbers than the blocks `pairs`."""
        if any(is_complex(aval) for aval in self.inputs):
            return False
        columns = self._num_inputs * _num_inexact(equation.result_avals)
        return 2 * columns < sum(pattern.num_values for _, _, pattern in pairs)

    def is_deep(self, equation: Equation, num_outputs: int) -> bool:
        """Whether a loop has so many results that rows for all outputs are fewer
        numbers than its own blocks, with whatever structure they have."""
        if equation.primitive.name != "scan":
            return False
        active = self._active(equation)
        avals = [equation.operand_avals[i] for i in active]
        outputs = self.program.output_avals[:num_outputs]
        rows = _num_inexact(outputs)
        fewest = min(_num_inexact(equation.result_avals), self._num_inputs)
        if not active or 4 * rows > fewest:
            return False
        if any(map(is_complex, filter(is_inexact, [*avals, *outputs]))):
            return False
        operands = [self.read(o) for o in equation.operands]
        pairs = self._loop_pairs(equation, active, operands)
        blocks = sum(pattern.num_values for _, _, pattern in pairs)
        if 2 * rows * _num_inexact(avals) >= blocks:
            return False
        return transposes(equation, active, operands)

    def pull(self, position: int, num_outputs: int) -> Linearised:
        """Accumulates all that comes after an equation, and passes it through."""
        equation = self.program.equations[position]
        active = self._active(equation)
        operands = [self.read(o) for o in equation.operands]
        outs, pullback = pull(equation, active, operands)
        self.env.update(zip(equation.results, outs))
        rest, live = remainder(self.program, position + 1)
        own = [v for v in live if v in self.vertices or v in equation.results]
        own = [v for v in own if is_inexact(jax.typeof(self.env[v]))]
        made = linearise(
            rest,
            [self.env[v] for v in live],
            [live.index(v) for v in own],
            self._inner_ordering,
            num_outputs,
            {i: self.known[v] for i, v in enumerate(live) if v in self.known},
            self.storage.limit,
        )
        blocks = accumulated(made, self._inner_ordering)
        ends = []
        for i, value in enumerate(made.outputs[:num_outputs]):
            row = {v: blocks[i, u] for u, v in enumerate(own) if (i, u) in blocks}
            ends.append(self._output(equation, active, value, row, pullback))
        return self._linearised(self.builder, ends, made.outputs)

    def _output(self, equation: Equation, active, value, row, pullback):
        """The vertex of an output and its shape, with edges from what stands before
        the equation; None if it depends on no input."""
        results = {v: i for i, v in enumerate(equation.results)}
        through = {results[v]: block for v, block in row.items() if v in results}
        edges = [(v, block) for v, block in row.items() if v not in results]
        if through:
            pulled = pullback(through, jax.typeof(value))
            edges += [(equation.operands[i], block) for i, block in pulled.items()]
        if not edges:
            return None
        label, where = equation.primitive.name, place(equation.eqn)
        vertex = self.builder.vertex(value.dtype, label, where)
        for v, block in edges:
            self.builder.edge(self.vertices[v], vertex, block.pattern, block.values)
        return vertex, value.shape

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
        dtypes, storage = builder.dtypes, self.storage
        return Linearised(outputs, graph, values, dependents, dtypes, storage)

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


def _num_inexact(avals: Sequence[Any]) -> int:
    return sum(aval.size for aval in avals if is_inexact(aval))
