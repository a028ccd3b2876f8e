r"""Lower bounds on what any order costs, from minimum cuts.

Once the set $S$ has been eliminated, the predecessors of $v$ are the vertices outside
of $S$ from which a path through $S$ leads to $v$. Every path from an input to $v$ has
one, the last of its vertices outside of $S$: they are a vertex cut, and so no fewer
than the minimum cut, which is the number of disjoint paths (Menger). The same holds for
the successors, and $\sum_v \mathrm{cut}(\text{inputs}, v)\, \mathrm{cut}(v,
\text{outputs})$ bounds the cost of every order.

A *block* $W$ of vertices does better. Say that $S$ of its vertices come before $v$ and
$L$ after it. Then the predecessors of $v$ are no vertices of $S$, and they separate it
from $L$ as from the inputs: the minimum cut is taken with $S$ uncuttable and with $L$
among the inputs. Of all orders of the block the cheapest, which dynamic programming
over its subsets finds, costs no more than the block does within any order of the graph.
Blocks that are disjoint add up. Blocks of one vertex are the bound above, and a block
of all vertices is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from ..state import Bits, members, State


# What is remembered at once: some hundred megabytes each.
_MOST_CUTS, _MOST_STATES = 1 << 20, 1 << 16


class Cuts:
    """The least that the elimination of a vertex costs, with some vertices gone and
    others known to come later."""

    def __init__(self, own: Bits):
        self._space = own
        inner = sum(1 << v for v in own.inner)
        self._ends = ~inner
        self.before = _closures(own.predecessors, own.start, own.inner)
        self.after = _closures(own.successors, own.start, own.inner[::-1])
        self._states: dict[int, State] = {0: own.start}
        self._memo: dict[tuple[int, int, int, bool], int] = {}

    def numbers(self, names: Iterable[int]) -> int:
        """Vertices of the graph as bits."""
        own = {self._space.names(v)[0]: 1 << v for v in self._space.inner}
        return sum(own[name] for name in names)

    def cost(self, vertex: int, gone: int, later: int) -> int:
        """`gone` and `later` are sets of vertices, as bits."""
        before, after = self.before[vertex], self.after[vertex]
        into = self._paths(vertex, gone & before, later & before, False)
        out_of = self._paths(vertex, gone & after, later & after, True)
        return self._space.unit * into * out_of

    def _paths(self, vertex: int, gone: int, later: int, forward: bool) -> int:
        key = vertex, gone, later, forward
        if key not in self._memo:
            if len(self._memo) >= _MOST_CUTS:
                self._memo.clear()
            n, state = len(self._space.start) // 2, self._state(gone)
            adjacent = state[n:] if forward else state[:n]
            self._memo[key] = disjoint_paths(adjacent, vertex, self._ends | later)
        return self._memo[key]

    def _state(self, gone: int) -> State:
        if gone not in self._states:
            if len(self._states) >= _MOST_STATES:
                self._states = {0: self._space.start}
            vertex = gone.bit_length() - 1
            rest = self._state(gone ^ (1 << vertex))
            self._states[gone] = self._space.eliminate(rest, vertex)[1]
        return self._states[gone]

    def table(self, block: Sequence[int]) -> dict[int, int]:
        """What is left to pay for a block, at least, by the set that is gone of it."""
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
    """Everything that each vertex is reached from through these, as bits; vertices come
    after their neighbours."""
    found: dict[int, int] = {}
    for vertex in vertices:
        found[vertex] = 0
        for other in neighbours(state, vertex):
            found[vertex] |= found.get(other, 0) | 1 << other
    return found


def disjoint_paths(adjacent: Sequence[int], vertex: int, ends: int) -> int:
    """How many paths, disjoint but for `vertex`, lead from it to vertices of `ends`.

    `adjacent[v]` are the vertices next to `v`, and `ends` is a set of them, as bits.

    ??? cite "Reference"

        L. R. Ford and D. R. Fulkerson, *Maximal Flow through a Network*, Canadian
        Journal of Mathematics 8, 1956.
    """
    taken: set[tuple[int, int]] = set()
    for count in range(adjacent[vertex].bit_count()):
        path = _augmenting(adjacent, vertex, ends, {v: u for u, v in taken})
        if path is None:
            return count
        for (u, leaving), (v, _) in zip(path, path[1:]):
            if u != v:
                taken ^= {(u, v) if leaving else (v, u)}
    return adjacent[vertex].bit_count()


Place: TypeAlias = tuple[int, bool]


def _augmenting(
    adjacent: Sequence[int], vertex: int, ends: int, came: dict[int, int]
) -> list[Place] | None:
    """A path of places from `vertex` to an end that allows one more path, or `None`.

    `came[v]` is where the path through `v` comes from. Each vertex has two places: one
    where it is entered, and one where it may be left. Whatever is entered that is on a
    path already sends that path another way.
    """
    start: Place = (vertex, True)
    previous: dict[Place, Place] = {start: start}
    stack: list[Place] = [start]
    while stack:
        here = stack.pop()
        v, leaving = here
        if leaving:
            places: list[Place] = [
                (w, False) for w in members(adjacent[v]) if came.get(w) != v
            ]
            places += [(v, False)] if v in came else []
        elif v in came:
            places = [(came[v], True)]
        elif ends >> v & 1:
            return _back(previous, here)
        else:
            places = [(v, True)]
        for place in places:
            if place not in previous:
                previous[place] = here
                stack.append(place)
    return None


def _back(previous: dict[Place, Place], place: Place) -> list[Place]:
    path = [place]
    while previous[place] != place:
        place = previous[place]
        path.append(place)
    return path[::-1]
