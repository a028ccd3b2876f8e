"""A game of the learned rule: the vertex of the least score is eliminated next."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from math import log1p
from typing import NamedTuple

from ..state import AbstractSpace, members, State
from .neighbourhoods import AbstractNeighbourhoods, Features, neighbourhoods
from .weights import RuleWeights


class Place(NamedTuple):
    """Where a vertex is in the graph, as scores see it; no elimination changes it."""

    size: float
    inputs: float
    outputs: float
    depth: float
    height: float


class Opening:
    """What all games of a graph begin with."""

    def __init__(self, space: AbstractSpace, start: State, vertices: Sequence[int]):
        self._state = neighbourhoods(space, start)
        self._features = {v: self._state.features(v) for v in vertices}
        self._places = places(self._state)

    def play(self, weights: RuleWeights) -> tuple[tuple[int, ...], int]:
        """The order that the rule finds with these weights, and its cost."""
        state = self._state.copy()
        fixed = [place_score(weights, place) for place in self._places]
        queue, order, cost = _Queue(state, weights, fixed, self._features), [], 0
        for vertex in queue:
            neighbours = *state.ins[vertex], *state.outs[vertex]
            cost += state.cost(vertex)
            between = state.eliminate(vertex)
            order.append(vertex)
            queue.update(neighbours, between)
        return tuple(order), cost


class _Queue:
    """The vertices that remain, by their scores. Ties go to the last vertex.

    An elimination that makes a neighbour more expensive rarely lowers its score: the
    new one is computed when the old one is the least. All others that an elimination
    touches are scored at once.
    """

    def __init__(
        self,
        state: AbstractNeighbourhoods,
        weights: RuleWeights,
        fixed: Sequence[float],
        features: dict[int, Features],
    ):
        self._state, self._weights, self._fixed = state, weights, fixed
        self._degrees: dict[int, int] = {}  # When the vertex was scored.
        self._late: set[int] = set()  # Vertices whose score is an old one.
        self._keys = {v: self._key(v, known) for v, known in features.items()}
        self._heap = sorted(self._keys.values())

    def _key(self, vertex: int, features: Features) -> tuple[float, int]:
        self._degrees[vertex] = self._state.degree(vertex)
        local = local_score(self._weights, features, self._state.sizes[vertex])
        return local + self._fixed[vertex], -vertex

    def __iter__(self) -> Iterator[int]:
        """Takes the vertices out, the least score first."""
        while self._heap:
            key = heapq.heappop(self._heap)
            vertex = -key[1]
            if self._keys.get(vertex) != key:  # An old entry.
                continue
            if vertex in self._late and self._scored(vertex) > key:
                continue
            del self._keys[vertex]
            yield vertex

    def update(self, neighbours: Iterable[int], between: Iterable[int]) -> None:
        """Scores what an elimination touched, now or later."""
        now = {v for v in between if v in self._keys}
        for v in neighbours:
            if v in self._keys and v not in now:
                if self._state.degree(v) > self._degrees[v]:
                    self._late.add(v)
                else:
                    now.add(v)
        for v in now:
            self._scored(v)

    def _scored(self, vertex: int) -> tuple[float, int]:
        """The new key of a vertex. Puts it into the heap if it is another one."""
        self._late.discard(vertex)
        key = self._key(vertex, self._state.features(vertex))
        if key != self._keys[vertex]:
            self._keys[vertex] = key
            heapq.heappush(self._heap, key)
        return key


def local_score(w: RuleWeights, features: Features, size: int) -> float:
    """The part of the score that changes with eliminations."""
    cost, before, after, fill_in, absorbed, change = features
    return (
        w.cost * log1p(cost)
        + w.before * log1p(before)
        + w.after * log1p(after)
        + w.fill_in * log1p(max(fill_in, 0))
        + w.absorbed * log1p(absorbed)
        + w.change * math.copysign(log1p(abs(change)), change)
        + w.relative_fill_in * (fill_in - before - after) / (1 + before + after)
        + w.relative_change * change / (1 + before * after / size)
    )


def place_score(w: RuleWeights, place: Place) -> float:
    """The part of the score that stays."""
    return (
        w.size * place.size
        + w.inputs * place.inputs
        + w.outputs * place.outputs
        + w.depth * place.depth
        + w.height * place.height
    )


def places(state: AbstractNeighbourhoods) -> list[Place]:
    """The place of each vertex."""
    sizes, vertices = state.sizes, range(len(state.sizes))
    inputs, depths = _reach(vertices, state.ins, sizes)
    outputs, heights = _reach(vertices[::-1], state.outs, sizes)
    longest = max(depths, default=0) or 1
    return [
        Place(
            math.log(sizes[v]),
            log1p(inputs[v]),
            log1p(outputs[v]),
            depths[v] / longest,
            heights[v] / longest,
        )
        for v in vertices
    ]


def _reach(
    vertices: Iterable[int], edges: Sequence[Iterable[int]], sizes: Sequence[int]
) -> tuple[list[int], list[int]]:
    """For each vertex, the numbers at the ends of all paths along `edges`, and the
    length of the longest. Vertices come after those that their edges lead to."""
    ends, depths, totals = [0] * len(sizes), [0] * len(sizes), {}
    for v in vertices:
        bits, depth = 0, 0
        for u in edges[v]:
            bits |= ends[u]
            depth = max(depth, depths[u] + 1)
        ends[v], depths[v] = bits or 1 << v, depth
    for bits in set(ends):
        totals[bits] = sum(sizes[v] for v in members(bits))
    return [totals[bits] for bits in ends], depths
