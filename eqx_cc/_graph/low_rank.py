"""Low-rank structure: plans in which some vertices are not eliminated.

The paths through a vertex that is narrower than input and output are a product of two
factors. Eliminating the vertex multiplies them, and may store more numbers than the two
have: a column of 100 times a row of 100 is a full matrix of 10,000.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from .._sparsity.pattern import Pattern, update
from .elimination import Elimination, Plan, plan, Step
from .graph import ComputationalGraph


# A product that touches more than this many times the entries of its factors stays
# factored.
MIN_SAVING = 2

VertexPair = tuple[int, int]


class FactorPair(NamedTuple):
    """The paths from an input to an output through one vertex: `left @ right`."""

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
    factors: Mapping[VertexPair, tuple[FactorPair, ...]]


@lru_cache(maxsize=1024)
def factored_plan(graph: ComputationalGraph, order: tuple[int, ...]) -> FactoredPlan:
    """The plan of eliminating the intermediates of `graph` in `order`, except for those
    through which products are better kept as their factors."""
    complete = plan(graph, order)
    state = Elimination(graph)
    narrow, steps = _eliminate_wide(state, order)
    steps += _total_derivatives(state, narrow)
    factors: dict[VertexPair, tuple[FactorPair, ...]] = {}
    for u, w in [(u, w) for w in graph.dependents for u in graph.independents]:
        pairs = _factor_pairs(state, u, w, narrow)
        if not pairs:
            continue
        if _saves(state.ins[w].get(u), pairs):
            factors[u, w] = pairs
        else:
            steps += [state.absorb(pair.vertex, [u], [w]) for pair in pairs]
    blocks = _blocks(graph, state, factors)
    factored = Plan(order, tuple(steps), blocks)
    if not factors or factored.num_multiplications > complete.num_multiplications:
        return FactoredPlan(complete, {})
    return FactoredPlan(factored, factors)


@lru_cache(maxsize=1024)
def unfinished_plan(
    graph: ComputationalGraph, order: tuple[int, ...], edges: tuple[VertexPair, ...]
) -> FactoredPlan:
    """The plan of eliminating the intermediates of `graph` in `order`, but for those
    that lead from inputs to outputs alone by then. These are left to the factors of the
    blocks at `edges`, of which a trace needs less than their products.

    In the chain `0 -> 1 -> 2 -> 3`, eliminating 1 leaves 2, between 0 and 3.
    """
    state, last, steps = Elimination(graph), [], []
    ends = {*graph.independents, *graph.dependents}
    for vertex in order:
        ins, outs = state.ins[vertex], state.outs[vertex]
        is_real = not any(right.complex_out for right in ins.values())
        if is_real and ends.issuperset(ins) and ends.issuperset(outs):
            last.append(vertex)
        else:
            steps.append(state.eliminate(vertex))
    factors = {edge: _factor_pairs(state, *edge, last) for edge in edges}
    blocks = _blocks(graph, state, factors)
    return FactoredPlan(Plan(order, tuple(steps), blocks), factors)


def _blocks(graph, state: Elimination, factors) -> dict[VertexPair, Pattern]:
    """The direct blocks of the result, and those of the factors."""
    ends = {(u, pair.vertex) for (u, _), pairs in factors.items() for pair in pairs}
    ends |= {(pair.vertex, w) for (_, w), pairs in factors.items() for pair in pairs}
    inputs = set(graph.independents)
    direct = [(u, w) for w in graph.dependents for u in state.ins[w] if u in inputs]
    return {(u, w): state.ins[w][u] for u, w in direct + sorted(ends)}


def _eliminate_wide(
    state: Elimination, order: tuple[int, ...]
) -> tuple[list[int], list[Step]]:
    """Eliminates, in that order, every vertex but those whose elimination would store
    more; again and again, as a vertex may be narrower than its neighbours are now.

    Returns the vertices that are left, ascending, and the steps.
    """
    remaining, steps = list(order), []
    while True:
        narrow = []
        for vertex in remaining:
            if _is_narrow(state, vertex):
                narrow.append(vertex)
            else:
                steps.append(state.eliminate(vertex))
        if len(narrow) == len(remaining):
            return sorted(narrow), steps
        remaining = narrow


def _is_narrow(state: Elimination, vertex: int) -> bool:
    """True if the paths through a vertex have more entries than its edges.

    A scalar between vectors of 100 has edges of 100 entries each, and paths of 10,000.
    """
    ins, outs = state.ins[vertex], state.outs[vertex]
    if not ins or not outs or any(right.complex_out for right in ins.values()):
        return False  # A factor that acts on conjugates is no matrix.
    size = math.prod(next(iter(ins.values())).out_shape)
    width = max(math.prod(right.in_shape) for right in ins.values())
    height = max(math.prod(left.out_shape) for left in outs.values())
    if size >= min(width, height):
        return False
    edges = sum(pattern.num_nonzeros for pattern in (*ins.values(), *outs.values()))
    paths = sum(
        _num_new_nonzeros(state.ins[w].get(u), [(left, right)])
        for w, left in outs.items()
        for u, right in ins.items()
    )
    return paths >= edges


def _num_new_nonzeros(
    direct: Pattern | None, factors: Sequence[tuple[Pattern, Pattern]]
) -> int:
    """Number of entries that adding the products of factors to a block adds to it."""
    total = direct
    for left, right in factors:
        total = update(total, left, right).pattern
    before, after = (0 if p is None else p.num_nonzeros for p in (direct, total))
    return after - before


def _total_derivatives(state: Elimination, narrow: list[int]) -> list[Step]:
    """Lets every narrow vertex be reached from inputs alone, by eliminating the edges
    between two of them from the front."""
    steps = []
    for w in narrow:
        for v in [v for v in state.ins[w] if v in narrow]:
            steps.append(state.absorb(v, list(state.ins[v]), [w]))
            state.drop(v, w)
    return steps


def _factor_pairs(
    state: Elimination, u: int, w: int, narrow: list[int]
) -> tuple[FactorPair, ...]:
    """The factors of the paths from `u` to `w` through narrow vertices."""
    return tuple(
        FactorPair(v, state.ins[w][v], state.ins[v][u])
        for v in narrow
        if v in state.ins[w] and u in state.ins[v]
    )


def _saves(direct: Pattern | None, pairs: tuple[FactorPair, ...]) -> bool:
    """True if factors have far fewer entries than the sum of their products."""
    paths = _num_new_nonzeros(direct, [(pair.left, pair.right) for pair in pairs])
    return paths > MIN_SAVING * sum(pair.num_nonzeros for pair in pairs)
