"""From a program and its inputs to outputs, computational graph and local partials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .._blocks.arrays import Values
from .._blocks.block import NumericBlock
from .._graph.elimination import Plan, plan
from .._graph.graph import ComputationalGraph
from .._graph.low_rank import factored_plan, FactoredPlan, unfinished_plan
from .._jaxpr.avals import as_arrays, is_complex, is_inexact
from .._jaxpr.known.indices import static_operands, static_results
from .._jaxpr.program import bind, Equation, Program, reader, remainder
from .._jaxpr.source_info import place, placed_at
from .._jaxpr.stop_elimination import stop_elimination_p
from .._orders.orderings import AbstractOrdering, checked_order, Given, MinimalMarkowitz
from .accumulate import run_plan
from .cond import control_flow
from .entries import Part, reached_entries
from .equation import local_partials, LocalPartials
from .graph_builder import GraphBuilder
from .loops.body import Ends
from .push_pull import pull, push, transposes
from .storage import check_partials, Storage


class Linearised(NamedTuple):
    """The values of a program at a point, with its linearised computational graph.

    `dependents` has the vertex of each output, None where it depends on no input.
    `storage` has the limit to what its blocks may take. `parts` has what edges are
    sums of, where that is more than their pattern.
    """

    outputs: list[Any]
    graph: ComputationalGraph
    values: dict[tuple[int, int], Values]
    dependents: list[int | None]
    dtypes: list[np.dtype]
    storage: Storage
    parts: Mapping[tuple[int, int], tuple[Part, ...]]


def linearise(
    program: Program,
    inputs: Sequence[Any],
    active: Sequence[int],
    ordering: AbstractOrdering,
    num_outputs: int,
    indices: Mapping[int, np.ndarray] | None = None,
    limit: int | float = math.inf,
) -> Linearised:
    """Evaluates a program, with the partials of every equation that depends on the
    inputs `active`, for the first `num_outputs` of its outputs.

    The bodies of loops are eliminated in the order of `ordering`. `indices` are the
    inputs that are integer arrays known while tracing. `limit` is the number of bytes
    that all blocks may take at any time.
    """
    interpreter = _Interpreter(program, inputs, active, ordering, num_outputs, limit)
    interpreter.indices.update(indices or {})
    for position, equation in enumerate(program.equations):
        if interpreter.prefers_rows(equation):
            return interpreter.pull(position)
        interpreter.step(equation)
    return interpreter.finish()


def differentiate(
    program: Program,
    inputs: Sequence[Any],
    active: Sequence[int],
    ordering: AbstractOrdering,
    num_outputs: int,
    indices: Mapping[int, np.ndarray] | None = None,
) -> tuple[list[Any], dict[Ends, NumericBlock], Linearised]:
    """The outputs of a program, and the non-zero blocks `(output, input)` of the
    Jacobian of the first `num_outputs` with respect to the inputs `active`. `indices`
    as in `linearise`."""
    linearised = linearise(program, inputs, active, ordering, num_outputs, indices)
    blocks = eliminated_blocks(linearised, ordering)
    by_input = {(i, active[u]): block for (i, u), block in blocks.items()}
    return linearised.outputs, by_input, linearised


def eliminated_blocks(
    linearised: Linearised, ordering: AbstractOrdering
) -> dict[Ends, NumericBlock]:
    """The non-zero blocks `(output, input)`, by their positions among dependents and
    independents."""
    graph = linearised.graph
    steps = plan(graph, checked_order(graph, ordering))
    blocks = _blocks(linearised, steps)
    return {e: blocks[uv] for e, uv in _ends(linearised) if uv in blocks}


def entries_of_blocks(linearised: Linearised) -> dict[Ends, np.ndarray]:
    """The entries of the blocks `(output, input)` that a path leads to, where these are
    followed one by one: their positions, ascending in the ravelled block."""
    entries = reached_entries(linearised.graph, linearised.parts)
    return {e: entries[uv] for e, uv in _ends(linearised) if uv in entries}


class LowRankBlock(NamedTuple):
    """A block as a sum: what is left of it without the products of its factors."""

    rest: NumericBlock | None
    factors: list[tuple[NumericBlock, NumericBlock]]


def low_rank_blocks(
    linearised: Linearised, ordering: AbstractOrdering
) -> dict[Ends, LowRankBlock]:
    """The non-zero blocks of `eliminated_blocks`, those of low rank by factors."""
    graph = linearised.graph
    factored = factored_plan(graph, checked_order(graph, ordering))
    return _factored_blocks(linearised, factored, _ends(linearised))


def diagonal_blocks(
    linearised: Linearised, ordering: AbstractOrdering
) -> dict[Ends, LowRankBlock]:
    """The non-zero blocks `(i, i)`. The last products on the way to each of them are
    left to its factors."""
    graph = linearised.graph
    ends = [(end, edge) for end, edge in _ends(linearised) if end[0] == end[1]]
    edges = tuple(edge for _, edge in ends)
    unfinished = unfinished_plan(graph, checked_order(graph, ordering), edges)
    return _factored_blocks(linearised, unfinished, ends)


def _factored_blocks(
    linearised: Linearised,
    factored: FactoredPlan,
    ends: list[tuple[Ends, tuple[int, int]]],
) -> dict[Ends, LowRankBlock]:
    steps, factors = factored
    blocks = _blocks(linearised, steps)

    def block(u: int, v: int) -> LowRankBlock:
        through = [f.vertex for f in factors.get((u, v), ())]
        pairs = [(blocks[k, v], blocks[u, k]) for k in through]
        return LowRankBlock(blocks.get((u, v)), pairs)

    return {e: block(*uv) for e, uv in ends if uv in blocks or factors.get(uv)}


def _blocks(linearised: Linearised, steps: Plan) -> dict[Ends, NumericBlock]:
    """The blocks that a plan ends with, by their vertices."""
    graph, dtypes = linearised.graph, linearised.dtypes
    linearised.storage.check(steps, graph, dtypes)
    values = run_plan(steps, linearised.values, dtypes)
    return {
        (u, v): NumericBlock(pattern, values[u, v], dtypes[v])
        for (u, v), pattern in steps.blocks.items()
    }


def _ends(linearised: Linearised) -> list[tuple[Ends, Ends]]:
    """`(output, input)` by position, and `(independent, dependent)` by vertex."""
    return [
        ((i, u), (u, v))
        for i, v in enumerate(linearised.dependents)
        for u in linearised.graph.independents
        if v is not None
    ]


class _Interpreter:
    """The state of an evaluation: values, and a vertex for what depends on inputs."""

    def __init__(self, program, inputs, active, ordering, num_outputs, limit):
        self.program, self.num_outputs = program, num_outputs
        self.ordering = ordering
        self.storage = Storage(limit)
        self.env = dict(enumerate(inputs))
        self.read = reader(self.env)
        self.inputs = [jax.typeof(inputs[i]) for i in active]
        self.indices: dict[int, np.ndarray] = {}
        self.builder = GraphBuilder()
        self.vertices = {
            i: self.builder.vertex(inputs[i].dtype, "input") for i in active
        }

    def _active(self, equation: Equation) -> tuple[int, ...]:
        """The operands that depend on the inputs."""
        if equation.primitive is stop_elimination_p:
            return ()
        return tuple(i for i, o in enumerate(equation.operands) if o in self.vertices)

    def step(self, equation: Equation) -> None:
        """Evaluates one equation; adds vertices and edges if it has derivatives."""
        operands = self._operands(equation)
        active = self._active(equation)
        if active and any(map(is_inexact, equation.result_avals)):
            with placed_at(equation.eqn):
                results = self._differentiate(equation, active, operands)
        else:
            indices = None if active else static_results(equation, self.indices)
            self.indices.update(zip(equation.results, indices or ()))
            results = bind(equation.eqn, operands)
        self.env.update(zip(equation.results, results))

    def _operands(self, equation: Equation) -> list[Any]:
        return [self.read(operand) for operand in equation.operands]

    def _differentiate(self, equation: Equation, active, operands) -> list[Any]:
        partials = self._partials(equation, active, operands)
        if partials.fallback and self._prefers_columns(equation, partials.pairs):
            return self._push(equation, active, operands)
        check_partials(equation, partials.pairs)
        self.storage.add(equation, partials.pairs)
        results, values = partials.run(operands)
        self.indices.update((equation.results[r], v) for r, v in partials.known.items())
        refine = partials.refine
        for n, (operand, result, pattern) in enumerate(partials.pairs):
            if not pattern.is_zero:
                v = self._vertex(equation, result, fallback=partials.fallback)
                u = self.vertices[equation.operands[operand]]
                self.builder.edge(u, v, pattern, values[n], refine and (refine, n))
        return results

    def _partials(self, equation: Equation, active, operands) -> LocalPartials:
        known = static_operands(equation, self.indices)
        if not self._is_wide(equation, active, operands):
            partials = control_flow(equation, active, operands, self._inner, known)
            if partials is not None:
                return partials
        return local_partials(equation, active, known)

    def _vertex(self, equation: Equation, result: int, *, fallback: bool) -> int:
        """The vertex of a result, added when it gets its first edge."""
        variable = equation.results[result]
        if variable not in self.vertices:
            dtype = equation.result_avals[result].dtype
            label, where = equation.primitive.name, place(equation.eqn)
            self.vertices[variable] = self.builder.vertex(dtype, label, where)
            if fallback:
                self.builder.dense_fallbacks.append(self.vertices[variable])
        return self.vertices[variable]

    def _is_wide(self, equation: Equation, active, operands) -> bool:
        """True if a loop has so many active operands that columns are fewer numbers
        than its own blocks, with whatever structure they have."""
        sizes = [equation.operand_avals[i].size for i in active]
        is_loop = equation.primitive.name in ("scan", "while")
        if not is_loop or sum(sizes) <= 4 * self._num_inputs:
            return False
        return self._prefers_columns(
            equation, self._loop_pairs(equation, active, operands)
        )

    def _loop_pairs(self, equation: Equation, active, operands) -> list:
        """The pairs of a loop, without the values of its blocks."""
        pairs = []

        def run(operands):
            known = static_operands(equation, self.indices)
            partials = control_flow(equation, active, operands, self._inner, known)
            assert partials is not None
            pairs.extend(partials.pairs)

        jax.eval_shape(run, operands)
        return pairs

    @property
    def _num_inputs(self) -> int:
        return sum(aval.size for aval in self.inputs)

    def _prefers_columns(self, equation: Equation, pairs) -> bool:
        """True if columns for all inputs are fewer numbers than the blocks `pairs`."""
        if any(map(is_complex, self.inputs)):
            return False
        columns = self._num_inputs * _num_inexact(equation.result_avals)
        return 2 * columns < _num_values(pairs)

    def prefers_rows(self, equation: Equation) -> bool:
        """True if a loop has so many results that rows for all outputs are fewer
        numbers than its own blocks, with whatever structure they have."""
        if equation.primitive.name != "scan":
            return False
        active = self._active(equation)
        avals = [equation.operand_avals[i] for i in active]
        outputs = self.program.output_avals[: self.num_outputs]
        rows = _num_inexact(outputs)
        fewest = min(_num_inexact(equation.result_avals), self._num_inputs)
        if not active or 4 * rows > fewest:
            return False
        if any(map(is_complex, filter(is_inexact, [*avals, *outputs]))):
            return False
        operands = self._operands(equation)
        pairs = self._loop_pairs(equation, active, operands)
        if 2 * rows * _num_inexact(avals) >= _num_values(pairs):
            return False
        return transposes(equation, active, operands)

    def pull(self, position: int) -> Linearised:
        """Accumulates all that comes after an equation, and passes it through."""
        equation = self.program.equations[position]
        active = self._active(equation)
        results, pullback = pull(equation, active, self._operands(equation))
        self.env.update(zip(equation.results, results))
        rest, live = remainder(self.program, position + 1)
        sources = [v for v in live if v in self.vertices or v in equation.results]
        sources = [v for v in sources if is_inexact(jax.typeof(self.env[v]))]
        linearised = linearise(
            rest,
            [self.env[v] for v in live],
            [live.index(v) for v in sources],
            self._inner_ordering,
            self.num_outputs,
            {i: self.indices[v] for i, v in enumerate(live) if v in self.indices},
            self.storage.limit,
        )
        blocks = eliminated_blocks(linearised, self._inner_ordering)
        ends = []
        for i, value in enumerate(linearised.outputs[: self.num_outputs]):
            row = {v: blocks[i, u] for u, v in enumerate(sources) if (i, u) in blocks}
            ends.append(self._output(equation, active, value, row, pullback))
        return self._linearised(self.builder, ends, linearised.outputs)

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
        variables = [equation.operands[i] for i in active]
        ends = [(self.vertices[v], np.shape(self.env[v])) for v in variables]
        linearised = self._linearised(self.builder.copy(), ends, [])
        blocks = eliminated_blocks(linearised, self._inner_ordering)
        results, pushed = push(equation, active, operands, self.inputs, blocks)
        for (result, j), block in pushed.items():
            v = self._vertex(equation, result, fallback=True)
            self.builder.edge(j, v, block.pattern, block.values)
        return results

    @property
    def _inner_ordering(self) -> AbstractOrdering:
        """The ordering for other graphs than the whole function's."""
        is_given = isinstance(self.ordering, Given)
        return MinimalMarkowitz() if is_given else self.ordering

    def _inner(self, program, inputs, active, known):
        """The outputs and the blocks of the body of a loop or a branch."""
        order, count = self._inner_ordering, len(program.outputs)
        return differentiate(program, inputs, active, order, count, known)[:2]

    def finish(self) -> Linearised:
        """The result, when all equations have been evaluated."""
        program = self.program
        outputs = as_arrays(map(self.read, program.outputs), program.output_avals)
        ends = [
            (self.vertices[out], np.shape(value)) if out in self.vertices else None
            for out, value in zip(program.outputs[: self.num_outputs], outputs)
        ]
        return self._linearised(self.builder, ends, outputs)

    def _linearised(self, builder: GraphBuilder, ends, outputs) -> Linearised:
        """The graph built so far, with `ends` (vertex and shape) for outputs."""
        vertices = builder.outputs(ends, len(self.inputs))
        dependents = [vertex for vertex in vertices if vertex is not None]
        graph, edges = builder.build([*range(len(self.inputs))], dependents)
        values, parts = builder.values(edges), builder.parts(edges)
        dtypes, storage = builder.dtypes, self.storage
        return Linearised(outputs, graph, values, vertices, dtypes, storage, parts)


def _num_inexact(avals: Sequence[Any]) -> int:
    return sum(aval.size for aval in avals if is_inexact(aval))


def _num_values(pairs) -> int:
    return sum(pattern.num_values for _, _, pattern in pairs)
