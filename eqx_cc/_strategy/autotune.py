"""The method that is fastest when measured, which is kept and looked up."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
from jax.core import Tracer
from jaxtyping import Array

from .._blocks.arrays import DoesNotFit
from .._jaxpr.closed import captured, replaced, Traced
from .._jaxpr.fingerprint import device_fingerprint, program_fingerprint
from .._jaxpr.outside_trace import at_once
from .._jaxpr.program import Program
from .._orders.budget import limited, MOST_EFFORT, TooDear
from .._orders.cache import OrderCache
from .._orders.cost import Flops, Traffic
from .._orders.lookup import Automatic, Cheapest
from .._scalarise.expand import NotScalar
from .benchmark import (
    Arrays,
    arrays_like,
    batch_size,
    fastest,
    Jacobian as JacobianJaxpr,
)
from .granularity import Granularity
from .methods import (
    AbstractMethod,
    ArrayElimination,
    EntryElimination,
    ForwardMode,
    prepare,
    Prepared,
    Problem,
    ReverseMode,
)
from .sweep import NotDifferentiable
from .winners import is_empty, keep, winner


# Why a method may not be for a problem.
_INAPPLICABLE = NotDifferentiable, NotScalar, DoesNotFit, TooDear


def candidates(granularity: Granularity) -> dict[str, AbstractMethod]:
    """The methods that are measured, by the names under which the fastest is kept. The
    first that there is for a problem is taken to be right."""
    methods: dict[str, AbstractMethod] = {
        "forward": ForwardMode(),
        "reverse": ReverseMode(),
    }
    multiplications = Automatic()
    if granularity != "scalar":
        traffic = Cheapest(Traffic())
        methods["arrays, multiplications"] = ArrayElimination(multiplications)
        methods["arrays, traffic"] = ArrayElimination(traffic)
    if granularity != "array":
        flops = Cheapest(Flops())
        entries = EntryElimination(multiplications, granularity)
        methods["scalars, multiplications"] = entries
        methods["scalars, flops"] = EntryElimination(flops, granularity)
    return methods


def autotuned(
    problem: Problem,
    leaves: Sequence[Array],
    granularity: Granularity,
    cache: OrderCache,
) -> Prepared | None:
    """The fastest method. Which one that is is looked up, or else measured, and kept.
    None if it cannot be measured."""
    prepared = remembered(problem, leaves, granularity, cache)
    if prepared is None and measure(problem, leaves, granularity, cache) is not None:
        prepared = remembered(problem, leaves, granularity, cache)
    return prepared


def remembered(
    problem: Problem,
    leaves: Sequence[Array],
    granularity: Granularity,
    cache: OrderCache,
) -> Prepared | None:
    """The method that is known to be the fastest, if there is one."""
    if is_empty(cache):
        return None
    methods = candidates(granularity)
    tracers = [*leaves, *captured(problem.program)]
    name = winner(cache, _key(problem.program, tracers, methods))
    if name is not None and name in methods:
        with contextlib.suppress(*_INAPPLICABLE), limited(MOST_EFFORT):
            return prepare(methods[name], problem, leaves)
    return None


def measure(
    problem: Problem,
    leaves: Sequence[Array],
    granularity: Granularity,
    cache: OrderCache,
) -> str | None:
    """The name of the fastest method, which is kept. None if nothing can be measured on
    its own: a function with effects, or with a collective operation of a mesh."""
    methods = candidates(granularity)
    tracers = [*leaves, *captured(problem.program)]
    arrays = _arrays(problem.program, tracers)
    if arrays is None:
        return None
    jacobians = _jacobians(problem, tracers, len(leaves), methods)
    result = fastest(jacobians, arrays, len(leaves)) if jacobians else None
    if result is None:
        return None
    keep(cache, _key(problem.program, tracers, methods), *result)
    return result[0]


def _arrays(program: Program, tracers: Sequence[Any]) -> Arrays | None:
    if any(equation.eqn.effects for equation in program.equations):
        return None
    try:
        with at_once():
            return arrays_like(tracers)
    except (TypeError, ValueError):  # A type of which there are no zeros.
        return None


def _key(
    program: Program, tracers: Sequence[Any], methods: Mapping[str, AbstractMethod]
) -> str:
    shapes = [f"{jax.typeof(x)} * {batch_size(x)}" for x in tracers]
    parts = (program_fingerprint(program), *shapes, *methods, device_fingerprint())
    return "; ".join(parts)


def _jacobians(
    problem: Problem,
    tracers: Sequence[Any],
    num_leaves: int,
    methods: Mapping[str, AbstractMethod],
) -> dict[str, JacobianJaxpr]:
    """The methods that apply, each as a jaxpr, none of them twice."""
    avals = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in map(jax.typeof, tracers)]
    jaxprs, texts = {}, set()
    for name, method in methods.items():

        def run(arrays, method=method):
            program = replaced(
                problem.program, tracers[num_leaves:], arrays[num_leaves:]
            )
            at = replace(problem, program=program)
            return method(at, arrays[:num_leaves]).materialise()

        with contextlib.suppress(*_INAPPLICABLE), limited(MOST_EFFORT):
            closed = Traced(run, avals).closed
            if any(isinstance(x, Tracer) for x in closed.consts):
                continue
            if (text := str(closed.jaxpr)) not in texts:
                texts.add(text)
                jaxprs[name] = closed
    return jaxprs
