"""The learned rule: greedy elimination by a score of local features."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from math import log1p
from typing import NamedTuple

import equinox as eqx

from .._graph.graph import ComputationalGraph
from .cost import AbstractCost, as_cost
from .neighbourhoods import AbstractNeighbourhoods, Features, neighbourhoods
from .orderings import AbstractOrdering
from .state import AbstractSpace, members, space


class RuleWeights(NamedTuple):
    r"""The weights of [`eqx_cc.LearnedRule`][]. With `cost=1` and no others it is the
    Markowitz rule.

    All features but those of fractions are $\log(1 + x)$ of a number $x$, so that they
    serve scalars and arrays of any size.

    **Attributes:**

    - `cost`: of the cost of the elimination under the cost model.
    - `before`, `after`: of the numbers of the edges into the vertex, and out of it.
    - `fill_in`: of the numbers that are stored after the elimination, but not before.
    - `absorbed`: of the numbers that are there already, and are added to.
    - `change`: of the growth of the Markowitz degrees of the neighbours, with its sign.
    - `relative_fill_in`: of the fill-in minus the numbers that go, over the latter.
    - `relative_change`: of the growth over the Markowitz degree of the vertex.
    - `size`: of the numbers that the vertex holds ($\log x$: zero for scalars).
    - `inputs`, `outputs`: of the numbers of the inputs that lead to the vertex, and of
        the outputs that it leads to.
    - `depth`, `height`: of the edges of the longest path to it and from it, over those
        of the longest path of all.

    !!! Example

        ```python
        weights = eqx_cc.RuleWeights(cost=1.0, fill_in=0.5)
        eqx_cc.LearnedRule(weights)(graph)
        ```
    """

    cost: float = 1.0
    before: float = 0.0
    after: float = 0.0
    fill_in: float = 0.0
    absorbed: float = 0.0
    change: float = 0.0
    relative_fill_in: float = 0.0
    relative_change: float = 0.0
    size: float = 0.0
    inputs: float = 0.0
    outputs: float = 0.0
    depth: float = 0.0
    height: float = 0.0


# From 144 iterations of the evolution strategy in `policy/_training/evolution.py`
# (batches of 40, random graphs of up to 400 vertices). It began with weights from about
# 130 iterations of an earlier form of it, on smaller graphs, which began with the
# Markowitz rule: the command alone gives other weights.
RULE_WEIGHTS = RuleWeights(
    cost=1.928,
    before=-0.251,
    after=-0.756,
    fill_in=0.011,
    absorbed=1.758,
    change=1.776,
    relative_fill_in=2.763,
    relative_change=0.073,
    size=2.684,
    inputs=-4.678,
    outputs=-4.547,
    depth=0.195,
    height=0.397,
)


class LearnedRule(AbstractOrdering):
    r"""Greedy: eliminates next the vertex with the least score, which is learned.

    The score is a weighted sum $w \cdot f_v$ of [local features][eqx_cc.RuleWeights] of
    the vertex: its cost, the edges that its elimination makes, how much dearer its
    neighbours become, where it is in the graph. The weights were found by an evolution
    strategy, on traced programs and random graphs. Ties go to the last vertex.

    After an elimination, the neighbours that have become cheaper are scored anew, and
    so are the vertices between the ends of a new edge. Neighbours that have become
    dearer are scored when it is their turn. So the rule takes about three times as long
    as the Markowitz rule.

    **Arguments:**

    - `weights`: [`eqx_cc.RuleWeights`][]; by default those that come with the package.
    - `cost`: the cost model, or its name.

    !!! Example

        ```python
        eqx_cc.filter_jacobian(fun, order=eqx_cc.LearnedRule())(x)
        ```

    ??? cite "References"

        A. Griewank and S. Reese, *On the calculation of Jacobian matrices by the
        Markowitz rule*, in Automatic Differentiation of Algorithms, SIAM, 1991.

        A. Albrecht, P. Gottschling and U. Naumann, *Markowitz-type heuristics for
        computing Jacobian matrices efficiently*, in Computational Science - ICCS 2003,
        Springer, 2003.
    """

    weights: RuleWeights = eqx.field(default=RULE_WEIGHTS, static=True)
    cost: AbstractCost = eqx.field(converter=as_cost, default="multiplications")

    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        return _learned_order(graph, self.weights, self.cost)


@lru_cache(maxsize=1024)
def _learned_order(
    graph: ComputationalGraph, weights: RuleWeights, cost: AbstractCost
) -> tuple[int, ...]:
    states = space(graph, cost)
    return tuple(states.names(v)[0] for v in rule_order(states, weights))


def rule_order(space: AbstractSpace, weights: RuleWeights) -> tuple[int, ...]:
    """The order of the rule, by the vertices of the space."""
    return rule_order_and_cost(space, weights)[0]


def rule_order_and_cost(
    space: AbstractSpace, weights: RuleWeights
) -> tuple[tuple[int, ...], int]:
    """The order of the rule, by the vertices of the space, and its cost."""
    state = neighbourhoods(space)
    queue, order, cost = _Queue(state, space.inner, weights), [], 0
    for vertex in queue:
        neighbours = *state.ins[vertex], *state.outs[vertex]
        cost += state.cost(vertex)
        between = state.eliminate(vertex)
        order.append(vertex)
        queue.update(neighbours, between)
    return tuple(order), cost


class _Queue:
    """The vertices that remain, by their scores. Ties go to the last vertex.

    An elimination that makes a neighbour dearer rarely lowers its score: the new one is
    computed when the old one is the least. All others that an elimination touches are
    scored at once.
    """

    def __init__(
        self,
        state: AbstractNeighbourhoods,
        vertices: Iterable[int],
        weights: RuleWeights,
    ):
        self._state, self._weights = state, weights
        self._fixed = fixed_scores(state, weights)
        self._degrees: dict[int, int] = {}  # When the vertex was scored.
        self._late: set[int] = set()  # Vertices whose score is an old one.
        self._keys = {v: self._key(v) for v in vertices}
        self._heap = sorted(self._keys.values())

    def _key(self, vertex: int) -> tuple[float, int]:
        state = self._state
        self._degrees[vertex] = state.degree(vertex)
        local = local_score(self._weights, state.features(vertex), state.sizes[vertex])
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
        key = self._key(vertex)
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


def fixed_scores(state: AbstractNeighbourhoods, w: RuleWeights) -> list[float]:
    """The part of the score that stays, for each vertex."""
    sizes, vertices = state.sizes, range(len(state.sizes))
    inputs, depths = _reach(vertices, state.ins, sizes)
    outputs, heights = _reach(vertices[::-1], state.outs, sizes)
    longest = max(depths, default=0) or 1
    return [
        w.inputs * log1p(inputs[v])
        + w.outputs * log1p(outputs[v])
        + w.depth * depths[v] / longest
        + w.height * heights[v] / longest
        + w.size * math.log(sizes[v])
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
