"""The choice of a method for a problem.

By default it is elimination, unless the model of `time_model` says that a sweep of
forward or reverse mode takes less time. A sweep has one matrix product for each matrix
product of the function. Where blocks are dense and large, or of unknown structure,
elimination multiplies as much, in smaller pieces.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp

from .._blocks.arrays import DoesNotFit
from .._jaxpr.avals import is_inexact
from .._jaxpr.closed import TracedFunction
from .._jaxpr.program import has_collectives, has_split
from .._jaxpr.shard_map import varies
from .._linearise.storage import structured_limit
from .._orders.budget import BudgetExceeded, DEFAULT_BUDGET, limited
from .._orders.cache import default_cache
from .._orders.lookup import Automatic, Measured
from .._orders.orderings import AbstractOrdering, Forward, Reverse
from .._scalarise.small_arrays import is_small
from .autotune import autotuned, looked_up
from .granularity import is_compiled
from .methods import (
    ArrayElimination,
    ForwardMode,
    JacobianTrace,
    prepare,
    Prepared,
    Problem,
    ReverseMode,
    ScalarElimination,
    trace_by_columns,
    trace_by_elimination,
)
from .sweep import (
    at_once,
    differentiable,
    directions,
    may_discard_infinities,
    NotDifferentiable,
)
from .time_model import jaxpr_work, largest_array, program_work, sweep_work


# Above so many equations, no order is sought if a sweep takes little more time than the
# function itself.
_MANY_EQUATIONS, _LITTLE_MORE = 300, 3.0
# Outside of `jax.jit`, a sweep that takes no more nanoseconds is taken at once: it is
# the fastest to trace and to compile, and calls take longer. Any other is taken only if
# it is faster by as many: smaller operations spend their time in being started.
_QUICK = 50_000.0

# A sweep is taken only if elimination takes so many times as long. Of what are equally
# long by the model, elimination was the faster (`python -m benchmarks.never`).
_MARGIN = 1.2

# Reverse mode must be faster by this factor as well if it may give NaN where forward
# mode and elimination do not.
_RISK = 3.0

# So many bytes of blocks are of no account beside the columns of a Jacobian.
_SMALL = 2**26

# Sweeps whose largest array has more bytes than this, and than the Jacobian, are made
# for so many directions at a time that it has not.
_LARGE = 2**31

_SWEEPS = {"forward": ForwardMode, "reverse": ReverseMode}


def select_method(
    problem: Problem, order: AbstractOrdering, *, is_one_call: bool = False
) -> Prepared:
    """The method for the dense Jacobian of a problem, prepared for it.

    With `is_one_call`, the Jacobian at one point is all that a call computes: it is not
    a part of a larger program, nor computed for a batch.
    """
    if any(map(varies, problem.leaves)) and has_collectives(problem.program):
        return Prepared(ForwardMode(problem.chunk_size), problem)
    if has_split(problem.program, problem.leaves):
        return _split_sweep(problem, order)
    if problem.chunk_size is not None:
        return _in_chunks(problem, order)
    if isinstance(order, Automatic | Measured):
        prepared = _fastest(problem, order)
        if prepared is not None:
            return prepared
        order = Automatic()
        if is_one_call and problem.granularity != "scalar":
            prepared = _sweep_within(_QUICK, _sweep_times(problem), problem)
            if prepared is not None:
                return prepared
    scalars = problem.scalars(order)
    if scalars is not None:
        return Prepared(ScalarElimination(order, scalars), problem)
    if not isinstance(order, Automatic):
        return Prepared(ArrayElimination(order), problem)
    return _by_model(problem, order)


def _split_sweep(problem: Problem, order: AbstractOrdering) -> Prepared:
    """The sweep for arrays that are split over a mesh of type `Explicit`.

    A sweep leaves the blocks of the Jacobian split. Elimination cannot: entries, and
    slices of blocks, have types only if nothing is split.
    """
    if problem.chunk_size is not None:
        raise ValueError(
            "`chunk_size` needs arrays that are not split over the axes of a mesh of "
            "type `Explicit`. Leave it out: each device computes its part of the "
            "Jacobian."
        )
    possible = directions(problem.program, problem.num_outputs)
    preferred, other = ForwardMode(), ReverseMode()
    if isinstance(order, Reverse):
        preferred, other = other, preferred
    is_other = preferred.direction not in possible and other.direction in possible
    return Prepared(other if is_other else preferred, problem)


def _in_chunks(problem: Problem, order: AbstractOrdering) -> Prepared:
    """The faster sweep, or that of the order, for some directions at a time."""
    wanted = {Forward: ForwardMode, Reverse: ReverseMode}.get(type(order))
    times = _sweep_times(problem)
    if not times:  # There is nothing to compute.
        return Prepared(ForwardMode(), problem)
    chosen = {m: t for m, t in times.items() if wanted in (None, type(m))}
    prepared = _sweep_within(math.inf, chosen, problem)
    if prepared is None:
        raise NotDifferentiable(
            "JAX has no sweep for the function, of which `chunk_size` limits the "
            "directions: it has neither a derivative in forward mode nor one in "
            "reverse mode, or not in that of `order`. Leave `chunk_size` out."
        )
    return prepared


def _fastest(problem: Problem, order: AbstractOrdering) -> Prepared | None:
    """The method that is fastest when timed; by default, if the cache has it."""
    if not isinstance(order, Measured):
        return looked_up(problem, default_cache())
    if problem.granularity == "scalar":  # Raises if there are no scalars.
        problem.scalars(order)
    return autotuned(problem, default_cache())


def _by_model(problem: Problem, order: AbstractOrdering) -> Prepared:
    """Elimination; or a sweep, if the model says that it takes less time, or if
    elimination exceeds the limits of memory or of symbolic work.

    If JAX refuses a sweep, the other methods are compared again.
    """
    times = _sweep_times(problem)
    if len(problem.program.equations) > _MANY_EQUATIONS:
        limit = _LITTLE_MORE * program_work(problem.program)
        prepared = _sweep_within(limit, times, problem)
        if prepared is not None:
            return prepared
    method = ArrayElimination(order)
    elimination, time = Prepared(method, problem), math.inf
    with contextlib.suppress(DoesNotFit, BudgetExceeded):
        with limited(DEFAULT_BUDGET if times else math.inf):
            traced = (elimination := prepare(method, problem)).traced
        assert traced is not None
        jaxpr, compiled = traced.closed.jaxpr, is_compiled()
        work = jaxpr_work(jaxpr, is_native=compiled and is_small(jaxpr))
        time = work / _MARGIN - (0.0 if compiled else _QUICK)
    prepared = _sweep_within(time, times, problem)
    return elimination if prepared is None else prepared


def select_trace(
    problem: Problem, order: AbstractOrdering
) -> Callable[[], JacobianTrace]:
    """The method for the trace of the Jacobian of a problem. By default it is that
    which takes less time by the model; elimination in any other order."""

    def eliminated(leaves):
        return trace_by_elimination(replace(problem, leaves=leaves), order, _SMALL)

    def by_columns():
        return trace_by_columns(problem)

    program = problem.program
    if has_split(program, problem.leaves):
        return by_columns
    has_forward = "forward" in directions(program, problem.num_outputs)
    if not (isinstance(order, Automatic) and has_forward):
        return lambda: trace_by_elimination(problem, order)
    with contextlib.suppress(DoesNotFit, BudgetExceeded), limited(DEFAULT_BUDGET):
        traced = TracedFunction(eliminated, problem.leaves)
        count = at_once(problem.leaves)
        rounds = -(-sum(map(jnp.size, problem.leaves)) // count)
        most = rounds * sweep_work(program, count, reverse=False)
        limit = structured_limit(program, problem.leaves, _SMALL)
        is_fast = jaxpr_work(traced.closed.jaxpr) <= most + program_work(program)
        if is_fast and largest_array(traced.closed.jaxpr) <= limit:
            return lambda: traced(problem.leaves)
    return by_columns


_Sweep = ForwardMode | ReverseMode


def _sweep_within(
    time: float, times: dict[_Sweep, float], problem: Problem
) -> Prepared | None:
    """The fastest sweep, if it takes less than `time`. Removes from `times` those that
    JAX refuses or whose result does not fit."""
    for method in sorted(times, key=times.__getitem__):
        if times[method] < time:
            with contextlib.suppress(NotDifferentiable, DoesNotFit):
                return prepare(method, problem)
            del times[method]
    return None


def _sweep_times(problem: Problem) -> dict[_Sweep, float]:
    """The time of each sweep that the program may have, by the model."""
    program, count = problem.program, problem.num_outputs
    outputs = sum(program.output_avals[i].size for i in differentiable(program, count))
    inputs = sum(jnp.size(leaf) for leaf in problem.leaves)
    if inputs * outputs == 0:
        return {}
    primal, times = program_work(program), {}
    for direction in directions(program, count):
        reverse = direction == "reverse"
        work = sweep_work(program, outputs if reverse else inputs, reverse=reverse)
        # Forward mode has columns, which are transposed to be the rows of the Jacobian.
        transposed = 0 if reverse else outputs * inputs / 2
        size = _chunk_size(problem, outputs if reverse else inputs, outputs * inputs)
        risk = _RISK if reverse and may_discard_infinities(program) else 1.0
        times[_SWEEPS[direction](size)] = risk * (primal + work + transposed)
    return times


def _chunk_size(problem: Problem, num_directions: int, num_entries: int) -> int | None:
    """The directions of a sweep to take at a time, None for all of them."""
    if problem.chunk_size is not None:
        return problem.chunk_size
    avals = [v for e in problem.program.equations for v in e.result_avals]
    arrays = [aval.size * aval.dtype.itemsize for aval in avals if is_inexact(aval)]
    limit = max(_LARGE, 8 * num_entries)
    largest = max(arrays, default=0)
    if largest * num_directions <= limit:
        return None
    return max(1, limit // largest)
