"""Low-rank structure: plans in which narrow vertices are not eliminated.

What leads through a vertex that is narrower than input and output is a product of two
factors. To eliminate the vertex is to multiply them, which stores more numbers than the
two have: the product of a column and a row is a full matrix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from .._sparsity.pattern import Pattern, update
from .elimination import Elimination, Plan, plan, Step
from .graph import ComputationalGraph


# A product that touches more than this many times the entries of its factors is kept
# as these.
MIN_SAVING = 2

Edge = tuple[int, int]


class Factors(NamedTuple):
    """What leads from an input to an output through one vertex: `left @ right`."""

    vertex: int
    left: Pattern
    right: Pattern

    @property
    def num_nonzeros(self) -> int:
        return self.left.num_nonzeros + self.right.num_nonzeros


class FactoredPlan(NamedTuple):
    """A plan whose blocks are `blocks[input, output] + sum(left @ right)`, summed over
    the `factors[input, output]`, any of them absent where there are none."""

    steps: Plan
    factors: Mapping[Edge, tuple[Factors, ...]]


@lru_cache(maxsize=1024)
def factored_plan(graph: ComputationalGraph, order: tuple[int, ...]) -> FactoredPlan:
    """The plan of eliminating the intermediates of `graph` in `order`, except for those
    through which products are better kept as their factors."""
    whole = plan(graph, order)
    state = Elimination(graph)
    kept, steps = _eliminate_wide(state, order)
    steps += _total_derivatives(state, sorted(kept))
    factors = {}
    for u, w in _pairs(graph, state, kept):
        own = _through(state, u, w, kept)
        if _saves(state.ins[w].get(u), own):
            factors[u, w] = own
        else:
            steps += [state.absorb(f.vertex, [u], [w]) for f in own]
    found = _finished(graph, order, state, steps, factors)
    if not factors or found.num_multiplications > whole.num_multiplications:
        return FactoredPlan(whole, {})
    return FactoredPlan(found, factors)


def _finished(graph, order, state: Elimination, steps, factors) -> Plan:
    ends = {(u, f.vertex) for (u, _), own in factors.items() for f in own}
    ends |= {(f.vertex, w) for (_, w), own in factors.items() for f in own}
    blocks = {
        (u, w): block
        for w in graph.dependents
        for u, block in state.ins[w].items()
        if u in graph.independents
    }
    blocks |= {(u, w): state.ins[w][u] for u, w in sorted(ends)}
    return Plan(order, tuple(steps), blocks)


def _eliminate_wide(
    state: Elimination, order: tuple[int, ...]
) -> tuple[list[int], list[Step]]:
    """Eliminates, in that order, every vertex but those whose elimination would store
    more; again and again, as a vertex may be narrower than its neighbours are now."""
    left, steps = list(order), []
    while True:
        kept = []
        for vertex in left:
            if _narrows(state, vertex):
                kept.append(vertex)
            else:
                steps.append(state.eliminate(vertex))
        if len(kept) == len(left):
            return kept, steps
        left = kept


def _narrows(state: Elimination, vertex: int) -> bool:
    """Whether what leads through a vertex has more entries than lead to and from it."""
    ins, outs = state.ins[vertex], state.outs[vertex]
    if not ins or not outs or any(right.complex_out for right in ins.values()):
        return False  # A factor that acts on conjugates is no matrix.
    size = math.prod(next(iter(ins.values())).out_shape)
    width = max(math.prod(right.in_shape) for right in ins.values())
    height = max(math.prod(left.out_shape) for left in outs.values())
    if size >= min(width, height):
        return False
    own = sum(p.num_nonzeros for p in (*ins.values(), *outs.values()))
    made = 0
    for w, left in outs.items():
        for u, right in ins.items():
            old = state.ins[w].get(u)
            made += update(old, left, right).pattern.num_nonzeros
            made -= 0 if old is None else old.num_nonzeros
    return made >= own


def _total_derivatives(state: Elimination, kept: list[int]) -> list[Step]:
    """Lets every kept vertex be reached from inputs alone, by eliminating the edges
    between two of them from its front."""
    steps = []
    for w in kept:
        for v in [v for v in state.ins[w] if v in kept]:
            steps.append(state.absorb(v, list(state.ins[v]), [w]))
            state.drop(v, w)
    return steps


def _pairs(graph, state: Elimination, kept: list[int]) -> list[Edge]:
    """The inputs and outputs between which a kept vertex is."""
    return [
        (u, w)
        for w in graph.dependents
        for u in graph.independents
        if _through(state, u, w, kept)
    ]


def _through(state: Elimination, u: int, w: int, kept) -> tuple[Factors, ...]:
    return tuple(
        Factors(v, state.ins[w][v], state.ins[v][u])
        for v in sorted(kept)
        if v in state.ins[w] and u in state.ins[v]
    )


def _saves(direct: Pattern | None, own: tuple[Factors, ...]) -> bool:
    """Whether factors have far fewer entries than the sum of their products."""
    total = direct
    for factors in own:
        total = update(total, factors.left, factors.right).pattern
    assert total is not None
    made = total.num_nonzeros - (0 if direct is None else direct.num_nonzeros)
    return made > MIN_SAVING * sum(factors.num_nonzeros for factors in own)
