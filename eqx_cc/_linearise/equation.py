"""The local partials of one equation: linearised by JAX once, read off many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np

from .._blocks.arrays import Values
from .._jaxpr.avals import is_inexact, struct
from .._jaxpr.known.indices import static_variables
from .._jaxpr.program import (
    as_function,
    Atom,
    bind,
    Constant,
    Equation,
    evaluate,
    flatten,
    inexact_results,
    Program,
)
from .._rules import registry_version
from .._rules.fallback import Pair
from .custom_vjp import reverse_rule
from .entries import Refine
from .linear_jaxpr import is_known_scalar, linear_blocks, LinearProgram


# Known operands of more entries are derived again for each equation: as keys, and in
# patterns, thousands of them would fill the memory.
_MAX_KEPT = 1 << 16


@dataclass(frozen=True)
class LocalPartials:
    """The symbolic partials of an equation, and how to compute it with their values.

    `pairs` are `(operand, result, pattern)`; `run(operands)` returns the results and
    the values for each pair. `fallback`: a part of it has no rule, so its block is
    dense. `refine` has the entries of the pairs, where patterns store known zeros, and
    `known` the results that are integer arrays known while tracing.
    """

    pairs: Sequence[Pair]
    run: Callable[[Sequence[Any]], tuple[list[Any], list[Values]]]
    fallback: bool = False
    refine: Refine | None = None
    known: Mapping[int, np.ndarray] = field(default_factory=dict)


def local_partials(
    equation: Equation, active: tuple[int, ...], indices: dict[int, np.ndarray]
) -> LocalPartials:
    """The partials of an equation with respect to the operands `active`.

    `indices` holds the operands that are integer arrays known while tracing, and the
    masks of the non-zeros of those that are sparse constants.
    """
    scalars = {
        i: operand.value
        for i, operand in enumerate(equation.operands)
        if isinstance(operand, Constant) and is_known_scalar(operand)
    }
    constants = equation.eqn, active, indices, scalars
    if sum(array.size for array in indices.values()) > _MAX_KEPT:
        return _derive(_Arguments(None, constants))
    key = _key(equation, active, indices, scalars)
    arguments = _Arguments(key, constants)
    try:
        hash(key)
    except TypeError:
        return _derive(arguments)
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
    constants = tuple(
        (i, np.asarray(v).tobytes()) for i, v in {**indices, **scalars}.items()
    )
    return eqn.primitive, params, avals, active, constants, eqn.ctx, registry_version()


def _derive(arguments: _Arguments) -> LocalPartials:
    eqn, active, indices, scalars = arguments.arguments
    blocks = linear_blocks(eqn, active, indices, scalars)
    if blocks is not None:
        run = lambda arrays: (bind(eqn, arrays), blocks.read(arrays))  # noqa: E731
        return LocalPartials(blocks.pairs, run, refine=blocks.refine)
    if eqn.primitive.name == "custom_vjp_call":
        return LocalPartials(*reverse_rule(eqn, active))
    if eqn.primitive.name == "custom_lin":  # The tangent of one, which only transposes.
        raise TypeError(
            "can't apply forward-mode autodiff (jvp) to a custom_vjp function."
        )
    integers = {i: v for i, v in indices.items() if not is_inexact(eqn.invars[i].aval)}
    return _linearised(eqn, active, scalars | integers)


_cached = lru_cache(maxsize=4096)(_derive)


def _linearised(eqn: jex.JaxprEqn, active, constants) -> LocalPartials:
    """Asks JAX to linearise the equation, and eliminates the inside of the result."""
    free = [i for i in range(len(eqn.invars)) if i not in constants]
    forward, linear = _linearise(eqn, active, constants, free)
    num_results = len(eqn.outvars)
    residuals = _folded(forward, forward.outputs[num_results:])
    inside = LinearProgram(linear, [eqn.invars[i].aval for i in active], residuals)
    positions = inexact_results(eqn)
    pairs = [(active[u], positions[v], pattern) for u, v, pattern in inside.pairs]

    def run(operands):
        values = evaluate(forward, [operands[i] for i in free])
        return values[:num_results], inside.run(values[num_results:])

    return LocalPartials(pairs, run, inside.fallback, inside.refine)


def _folded(program: Program, variables: Sequence[Atom]):
    """Variables of a program, as constants where they are integers that are known."""
    avals = {v: a for e in program.equations for v, a in zip(e.results, e.result_avals)}
    known = static_variables(program, {})
    return [
        Constant(known[v], avals[v])
        if isinstance(v, int) and v in known and not is_inexact(avals[v])
        else v
        for v in variables
    ]


def _linearise(eqn, active, constants, free) -> tuple[Program, jex.Jaxpr]:
    """The equation with its residuals, and the linear map from tangents to tangents.

    The linear jaxpr takes the residuals as constants.
    """
    linear = []

    def forward(*arguments):
        by_position = dict(zip(free, arguments)) | constants
        operands = [by_position[i] for i in range(len(by_position))]
        primals = [operands[i] for i in active]
        fun = as_function(eqn, active, operands)
        _, tangent_map, results = jax.linearize(fun, *primals, has_aux=True)
        closed = jax.make_jaxpr(tangent_map)(
            *[jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in inputs]
        )
        linear.append(closed.jaxpr)
        return results, closed.consts

    inputs = [eqn.invars[i].aval for i in active]
    closed = jax.make_jaxpr(forward)(*[struct(eqn.invars[i].aval) for i in free])
    return flatten(closed.jaxpr, closed.consts), linear[-1]
