"""The method that is fastest when timed: looked up, or else measured and kept."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import jax
from jax.core import Tracer

from .._blocks.arrays import DoesNotFit
from .._jaxpr.closed import captured_tracers, replace_constants, TracedFunction
from .._jaxpr.fingerprint import device_fingerprint, program_fingerprint
from .._jaxpr.outside_trace import computed_while_tracing
from .._orders.budget import BudgetExceeded, DEFAULT_BUDGET, limited
from .._orders.cache import OrderCache
from .._orders.cost import Flops, Traffic
from .._orders.lookup import Automatic, Cheapest
from .._scalarise.expand import NotScalar
from .benchmark import arrays_like, batch_size, fastest, JacobianJaxpr
from .granularity import Granularity
from .methods import (
    AbstractMethod,
    ArrayElimination,
    ForwardMode,
    prepare,
    Prepared,
    Problem,
    ReverseMode,
    ScalarElimination,
)
from .sweep import NotDifferentiable
from .winners import is_empty, keep, winner


# Raised by a method that does not apply to a problem.
_INAPPLICABLE = NotDifferentiable, NotScalar, DoesNotFit, BudgetExceeded


def candidates(granularity: Granularity) -> dict[str, AbstractMethod]:
    """The methods to time, by the names under which the fastest is kept. The first that
    applies to a problem is the reference for the others."""
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
        methods["scalars, multiplications"] = ScalarElimination(multiplications)
        methods["scalars, flops"] = ScalarElimination(flops)
    return methods


def autotuned(problem: Problem, cache: OrderCache) -> Prepared | None:
    """The fastest method, which is timed if it is not in the cache. None if it cannot
    be timed."""
    prepared = looked_up(problem, cache)
    if prepared is None and measure(problem, cache) is not None:
        prepared = looked_up(problem, cache)
    return prepared


def looked_up(problem: Problem, cache: OrderCache) -> Prepared | None:
    """The fastest method according to the cache, if the problem is there."""
    if is_empty(cache):
        return None
    methods = candidates(problem.granularity)
    name = winner(cache, _key(problem))
    if name is not None and name in methods:
        with contextlib.suppress(*_INAPPLICABLE), limited(DEFAULT_BUDGET):
            return _prepared(methods[name], problem)
    return None


def _prepared(method: AbstractMethod, problem: Problem) -> Prepared:
    """The method for a problem, as it was timed: a program of scalars is one native
    call, and slower within another one."""
    if isinstance(method, ScalarElimination):
        scalars = problem.scalars(method.order)
        if scalars is not None:
            return Prepared(replace(method, scalars=scalars), problem)
    return prepare(method, problem)


def measure(problem: Problem, cache: OrderCache) -> str | None:
    """Times the candidates, keeps the fastest in the cache, and returns its name.

    Returns None if nothing can be compiled on its own: a function with effects, say, or
    with a collective operation of a mesh.
    """
    if any(equation.eqn.effects for equation in problem.program.equations):
        return None
    with computed_while_tracing():
        arrays = arrays_like(_inputs(problem))
    if arrays is None:
        return None
    jacobians = _jacobians(problem)
    result = fastest(jacobians, arrays, len(problem.leaves)) if jacobians else None
    if result is None:
        return None
    name, seconds = result
    keep(cache, _key(problem), name, seconds)
    return name


def _inputs(problem: Problem) -> list[Any]:
    """All that the Jacobian depends on: the leaves, then what the function captures."""
    return [*problem.leaves, *captured_tracers(problem.program)]


def _key(problem: Problem) -> str:
    inputs = _inputs(problem)
    shapes = [f"{jax.typeof(x)} * {batch_size(x)}" for x in inputs]
    program, device = program_fingerprint(problem.program), device_fingerprint()
    return "; ".join([program, *shapes, *candidates(problem.granularity), device])


def _jacobians(problem: Problem) -> dict[str, JacobianJaxpr]:
    """The jaxprs of the methods that apply. Of equal jaxprs, the first is kept."""
    inputs, num_leaves = _inputs(problem), len(problem.leaves)
    avals = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in map(jax.typeof, inputs)]
    jaxprs, texts = {}, set()
    for name, method in candidates(problem.granularity).items():

        def run(arrays, method=method):
            leaves, captures = arrays[:num_leaves], arrays[num_leaves:]
            program = replace_constants(problem.program, inputs[num_leaves:], captures)
            at = replace(problem, program=program, leaves=leaves)
            return method(at).materialise()

        with contextlib.suppress(*_INAPPLICABLE), limited(DEFAULT_BUDGET):
            closed = TracedFunction(run, avals).closed
            if any(isinstance(x, Tracer) for x in closed.consts):
                continue
            if (text := str(closed.jaxpr)) not in texts:
                texts.add(text)
                jaxprs[name] = closed
    return jaxprs
