"""Safe reductions: decisions about an order that need no search.

Independent parts are safe under every cost model: the cost of a vertex depends only on
the vertices that it is connected with (and, where sums count, on those that lead from
the same input to the same output). Chains and false twins are safe where every pair of
edges costs the same, which is where `BitSpace` is used.

??? cite "Reference"

    M. Bentert, A. Crane, P. G. Drange, Y. Mizutani and B. D. Sullivan, *Structural
    Optimal Jacobian Accumulation and Minimum Edge Count are NP-Complete Under Vertex
    Elimination*, arXiv:2506.17521, 2025 (false twins).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from ..state import AbstractSpace, BitSpace, State


@dataclass(frozen=True)
class Reduced:
    """A graph after safe reductions.

    `prefix`, which costs `cost`, is eliminated first, and leaves `start`. The `parts`
    (vertices of `space`) are then independent of each other.
    """

    space: AbstractSpace
    prefix: tuple[int, ...]
    cost: int
    start: State
    parts: tuple[tuple[int, ...], ...]


def reduce(space: AbstractSpace) -> Reduced:
    """Applies the safe reductions to a space."""
    prefix, cost, start, vertices = [], 0, space.start, space.inner
    if isinstance(space, BitSpace):
        prefix, cost, start = without_chains(space)
        eliminated = set(prefix)
        rest = [v for v in vertices if v not in eliminated]
        space = space.merged(_twins(space, start, rest))
        vertices = space.inner
    parts = _parts(space, start, vertices)
    return Reduced(space, tuple(prefix), cost, start, parts)


def without_chains(space: BitSpace) -> tuple[list[int], int, State]:
    """Eliminates chains, as long as there are any: their order and cost, and the state
    after them."""
    state, prefix, cost = space.start, [], 0
    remaining = set(space.inner)
    while chains := sorted(v for v in remaining if is_chain(space, state, v)):
        for vertex in chains:
            if is_chain(space, state, vertex):
                step, state = space.eliminate(state, vertex)
                cost += step
                prefix.append(vertex)
                remaining.remove(vertex)
    return prefix, cost, state


def is_chain(space: AbstractSpace, state: State, vertex: int) -> bool:
    """True if the vertex has one predecessor $a$ and one successor $b$, and a best
    order is known to begin with it.

    Eliminated first, the vertex costs the least that it can. Take any other order. If
    $a$ or $b$ comes after the vertex there, then eliminating the vertex first gives no
    other vertex more neighbours. This is so if $a$ is an input or $b$ is an output. If
    both come before, and only the vertex leads to $b$, then $b$ takes the position of
    the vertex, at no higher cost. The same holds for $a$ if it leads to nothing else.
    (For other vertices with one predecessor and one successor there is neither a proof
    nor a counterexample.)

    In `0 -> 1 -> 2` with an input 0, the vertex 1 is a chain, whatever follows 2.
    """
    if space.unit is None or space.cost(state, vertex) != space.unit:
        return False
    [a], [b] = space.predecessors(state, vertex), space.successors(state, vertex)
    outside = space.predecessors(state, a), space.successors(state, b)
    if any(not [*vertices] for vertices in outside):
        return True
    beside = space.successors(state, a), space.predecessors(state, b)
    return any(len([*vertices]) == 1 for vertices in beside)


def _twins(
    space: BitSpace, state: State, vertices: Iterable[int]
) -> Iterable[tuple[int, ...]]:
    """Groups of vertices with equal predecessors and successors."""
    groups: dict[Hashable, tuple[int, ...]] = {}
    for v in vertices:
        key = tuple(space.predecessors(state, v)), tuple(space.successors(state, v))
        groups[key] = (*groups.get(key, ()), v)
    return groups.values()


def _parts(
    space: AbstractSpace, state: State, vertices: Iterable[int]
) -> tuple[tuple[int, ...], ...]:
    """The connected components of the vertices, the smallest first."""
    remaining, parts = set(vertices), []
    for vertex in vertices:
        if vertex in remaining:
            remaining.remove(vertex)
            parts.append(tuple(sorted(_connected(space, state, vertex, remaining))))
    if space.counts_sums:
        parts = _joined(space, state, parts)
    return tuple(sorted(parts, key=len))


def _joined(
    space: AbstractSpace, state: State, parts: list[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Joins parts that lead from the same input to the same output: the part that
    comes second is added to the edge of the first."""
    joined: list[tuple[set[int], set[int], tuple[int, ...]]] = []
    for part in parts:
        before = {u for v in part for u in space.predecessors(state, v)} - {*part}
        after = {w for v in part for w in space.successors(state, v)} - {*part}
        apart = []
        for other in joined:
            if before & other[0] and after & other[1]:
                before, after = before | other[0], after | other[1]
                part = part + other[2]
            else:
                apart.append(other)
        joined = [*apart, (before, after, part)]
    return [tuple(sorted(part)) for *_, part in joined]


def _connected(
    space: AbstractSpace, state: State, vertex: int, remaining: set[int]
) -> Iterator[int]:
    """Takes the component of `vertex` out of `remaining`."""
    stack = [vertex]
    while stack:
        vertex = stack.pop()
        yield vertex
        before, after = (
            space.predecessors(state, vertex),
            space.successors(state, vertex),
        )
        for other in (*before, *after):
            if other in remaining:
                remaining.remove(other)
                stack.append(other)
