"""The way to a Jacobian that is fastest when measured, and what is known of that."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import jax
from jax.core import Tracer
from jaxtyping import Array

from ._aside import at_once
from ._cache import OrderCache
from ._choice import MOST_EFFORT, REFUSALS
from ._effort import limited, TooDear
from ._fingerprint import device_fingerprint, program_fingerprint
from ._measure import Arrays, arrays_like, batch_size, fastest, Jacobian
from ._program import Program
from ._traced import captured, replaced, Result, Traced
from ._winners import is_empty, keep, winner


# A way to a Jacobian: from a program and its inputs to all that is wanted.
Way = Callable[[Program, list[Array]], Result]

# Why there may be no such way; `DoesNotFit` is a `ValueError`.
_NO_WAY = (*REFUSALS, TooDear)


@dataclass(frozen=True)
class Ways(Generic[Result]):
    """Several ways to a Jacobian by name, of which the first that there is is right;
    and `blocks`, the arrays of a result that count."""

    named: Mapping[str, Way[Result]]
    blocks: Callable[[Result], list[Array]]


def by_measurement(
    program: Program,
    leaves: Sequence[Array],
    ways: Ways[Result],
    cache: OrderCache,
) -> Result | None:
    """The result of the fastest of several ways. Which one that is is looked up, or
    else measured, and kept. None if it cannot be measured."""
    found = by_memory(program, leaves, ways, cache)
    if found is None and measured(program, leaves, ways, cache) is not None:
        found = by_memory(program, leaves, ways, cache)
    return found


def by_memory(
    program: Program,
    leaves: Sequence[Array],
    ways: Ways[Result],
    cache: OrderCache,
) -> Result | None:
    """The result of what is known to be the fastest way, if there is such a way."""
    if is_empty(cache):
        return None
    tracers = [*leaves, *captured(program)]
    name = winner(cache, _key(program, tracers, ways))
    if name is not None and name in ways.named:
        with contextlib.suppress(*_NO_WAY):
            return _taken(program, leaves, ways.named[name])
    return None


def measured(
    program: Program,
    leaves: Sequence[Array],
    ways: Ways[Result],
    cache: OrderCache,
) -> str | None:
    """The name of the fastest way, which is kept. None if nothing can be measured on
    its own: a function with effects, or with a collective operation of a mesh."""
    tracers = [*leaves, *captured(program)]
    arrays = _arrays(program, tracers)
    if arrays is None:
        return None
    jacobians = _jacobians(program, tracers, len(leaves), ways)
    found = fastest(jacobians, arrays, len(leaves)) if jacobians else None
    if found is None:
        return None
    keep(cache, _key(program, tracers, ways), *found)
    return found[0]


def _taken(program: Program, leaves: Sequence[Array], way: Way[Result]) -> Result:
    with limited(MOST_EFFORT):
        return Traced(lambda x: way(program, x), leaves)(leaves)


def _arrays(program: Program, tracers: Sequence[Any]) -> Arrays | None:
    if any(equation.eqn.effects for equation in program.equations):
        return None
    try:
        with at_once():
            return arrays_like(tracers)
    except (TypeError, ValueError):  # A type of which there are no zeros.
        return None


def _key(program: Program, tracers: Sequence[Any], ways: Ways) -> str:
    shapes = [f"{jax.typeof(x)} * {batch_size(x)}" for x in tracers]
    parts = (program_fingerprint(program), *shapes, *ways.named, device_fingerprint())
    return "; ".join(parts)


def _jacobians(
    program: Program,
    tracers: Sequence[Any],
    num_leaves: int,
    ways: Ways,
) -> dict[str, Jacobian]:
    """Those ways that there are, each as a jaxpr, none of them twice."""
    avals = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in map(jax.typeof, tracers)]
    found, texts = {}, set()
    for name, way in ways.named.items():

        def run(arrays, way=way):
            own = replaced(program, tracers[num_leaves:], arrays[num_leaves:])
            return ways.blocks(way(own, arrays[:num_leaves]))

        with contextlib.suppress(*_NO_WAY), limited(MOST_EFFORT):
            closed = Traced(run, avals).closed
            if any(isinstance(x, Tracer) for x in closed.consts):
                continue
            if (text := str(closed.jaxpr)) not in texts:
                texts.add(text)
                found[name] = closed
    return found
