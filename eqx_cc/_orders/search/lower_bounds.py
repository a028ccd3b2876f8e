r"""Lower bounds on what any order costs, from minimum cuts.

Once the set $S$ has been eliminated, the predecessors of $v$ are the vertices outside
of $S$ from which a path through $S$ leads to $v$. Every path from an input to $v$ has
one: the last of its vertices outside of $S$. So they are a vertex cut, and no fewer
than the minimum cut, which is the number of disjoint paths (Menger). The same holds for
the successors, and $\sum_v \mathrm{cut}(\text{inputs}, v)\, \mathrm{cut}(v,
\text{outputs})$ bounds the cost of every order.

A *block* $W$ of vertices gives a higher bound. Say that its vertices $S$ come before
$v$ and $L$ after it. Then the predecessors of $v$ are not in $S$, and they separate $v$
from $L$ as well as from the inputs: the minimum cut is taken with $S$ uncuttable and
with $L$ among the inputs. Dynamic programming over the subsets of $W$ finds its
cheapest order under these cuts, which costs no more than $W$ does within any order of
the graph. Disjoint blocks add up. Blocks of one vertex give the bound above, and the
block of all vertices is exact.

In the graph `0 -> 2, 1 -> 2, 2 -> 3, 3 -> 4, 3 -> 5` with inputs 0 and 1 and outputs 4
and 5, the cuts of vertex 2 are 2 and 1, and those of 3 are 1 and 2: a bound of 4. With
both in one block, 2 first costs `2 * 1`, and then 3 has two predecessors: `2 * 2`.
Either order costs 6, which is exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from ..state import BitSpace, members, State


# The sizes of the memos: some hundred megabytes each.
_MAX_CUTS, _MAX_STATES = 1 << 20, 1 << 16


class Cuts:
    """The least cost of eliminating a vertex, after some vertices and before others.

    `before` and `after` map each vertex to its ancestors and descendants, as bits.
    """

    def __init__(self, space: BitSpace):
        self._space = space
        self._ends = ~sum(1 << v for v in space.inner)
        self.before = _closures(space.predecessors, space.start, space.inner)
        self.after = _closures(space.successors, space.start, space.inner[::-1])
        self._states: dict[int, State] = {0: space.start}
        self._memo: dict[tuple[int, int, int, bool], int] = {}

    def numbers(self, names: Iterable[int]) -> int:
        """Vertices of the graph as bits."""
        return sum(1 << self._space.numbers[name] for name in names)

    def cost(self, vertex: int, gone: int, later: int) -> int:
        """The bound for a vertex after the set `gone` and before `later`, as bits."""
        before, after = self.before[vertex], self.after[vertex]
        into = self._paths(vertex, gone & before, later & before, forward=False)
        out_of = self._paths(vertex, gone & after, later & after, forward=True)
        return self._space.unit * into * out_of

    def _paths(self, vertex: int, gone: int, later: int, *, forward: bool) -> int:
        key = vertex, gone, later, forward
        if key not in self._memo:
            if len(self._memo) >= _MAX_CUTS:
                self._memo.clear()
            n, state = len(self._space.start) // 2, self._state(gone)
            adjacent = state[n:] if forward else state[:n]
            self._memo[key] = disjoint_paths(adjacent, vertex, self._ends | later)
        return self._memo[key]

    def _state(self, gone: int) -> State:
        if gone not in self._states:
            if len(self._states) >= _MAX_STATES:
                self._states = {0: self._space.start}
            vertex = gone.bit_length() - 1
            rest = self._state(gone ^ (1 << vertex))
            self._states[gone] = self._space.eliminate(rest, vertex)[1]
        return self._states[gone]

    def table(self, block: Sequence[int]) -> dict[int, int]:
        """The least remaining cost of a block, by the set of eliminated vertices."""
        whole = sum(1 << v for v in block)
        least = {whole: 0}
        for chosen in range((1 << len(block)) - 2, -1, -1):
            gone = sum(1 << v for i, v in enumerate(block) if chosen >> i & 1)
            least[gone] = min(
                self.cost(v, gone, whole ^ gone ^ (1 << v)) + least[gone | (1 << v)]
                for v in members(whole ^ gone)
            )
        return least


def _closures(neighbours, state: State, vertices: Iterable[int]) -> dict[int, int]:
    """The vertices that each vertex is reached from, as bits. Neighbours come first."""
    reached: dict[int, int] = {}
    for vertex in vertices:
        reached[vertex] = 0
        for other in neighbours(state, vertex):
            reached[vertex] |= reached.get(other, 0) | 1 << other
    return reached


def disjoint_paths(adjacent: Sequence[int], vertex: int, ends: int) -> int:
    """The number of paths from `vertex` to `ends` that share no other vertex.

    `adjacent[v]` are the neighbours of `v`, and `ends` is a set of vertices, as bits.

    ??? cite "Reference"

        L. R. Ford and D. R. Fulkerson, *Maximal Flow through a Network*, Canadian
        Journal of Mathematics 8, 1956.
    """
    taken: set[tuple[int, int]] = set()
    for count in range(adjacent[vertex].bit_count()):
        path = _augmenting(adjacent, vertex, ends, {v: u for u, v in taken})
        if path is None:
            return count
        for (u, leaving), (v, _) in itertools.pairwise(path):
            if u != v:
                taken ^= {(u, v) if leaving else (v, u)}
    return adjacent[vertex].bit_count()


_Place: TypeAlias = tuple[int, bool]


def _augmenting(
    adjacent: Sequence[int], vertex: int, ends: int, came: dict[int, int]
) -> list[_Place] | None:
    """An augmenting path of places from `vertex` to an end, or `None`.

    `came[v]` precedes `v` on the path through it. Each vertex has two places,
    joined by an edge of capacity one: `(v, False)`, where it is entered, and
    `(v, True)`, where it is left. A path that enters a vertex of another path reroutes
    that one.
    """
    start: _Place = (vertex, True)
    previous: dict[_Place, _Place] = {start: start}
    stack: list[_Place] = [start]
    while stack:
        here = stack.pop()
        v, leaving = here
        if leaving:
            places: list[_Place] = [
                (w, False) for w in members(adjacent[v]) if came.get(w) != v
            ]
            places += [(v, False)] if v in came else []
        elif v in came:
            places = [(came[v], True)]
        elif ends >> v & 1:
            path: list[_Place] = [here]
            while path[-1] != start:
                path.append(previous[path[-1]])
            return path[::-1]
        else:
            places = [(v, True)]
        for place in places:
            if place not in previous:
                previous[place] = here
                stack.append(place)
    return None
