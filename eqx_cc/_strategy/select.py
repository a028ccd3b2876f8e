"""The method for a problem.

One pass of forward or reverse mode in all directions is one matrix product for each of
the function. Where blocks are dense and large, and where the structure of an equation
is not known, elimination multiplies no less, and in smaller pieces: there a pass takes
its place by default.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array

from .._blocks.arrays import DoesNotFit
from .._jaxpr.program import has_collectives, has_split
from .._jaxpr.shard_map import varies
from .._orders.budget import limited, MOST_EFFORT, TooDear
from .._orders.cache import default_cache
from .._orders.lookup import Automatic, Measured
from .._orders.orderings import AbstractOrdering, Reverse
from .autotune import autotuned, remembered
from .granularity import Granularity, is_compiled
from .methods import (
    ArrayElimination,
    EntryElimination,
    expansion,
    ForwardMode,
    prepare,
    Prepared,
    Problem,
    ReverseMode,
)
from .sweep import differentiable, directions, NotDifferentiable
from .time_model import jaxpr_work, program_work, sweep_work


# From how many equations on an order is not sought where a sweep hardly takes longer
# than the function itself.
_MANY_EQUATIONS = 300
# What is not compiled spends its time between operations, unless it takes longer than
# this: elimination has to be dearer by as much.
_EAGER = 50_000.0

_SWEEPS = {"forward": ForwardMode(), "reverse": ReverseMode()}


def select(
    problem: Problem,
    leaves: Sequence[Array],
    order: AbstractOrdering,
    granularity: Granularity,
) -> Prepared:
    """The method for the dense Jacobian of a problem."""
    if any(map(varies, leaves)) and has_collectives(problem.program):
        return Prepared(ForwardMode(), problem)
    if has_split(problem.program, leaves):
        return _as_split(problem, order)
    if isinstance(order, Automatic | Measured):
        prepared = _fastest(problem, leaves, order, granularity)
        if prepared is not None:
            return prepared
        order = Automatic()
    scalars = expansion(problem, leaves, order, granularity)
    if scalars is not None:
        return Prepared(EntryElimination(order, granularity, scalars), problem)
    if not isinstance(order, Automatic):
        return Prepared(ArrayElimination(order), problem)
    return _by_model(problem, leaves, order)


def _as_split(problem: Problem, order: AbstractOrdering) -> Prepared:
    """The sweep for arrays that are split over a mesh of type `Explicit`.

    It leaves the blocks of the Jacobian split: single entries, and the places of blocks
    in others, have types only where nothing is split.
    """
    possible = directions(problem.program, problem.count)
    preferred, other = _SWEEPS["forward"], _SWEEPS["reverse"]
    if isinstance(order, Reverse):
        preferred, other = other, preferred
    is_other = preferred.direction not in possible and other.direction in possible
    return Prepared(other if is_other else preferred, problem)


def _fastest(
    problem: Problem,
    leaves: Sequence[Array],
    order: AbstractOrdering,
    granularity: Granularity,
) -> Prepared | None:
    """The method that was fastest when measured, if there is one."""
    if not isinstance(order, Measured):
        return remembered(problem, leaves, granularity, default_cache())
    if granularity == "scalar":  # Which may be refused.
        expansion(problem, leaves, order, granularity)
    return autotuned(problem, leaves, granularity, default_cache())


def _by_model(
    problem: Problem, leaves: Sequence[Array], order: AbstractOrdering
) -> Prepared:
    """Elimination, or a sweep if it is said to take less time, or if there is no
    elimination within memory and reason. A sweep that JAX refuses leaves the others to
    be compared."""
    times = _sweep_times(problem, leaves)
    if len(problem.program.equations) > _MANY_EQUATIONS:
        most = 3 * program_work(problem.program)
        prepared = _sweep_within(most, times, problem, leaves)
        if prepared is not None:
            return prepared
    method = ArrayElimination(order)
    elimination, time = Prepared(method, problem), math.inf
    with contextlib.suppress(DoesNotFit, TooDear):
        with limited(MOST_EFFORT if times else math.inf):
            traced = (elimination := prepare(method, problem, leaves)).traced
        assert traced is not None
        time = jaxpr_work(traced.closed.jaxpr) - (0.0 if is_compiled() else _EAGER)
    prepared = _sweep_within(time, times, problem, leaves)
    return elimination if prepared is None else prepared


_Sweep = ForwardMode | ReverseMode


def _sweep_within(
    time: float, times: dict[_Sweep, float], problem: Problem, leaves: Sequence[Array]
) -> Prepared | None:
    """The fastest sweep, if it takes less than a time. Those that JAX refuses, or whose
    result does not fit, are dropped from `times`."""
    for method in sorted(times, key=times.__getitem__):
        if times[method] < time:
            with contextlib.suppress(NotDifferentiable, DoesNotFit):
                return prepare(method, problem, leaves)
            del times[method]
    return None


def _sweep_times(problem: Problem, leaves: Sequence[Array]) -> dict[_Sweep, float]:
    """How long sweeps may take in all, in those directions that there are."""
    program, count = problem.program, problem.count
    outputs = sum(program.output_avals[i].size for i in differentiable(program, count))
    inputs = sum(jnp.size(leaf) for leaf in leaves)
    if inputs * outputs == 0:
        return {}
    # Columns are transposed: they come out as rows.
    ends = {"forward": (inputs, outputs * inputs / 2), "reverse": (outputs, 0)}
    primal = program_work(program)
    return {
        _SWEEPS[way]: primal
        + ends[way][1]
        + sweep_work(program, ends[way][0], way == "reverse")
        for way in directions(program, count)
    }
