"""What takes the place of elimination by default, where that is plainly dearer.

One pass of forward or reverse mode in all directions is one matrix product for each of
the function. Where blocks are dense and large, and where the structure of an equation
is not known, elimination multiplies no less, and in smaller pieces.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array

from ._arrays import DoesNotFit
from ._effort import limited, TooDear
from ._granularity import is_compiled
from ._program import Program
from ._sweep import differentiable, Direction, directions
from ._traced import Result, Traced
from ._work import jaxpr_work, program_work, sweep_work


# Symbolic work for an order, in pairs of terms; and from how many equations on it is
# not begun where a sweep hardly takes longer than the function itself.
MOST_EFFORT, _MANY_EQUATIONS = 25_000.0, 300
# What is not compiled spends its time between operations, unless it takes longer than
# this: elimination has to be dearer by as much.
_EAGER = 50_000.0

# What JAX raises where a function has no derivative in one direction.
REFUSALS = TypeError, ValueError, NotImplementedError, RuntimeError


def by_default(
    program: Program,
    leaves: Sequence[Array],
    num_outputs: int,
    eliminate: Callable[[list[Array]], Result],
    sweep: Callable[[list[Array], Direction], Result],
) -> Result:
    """The result of elimination, or that of a sweep if it is said to take less time, or
    if there is no elimination within memory and reason."""
    works = sweeps(program, leaves, num_outputs)
    least = min(works.values(), default=math.inf)

    def swept() -> Result | None:
        for direction in sorted(works, key=works.__getitem__):
            with contextlib.suppress(*REFUSALS):
                return Traced(_towards(sweep, direction), leaves)(leaves)
        return None

    found = None
    if len(program.equations) > _MANY_EQUATIONS and least < 3 * program_work(program):
        found = swept()
    if found is None:
        with contextlib.suppress(DoesNotFit, TooDear):
            with limited(MOST_EFFORT if works else math.inf):
                traced = Traced(eliminate, leaves)
            most = least + (0.0 if is_compiled() else _EAGER)
            found = swept() if jaxpr_work(traced.closed.jaxpr) > most else None
            return traced(leaves) if found is None else found
        found = swept()
    return eliminate(list(leaves)) if found is None else found


def _towards(sweep: Callable, direction: Direction) -> Callable:
    return lambda leaves: sweep(leaves, direction)


def sweeps(
    program: Program, leaves: Sequence[Array], num_outputs: int
) -> dict[Direction, float]:
    """How long sweeps may take in all, in those directions that there are."""
    outputs = sum(
        program.output_avals[i].size for i in differentiable(program, num_outputs)
    )
    inputs = sum(jnp.size(leaf) for leaf in leaves)
    if inputs * outputs == 0:
        return {}
    # Columns are transposed: they come out as rows.
    ends = {"forward": (inputs, outputs * inputs / 2), "reverse": (outputs, 0)}
    primal = program_work(program)
    return {
        way: primal + ends[way][1] + sweep_work(program, ends[way][0], way == "reverse")
        for way in directions(program, num_outputs)
    }
