"""The local partials of one equation: linearised by JAX once, read off many times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from ._accumulate import accumulate
from ._builder import GraphBuilder
from ._numeric import Values
from ._ordering import MinimalMarkowitz
from ._pattern import Pattern
from ._plan import plan
from ._program import (
    bind,
    Constant,
    Equation,
    evaluate,
    flatten,
    plain,
    Program,
    reader,
)
from ._rules import linear_rule, Operand
from ._rules.dense import (
    basis_of,
    dense_pairs,
    dense_values,
    inexact_results,
    is_inexact,
    prefers_reverse,
    stored,
    struct,
)


Pair = tuple[int, int, Pattern]


@dataclass(frozen=True)
class Template:
    """The symbolic partials of an equation, and how to compute it with their values.

    `pairs` are `(operand, result, pattern)`; `run(operands)` returns the results and the
    values for each pair. `fallback`: a part of it has no rule, its block is dense.
    """

    pairs: tuple[Pair, ...]
    run: Callable[[Sequence[Any]], tuple[list[Any], list[Values]]]
    fallback: bool


def template(
    equation: Equation, active: tuple[int, ...], indices: dict[int, np.ndarray]
) -> Template:
    """The template of an equation that is differentiated in operands `active`.

    `indices` holds the operands that are integer arrays known while tracing.
    """
    scalars = {
        i: operand.value
        for i, operand in enumerate(equation.operands)
        if isinstance(operand, Constant) and _is_known_scalar(operand)
    }
    key = _key(equation, active, indices, scalars)
    arguments = _Arguments(key, (equation.eqn, active, indices, scalars))
    try:
        hash(key)
    except TypeError:
        return _make(arguments)
    return _cached(arguments)


class _Arguments:
    """Arguments that are equal where their keys are."""

    def __init__(self, key, arguments):
        self.key, self.arguments = key, arguments

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Arguments) and self.key == other.key


def _key(equation: Equation, active, indices, scalars):
    eqn = equation.eqn
    avals = tuple(
        (a.shape, a.dtype, getattr(a, "weak_type", False))
        for a in equation.operand_avals
    )
    params = tuple(sorted(eqn.params.items(), key=lambda item: item[0]))
    known = tuple(
        (i, np.asarray(v).tobytes()) for i, v in {**indices, **scalars}.items()
    )
    return eqn.primitive, params, avals, active, known, eqn.ctx


def _is_known_scalar(operand: Constant) -> bool:
    if isinstance(operand.value, jax.core.Tracer) or not is_inexact(operand.aval):
        return False
    return operand.aval.shape == ()


@lru_cache(maxsize=4096)
def _cached(arguments: _Arguments) -> Template:
    return _make(arguments)


def _make(arguments: _Arguments) -> Template:
    eqn, active, indices, scalars = arguments.arguments
    local = _local(eqn, active, indices, scalars, rules_only=True)
    if local is not None:
        pairs, read, _ = local

        def run(operands):
            return bind(eqn, operands), read(operands)

        return Template(tuple(pairs), run, False)
    if eqn.primitive.name == "custom_vjp_call":
        return _by_vjp(eqn, active)
    return _linearised(eqn, active, scalars)


def _local(eqn: jex.JaxprEqn, linear, indices, scalars, rules_only: bool = False):
    """The blocks of an equation that is linear in operands `linear`.

    Returns the pairs, how their values are read off the operands, and whether there was
    no rule (then None, if `rules_only`).
    """
    rule = linear_rule(eqn.primitive)
    if rule is not None:
        operands = [
            Operand(
                tuple(v.aval.shape),
                v.aval.dtype,
                i in linear,
                _number(scalars.get(i)),
                indices.get(i),
            )
            for i, v in enumerate(eqn.invars)
        ]
        results = [
            jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.outvars
        ]
        blocks = rule(operands, results, plain(eqn.params))
        if blocks is not None:
            pairs = [(b.operand, b.result, b.pattern) for b in blocks]
            return pairs, lambda arrays: [b.values(arrays) for b in blocks], False
    if rules_only:
        return None
    reverse = prefers_reverse(eqn, linear)
    pairs = dense_pairs(eqn, linear)
    return pairs, lambda arrays: dense_values(eqn, linear, arrays, reverse), True


def _number(value):
    if value is None:
        return None
    value = np.asarray(value).item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _linearised(eqn: jex.JaxprEqn, active, scalars) -> Template:
    """Asks JAX to linearise the equation, and eliminates the inside of the result."""
    free = [i for i in range(len(eqn.invars)) if i not in scalars]
    forward, linear = _linearise(eqn, active, scalars, free)
    num_results = len(eqn.outvars)
    residuals = forward.outputs[num_results:]
    inside = _Inside(linear, [eqn.invars[i].aval for i in active], residuals)
    positions = inexact_results(eqn)
    pairs = [(active[u], positions[v], pattern) for u, v, pattern in inside.pairs]

    def run(operands):
        values = evaluate(forward, [operands[i] for i in free])
        return values[:num_results], inside.run(values[num_results:])

    return Template(tuple(pairs), run, inside.fallback)


def _linearise(eqn, active, scalars, free) -> tuple[Program, jex.Jaxpr]:
    """The equation with its residuals, and the linear map from tangents to tangents.

    The linear jaxpr takes the residuals as constants.
    """
    linear = []
    results = inexact_results(eqn)

    def forward(*arguments):
        operands = dict(zip(free, arguments)) | scalars
        primals = [operands[i] for i in active]

        def primal(*primals):
            own = operands | dict(zip(active, primals))
            outs = bind(eqn, [own[i] for i in range(len(own))])
            return [outs[i] for i in results], outs

        _, tangent_map, outs = jax.linearize(primal, *primals, has_aux=True)
        tangents = [jax.ShapeDtypeStruct(jnp.shape(x), _dtype(x)) for x in primals]
        closed = jax.make_jaxpr(tangent_map)(*tangents)
        linear.append(closed.jaxpr)
        return outs, closed.consts

    closed = jax.make_jaxpr(forward)(*[struct(eqn.invars[i].aval) for i in free])
    return flatten(closed.jaxpr, closed.consts), linear[-1]


def _dtype(x) -> np.dtype:
    return jnp.asarray(x).dtype if not hasattr(x, "dtype") else x.dtype


class _Inside:
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
        vertices = {i: self.builder.vertex(aval.dtype) for i, aval in enumerate(inputs)}
        shapes = dict(enumerate(aval.shape for aval in inputs))
        self.steps = []
        for equation in self.program.equations:
            linear = [i for i, o in enumerate(equation.operands) if o in vertices]
            pairs = self._step(equation, linear) if linear else []
            for number, (which, result, pattern) in enumerate(pairs):
                name = equation.results[result]
                aval = equation.result_avals[result]
                if name not in vertices:
                    vertices[name] = self.builder.vertex(aval.dtype)
                    shapes[name] = aval.shape
                source = (len(self.steps) - 1, number)
                u, v = vertices[equation.operands[which]], vertices[name]
                self.builder.edge(u, v, pattern, source)
        self._finish(vertices, shapes)

    def _step(self, equation: Equation, linear: list[int]) -> list[Pair]:
        operands = dict(enumerate(equation.operands))
        known = {
            i: o if isinstance(o, Constant) else self.known.get(o)
            for i, o in operands.items()
        }
        known = {i: c for i, c in known.items() if c is not None}
        scalars = {i: c.value for i, c in known.items() if _is_known_scalar(c)}
        indices = {
            i: np.asarray(c.value)
            for i, c in known.items()
            if not isinstance(c.value, jax.core.Tracer) and _is_integer(c.aval)
        }
        pairs, read, fallback = _local(equation.eqn, linear, indices, scalars)
        kept = [n for n, (_, _, pattern) in enumerate(pairs) if not pattern.is_zero]
        self.steps.append((equation, read, kept))
        self.fallback = self.fallback or fallback
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


def _by_vjp(eqn: jex.JaxprEqn, active) -> Template:
    """The dense blocks of an equation that only has a reverse rule."""
    pairs = dense_pairs(eqn, active)
    results = inexact_results(eqn)

    def run(operands):
        def primal(*primals):
            own = list(operands)
            for i, value in zip(active, primals):
                own[i] = value
            outs = bind(eqn, own)
            return [outs[i] for i in results], outs

        primals = [operands[i] for i in active]
        main, pull, outs = jax.vjp(primal, *primals, has_aux=True)
        values = _rows(eqn, active, results, main, pull)
        return outs, values

    return Template(tuple(pairs), run, True)


def _rows(eqn, active, results, main, pull) -> list[Values]:
    columns: list[list[Values]] = [[] for _ in active]
    for which, i in enumerate(results):
        out = eqn.outvars[i].aval

        def row(cotangent, which=which):
            cotangents = [jnp.zeros(m.shape, m.dtype) for m in main]
            cotangents[which] = cotangent
            return pull(cotangents)

        for column, image in zip(columns, jax.vmap(row)(basis_of(out))):
            column.append(stored(image, (*out.shape, *image.shape[1:])))
    return [values for column in columns for values in column]
