"""Safe reductions: what can be decided about an order before any search.

Independent parts are safe under every cost model, as what a vertex costs depends on the
vertices that it is connected with alone (and, where sums count, on those that lead from
the same input to the same output). Chains and false twins are safe where every
pair of edges costs the same, which is where `Bits` is used.

??? cite "Reference"

    M. Bentert, A. Crane, P. G. Drange, Y. Mizutani and B. D. Sullivan, *Structural
    Optimal Jacobian Accumulation and Minimum Edge Count are NP-Complete Under Vertex
    Elimination*, arXiv:2506.17521, 2025 (false twins).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from ..state import AbstractSpace, Bits, State


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

    def names(self, order: Iterable[int]) -> tuple[int, ...]:
        """The vertices of the graph that vertices of the space stand for."""
        return tuple(name for vertex in order for name in self.space.names(vertex))


def reduce(own: AbstractSpace) -> Reduced:
    """The safe reductions of a space."""
    if not isinstance(own, Bits):
        return Reduced(own, (), 0, own.start, _parts(own, own.start, own.inner))
    prefix, cost, start = without_chains(own)
    left = tuple(v for v in own.inner if v not in set(prefix))
    groups = _twins(own, start, left)
    left = tuple(v for v in left if v in groups)
    groups = {v: group for v, group in groups.items() if len(group) > 1}
    space = Twins(own, groups) if groups else own
    return Reduced(space, tuple(prefix), cost, start, _parts(space, start, left))


def without_chains(own: Bits) -> tuple[list[int], int, State]:
    """Eliminates vertices between two others, as long as there are any for which it is
    known to be safe."""
    state, prefix, cost = own.start, [], 0
    left = set(own.inner)
    while chains := sorted(v for v in left if is_chain(own, state, v)):
        for vertex in chains:
            if is_chain(own, state, vertex):
                step, state = own.eliminate(state, vertex)
                cost += step
                prefix.append(vertex)
                left.remove(vertex)
    return prefix, cost, state


def is_chain(own: AbstractSpace, state: State, vertex: int) -> bool:
    """Whether the vertex has one predecessor $a$ and one successor $b$, and there is a
    best order which begins with it.

    Eliminated first it costs the least it can. If $a$ or $b$ would have come after it,
    then no other vertex has more neighbours than it would have had. So it is if $a$ is
    an input or $b$ is an output. If both would have come before, and the vertex is all
    that leads to $b$, then $b$ can do what the vertex did: it is eliminated when the
    vertex was, at no higher cost. The same goes for $a$ if it leads to nothing else.
    (No counterexample is known to other vertices of one predecessor and one successor,
    but no proof either.)
    """
    if own.unit is None or own.cost(state, vertex) != own.unit:
        return False
    [a], [b] = own.predecessors(state, vertex), own.successors(state, vertex)
    around = own.predecessors(state, a), own.successors(state, b)
    beside = own.successors(state, a), own.predecessors(state, b)
    return any(_few(vertices, 0) for vertices in around) or any(
        _few(vertices, 1) for vertices in beside
    )


def _few(vertices: Iterable[int], most: int) -> bool:
    return len(list(vertices)) <= most


def _twins(
    own: Bits, state: State, vertices: Iterable[int]
) -> dict[int, tuple[int, ...]]:
    """Vertices of the same predecessors and successors, by the first of them."""
    groups: dict[Hashable, list[int]] = {}
    for v in vertices:
        key = tuple(own.predecessors(state, v)), tuple(own.successors(state, v))
        groups.setdefault(key, []).append(v)
    return {group[0]: tuple(group) for group in groups.values()}


class Twins(AbstractSpace):
    """A space in which false twins are eliminated one after the other, as one."""

    def __init__(self, own: Bits, groups: dict[int, tuple[int, ...]]):
        self._own, self._groups = own, groups
        merged = {v for group in groups.values() for v in group[1:]}
        self.unit, self.start = own.unit, own.start
        self.counts_sums = own.counts_sums
        self.inner = tuple(v for v in own.inner if v not in merged)

    def group(self, vertex: int) -> tuple[int, ...]:
        return self._groups.get(vertex, (vertex,))

    def names(self, vertex: int) -> tuple[int, ...]:
        return tuple(name for v in self.group(vertex) for name in self._own.names(v))

    def cost(self, state: State, vertex: int) -> int:
        return self._own.cost(state, vertex) * len(self.group(vertex))

    def eliminate(self, state: State, vertex: int) -> tuple[int, State]:
        cost = 0
        for twin in self.group(vertex):
            step, state = self._own.eliminate(state, twin)
            cost += step
        return cost, state

    def predecessors(self, state: State, vertex: int) -> Iterable[int]:
        return self._own.predecessors(state, vertex)

    def successors(self, state: State, vertex: int) -> Iterable[int]:
        return self._own.successors(state, vertex)

    def key(self, state: State) -> Hashable:
        return self._own.key(state)


def _parts(
    own: AbstractSpace, state: State, vertices: Iterable[int]
) -> tuple[tuple[int, ...], ...]:
    """The vertices that are connected with each other, the smallest parts first."""
    left, parts = set(vertices), []
    for vertex in vertices:
        if vertex in left:
            left.remove(vertex)
            parts.append(tuple(sorted(_connected(own, state, vertex, left))))
    if own.counts_sums:
        parts = _joined(own, state, parts)
    return tuple(sorted(parts, key=len))


def _joined(
    own: AbstractSpace, state: State, parts: list[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Joins parts that lead from the same input to the same output, where what one adds
    depends on whether the other was there before."""
    joined: list[tuple[set[int], set[int], tuple[int, ...]]] = []
    for part in parts:
        before = {u for v in part for u in own.predecessors(state, v)} - {*part}
        after = {w for v in part for w in own.successors(state, v)} - {*part}
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
    own: AbstractSpace, state: State, vertex: int, left: set[int]
) -> Iterator[int]:
    """`vertex` and what is connected with it through `left`, which it is taken from."""
    stack = [vertex]
    while stack:
        vertex = stack.pop()
        yield vertex
        before, after = own.predecessors(state, vertex), own.successors(state, vertex)
        for other in (*before, *after):
            if other in left:
                left.remove(other)
                stack.append(other)
