"""Linear jaxprs: the blocks of one equation, and the elimination of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import numpy as np
from jax.core import Tracer

from .._blocks.arrays import Values
from .._graph.elimination import plan
from .._jaxpr.avals import avals_of, is_inexact
from .._jaxpr.known.indices import known_structure, static_operands, static_variables
from .._jaxpr.program import bind, Constant, Equation, flatten, plain_params, reader
from .._orders.orderings import MinimalMarkowitz
from .._rules import Block, linear_rule, Operand
from .._rules.fallback import dense_pairs, dense_values, Pair, prefers_reverse
from .accumulate import run_plan
from .entries import reached_entries, Refine
from .graph_builder import GraphBuilder


# Reads the values of pairs off the operands, of which those that are linear are None.
Reading = Callable[[Sequence[Any]], list[Values]]


class LinearBlocks(NamedTuple):
    """The blocks of a linear equation: their pairs, how values are read, and how the
    entries of those are found that store known zeros."""

    pairs: Sequence[Pair]
    read: Reading
    refine: Refine | None = None


def linear_blocks(
    eqn: jex.JaxprEqn,
    linear: Sequence[int],
    indices: Mapping[int, np.ndarray],
    scalars: Mapping[int, Any],
) -> LinearBlocks | None:
    """The blocks of an equation that is linear in operands `linear`; None if no rule
    applies. `indices` and `scalars` are the operands that are known while tracing, and
    of sparse constants `indices` has the masks of their non-zeros.
    """
    rule = linear_rule(eqn.primitive)
    if rule is None:
        return None
    operands = [
        Operand(
            tuple(aval.shape),
            aval.dtype,
            linear=i in linear,
            known=_number(scalars.get(i)),
            indices=None if is_inexact(aval) else indices.get(i),
            is_nonzero=indices.get(i) if is_inexact(aval) else None,
        )
        for i, aval in enumerate(avals_of(eqn.invars))
    ]
    results = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals_of(eqn.outvars)]
    blocks = rule(operands, results, plain_params(eqn.params))
    if blocks is None:
        return None
    pairs = [(b.operand, b.result, b.pattern) for b in blocks]
    read = lambda arrays: [b.values(arrays) for b in blocks]  # noqa: E731
    return LinearBlocks(pairs, read, _refinement(blocks))


def _refinement(blocks: Sequence[Block]) -> Refine | None:
    if all(block.entries is None for block in blocks):
        return None
    return lambda: [b.entries if b.entries is None else b.entries() for b in blocks]


def _fallback_blocks(eqn: jex.JaxprEqn, linear) -> LinearBlocks:
    reverse = prefers_reverse(eqn, linear)
    read = lambda arrays: dense_values(eqn, linear, arrays, reverse=reverse)  # noqa: E731
    return LinearBlocks(dense_pairs(eqn, linear), read)


def _custom_jvp_blocks(eqn: jex.JaxprEqn, linear: Sequence[int]) -> LinearBlocks | None:
    """The blocks of a function with a derivative of its own, all operands of which are
    tangents: it is linear, and its values are its derivative. (Where a rule calls such
    a function, JAX 0.12 leaves the call in the linear jaxpr.)"""
    if eqn.primitive.name != "custom_jvp_call" or len(linear) < len(eqn.invars):
        return None
    body = eqn.params["call_jaxpr"]
    inside = LinearProgram(body.jaxpr, avals_of(eqn.invars), body.consts)
    if inside.fallback:
        return None
    run = lambda arrays: inside.run(body.consts)  # noqa: E731
    return LinearBlocks(inside.pairs, run, inside.refine)


def _number(value):
    if value is None:
        return None
    value = np.asarray(value).item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def is_known_scalar(operand: Constant) -> bool:
    """True if an operand is one floating-point number known while tracing."""
    if isinstance(operand.value, Tracer) or not is_inexact(operand.aval):
        return False
    return operand.aval.shape == ()


class LinearProgram:
    """A linear jaxpr with its intermediates eliminated.

    `pairs` are `(input, output, pattern)`; `run(residuals)` gives their values.
    `fallback`: the block of an equation in it is dense for want of a rule.

    It is not the interpreter of programs: its graph is built and its order found once,
    when nothing has values, and then replayed for each equation of the same shapes.
    """

    def __init__(self, jaxpr: jex.Jaxpr, inputs: Sequence[Any], residuals):
        self._program = flatten(jaxpr)
        self._num_inputs = len(inputs)
        self._constants = {
            self._num_inputs + i: residual
            for i, residual in enumerate(residuals)
            if isinstance(residual, Constant)
        }
        self._indices = static_variables(self._program, self._known_residuals())
        self._builder = GraphBuilder()
        # By the number of an equation: how its values are read, and those that count.
        self._readings: dict[int, tuple[Reading, list[int]]] = {}
        self._refine: dict[int, tuple[Refine, list[int]]] = {}
        self.fallback = False
        outputs = self._build(inputs)
        dependents = [vertex for vertex in outputs if vertex is not None]
        independents = list(range(self._num_inputs))
        graph, self._edges = self._builder.build(independents, dependents)
        self._graph = graph
        self._plan = plan(graph, MinimalMarkowitz()(graph))
        position = {v: i for i, v in enumerate(outputs) if v is not None}
        self.pairs = [(u, position[v], p) for (u, v), p in self._plan.blocks.items()]

    def refine(self) -> list[np.ndarray | None]:
        """The entries of each of the pairs that a path leads to."""
        entries = reached_entries(self._graph, self._builder.parts(self._edges))
        return [entries.get(edge) for edge in self._plan.blocks]

    def _known_residuals(self) -> dict[int, np.ndarray]:
        known = {i: known_structure(r, {}) for i, r in self._constants.items()}
        return {i: value for i, value in known.items() if value is not None}

    def _build(self, inputs: Sequence[Any]) -> list[int | None]:
        """Adds vertices and edges; returns the vertices of the outputs."""
        vertices: dict[Any, int] = {
            i: self._builder.vertex(aval.dtype) for i, aval in enumerate(inputs)
        }
        shapes = dict(enumerate(aval.shape for aval in inputs))
        for number, equation in enumerate(self._program.equations):
            sources = [vertices.get(operand) for operand in equation.operands]
            linear = [i for i, vertex in enumerate(sources) if vertex is not None]
            pairs = self._blocks(number, equation, linear) if linear else []
            for position, (operand, result, pattern) in enumerate(pairs):
                variable = equation.results[result]
                aval = equation.result_avals[result]
                if variable not in vertices:
                    vertices[variable] = self._builder.vertex(aval.dtype)
                    shapes[variable] = aval.shape
                ends = vertices[equation.operands[operand]], vertices[variable]
                refine = self._refine.get(number, (None, ()))
                part = refine[0] and (refine[0], refine[1][position])
                self._builder.edge(*ends, pattern, (number, position), part)
        ends = [
            (vertices[out], shapes[out])
            if isinstance(out, int) and out in vertices
            else None
            for out in self._program.outputs
        ]
        return self._builder.outputs(ends, self._num_inputs)

    def _blocks(self, number: int, equation: Equation, linear: list[int]) -> list[Pair]:
        """The non-zero blocks of an equation, from a rule if there is one."""
        blocks = _custom_jvp_blocks(equation.eqn, linear)
        if blocks is None:
            indices, scalars = self._static_operands(equation)
            blocks = linear_blocks(equation.eqn, linear, indices, scalars)
        if blocks is None:
            self.fallback = True
            blocks = _fallback_blocks(equation.eqn, linear)
        pairs, read, refine = blocks
        nonzero = [n for n, (*_, pattern) in enumerate(pairs) if not pattern.is_zero]
        self._readings[number] = read, nonzero
        if refine is not None:
            self._refine[number] = refine, nonzero
        return [pairs[n] for n in nonzero]

    def _static_operands(self, equation: Equation):
        """The operands that are integer arrays, and those that are scalars, of which
        the values are known while tracing."""
        scalars = {}
        for i, operand in enumerate(equation.operands):
            if not isinstance(operand, Constant):
                operand = self._constants.get(operand)
            if operand is not None and is_known_scalar(operand):
                scalars[i] = operand.value
        return static_operands(equation, self._indices), scalars

    def run(self, residuals: Sequence[Any]) -> list[Values]:
        """The values of `pairs`."""
        env = dict(enumerate(residuals, self._num_inputs))
        read = reader(env)
        values: dict[tuple[int, int], Values] = {}
        for number, equation in enumerate(self._program.equations):
            arrays = [read(o) for o in equation.operands]
            if number in self._readings:
                read_values, nonzero = self._readings[number]
                blocks = read_values(arrays)
                values.update(((number, i), blocks[n]) for i, n in enumerate(nonzero))
            elif all(a is not None for a in arrays):
                env.update(zip(equation.results, bind(equation.eqn, arrays)))
        # A source that is no position has its values in it: all known, for a copy.
        edges = self._builder.values(self._edges, lambda key: values.get(key, key))
        blocks = run_plan(self._plan, edges, self._builder.dtypes)
        return list(blocks.values())
