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

from .._blocks.arrays import Values
from .._jaxpr.avals import struct
from .._jaxpr.program import bind, Constant, Equation, evaluate, flatten, Program
from .._rules import registry_version
from .._rules.fallback import basis_of, dense_pairs, inexact_results, stored
from .linear_jaxpr import is_known_scalar, linear_blocks, LinearProgram, Pair


@dataclass(frozen=True)
class Template:
    """The symbolic partials of an equation, and how to compute it with their values.

    `pairs` are `(operand, result, pattern)`; `run(operands)` returns the results and
    the values for each pair. `fallback`: a part of it has no rule, so its block is
    dense.
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
        if isinstance(operand, Constant) and is_known_scalar(operand)
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
    return eqn.primitive, params, avals, active, known, eqn.ctx, registry_version()


@lru_cache(maxsize=4096)
def _cached(arguments: _Arguments) -> Template:
    return _make(arguments)


def _make(arguments: _Arguments) -> Template:
    eqn, active, indices, scalars = arguments.arguments
    local = linear_blocks(eqn, active, indices, scalars)
    if local is not None:
        pairs, read = local

        def run(operands):
            return bind(eqn, operands), read(operands)

        return Template(tuple(pairs), run, False)
    if eqn.primitive.name == "custom_vjp_call":
        return _by_vjp(eqn, active)
    return _linearised(eqn, active, scalars)


def _linearised(eqn: jex.JaxprEqn, active, scalars) -> Template:
    """Asks JAX to linearise the equation, and eliminates the inside of the result."""
    free = [i for i in range(len(eqn.invars)) if i not in scalars]
    forward, linear = _linearise(eqn, active, scalars, free)
    num_results = len(eqn.outvars)
    residuals = forward.outputs[num_results:]
    inside = LinearProgram(linear, [eqn.invars[i].aval for i in active], residuals)
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
