"""States of a graph during elimination, for searches that eliminate it many times.

A space numbers the vertices of a graph from zero; `start` is the state before any
elimination. States are persistent: eliminating a vertex returns a new state and leaves
the old one unchanged, so that a search may keep one for each position of an order.
"""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Hashable, Iterable
from typing import Any

from .._graph.graph import ComputationalGraph, SCALAR
from .._sparsity.pattern import Pattern, update
from .budget import Budget, ENTRIES_PER_PAIR
from .cost import AbstractCost, Multiplications


State = Any


class AbstractSpace(abc.ABC):
    """A graph under a cost model, as searches see it.

    `numbers` maps the vertices of the graph, if they are on a path, to those of the
    space.
    """

    inner: tuple[int, ...]  # The vertices to eliminate, by their numbers here.
    unit: int | None  # The cost of a pair of edges, if it is the same for all.
    counts_sums: bool  # True if the cost of a pair depends on the edge it is added to.
    start: State

    def __init__(self, graph: ComputationalGraph):
        ends = {*graph.independents, *graph.dependents}
        self._names = tuple(sorted({*ends, *graph.intermediates}))
        self._n = len(self._names)
        self.numbers = {name: i for i, name in enumerate(self._names)}
        self.inner = tuple(self.numbers[name] for name in graph.intermediates)

    def group(self, vertex: int) -> tuple[int, ...]:
        """The vertices that are eliminated together with this one, and itself."""
        return (vertex,)

    def names(self, vertex: int) -> tuple[int, ...]:
        """The vertices of the graph that a vertex of the space stands for."""
        return tuple(self._names[v] for v in self.group(vertex))

    def named(self, order: Iterable[int]) -> tuple[int, ...]:
        """The vertices of the graph, of an order of those of the space."""
        return tuple(name for vertex in order for name in self.names(vertex))

    @abc.abstractmethod
    def cost(self, state: State, vertex: int) -> int:
        """The cost of eliminating the vertex."""

    @abc.abstractmethod
    def eliminate(self, state: State, vertex: int) -> tuple[int, State]:
        """The cost of eliminating the vertex, and the state after it."""

    @abc.abstractmethod
    def predecessors(self, state: State, vertex: int) -> Iterable[int]: ...

    @abc.abstractmethod
    def successors(self, state: State, vertex: int) -> Iterable[int]: ...

    @abc.abstractmethod
    def key(self, state: State) -> Hashable:
        """A key that is equal for states with equal remaining costs."""


def space(graph: ComputationalGraph, cost: AbstractCost) -> AbstractSpace:
    """The space of a graph.

    `BitSpace` if every pair of edges costs the same, `NumberSpace` for scalars with
    some known coefficients, otherwise `PatternSpace`.
    """
    graph = cost.view(graph)
    patterns = set(graph.edges.values())
    if patterns <= {SCALAR}:
        unit = cost(None, SCALAR, SCALAR)
        if cost(SCALAR, SCALAR, SCALAR) == unit:
            return BitSpace(graph, unit)
    if type(cost) is Multiplications and all(map(_is_number, patterns)):
        return NumberSpace(graph)
    return PatternSpace(graph, cost)


def total(space: AbstractSpace, state: State, order: Iterable[int]) -> int:
    """The cost of eliminating vertices in an order."""
    cost = 0
    for vertex in order:
        step, state = space.eliminate(state, vertex)
        cost += step
    return cost


class BitSpace(AbstractSpace):
    """Scalars with unknown coefficients: adjacency as bits of Python integers.

    `state[v]` are the predecessors of `v` and `state[n + v]` its successors. In
    `0 -> 1 -> 2` with `n = 3`, `state` is `[0, 0b001, 0b010, 0b010, 0b100, 0]`. Every
    pair of edges costs `unit`, so that only the structure matters.
    """

    def __init__(self, graph: ComputationalGraph, unit: int):
        super().__init__(graph)
        self.unit: int = unit
        self.counts_sums = False
        self._groups = {v: (v,) for v in range(self._n)}
        self.units = [unit] * self._n
        self.others = [~(1 << v) for v in range(self._n)]
        self.start = [0] * (2 * self._n)
        for source, target in graph.edges:
            u, v = self.numbers[source], self.numbers[target]
            self.start[v] |= 1 << u
            self.start[self._n + u] |= 1 << v

    def merged(self, groups: Iterable[tuple[int, ...]]) -> BitSpace:
        """The space in which each group of false twins is one vertex.

        Twins have equal predecessors and successors, and keep them equal. They are
        eliminated one after the other, each at the same cost.
        """
        space = copy.copy(self)
        firsts = {group[0]: group for group in groups}
        space._groups = self._groups | firsts
        space.units, space.others = self.units[:], self.others[:]
        for first, group in firsts.items():
            space.units[first] = self.unit * len(group)
            space.others[first] = ~sum(1 << v for v in group)
        space.inner = tuple(firsts)
        return space

    def group(self, vertex: int) -> tuple[int, ...]:
        return self._groups[vertex]

    def cost(self, state: list[int], vertex: int) -> int:
        pairs = state[vertex].bit_count() * state[self._n + vertex].bit_count()
        return self.units[vertex] * pairs

    def eliminate(self, state: list[int], vertex: int) -> tuple[int, list[int]]:
        # The innermost loop of every search: `members` is written out.
        n, others = self._n, self.others[vertex]
        before, after = state[vertex], state[n + vertex]
        state = state[:]
        state[vertex] = state[n + vertex] = 0
        rest = before
        while rest:
            u = n + rest.bit_length() - 1
            rest ^= 1 << (u - n)
            state[u] = (state[u] | after) & others
        rest = after
        while rest:
            w = rest.bit_length() - 1
            rest ^= 1 << w
            state[w] = (state[w] | before) & others
        pairs = before.bit_count() * after.bit_count()
        return self.units[vertex] * pairs, state

    def predecessors(self, state: list[int], vertex: int) -> Iterable[int]:
        return members(state[vertex])

    def successors(self, state: list[int], vertex: int) -> Iterable[int]:
        return members(state[self._n + vertex])

    def key(self, state: list[int]) -> Hashable:
        return tuple(state)


def members(bits: int) -> Iterable[int]:
    """The vertices of a set, the last first."""
    while bits:
        vertex = bits.bit_length() - 1
        bits ^= 1 << vertex
        yield vertex


def _is_number(pattern: Pattern) -> bool:
    """True for the pattern of one real number, known or not."""
    if pattern.out_shape or pattern.in_shape or len(pattern.terms) != 1:
        return False
    [term] = pattern.terms
    return (
        term.kind == "value" and not term.conj and isinstance(term.scale, int | float)
    )


class _Maps(AbstractSpace):
    """States as maps: `state[v]` from the predecessors of `v` to edges, and
    `state[n + v]` from its successors.

    `table[old, left, right]` is the cost of `old + left @ right`, and the new edge.
    `table.none` means no edge, and is the only edge that is false.
    """

    def __init__(self, graph: ComputationalGraph, table: Any):
        super().__init__(graph)
        self.unit, self.table, self._none = None, table, table.none
        self.start = [{} for _ in range(2 * self._n)]
        for (source, target), block in graph.edges.items():
            u, v = self.numbers[source], self.numbers[target]
            self.start[v][u] = self.start[self._n + u][v] = table.number(block)

    def eliminate(
        self, state: list[dict[int, Any]], vertex: int
    ) -> tuple[int, list[dict[int, Any]]]:
        n, table, cost = self._n, self.table, 0
        before, after = state[vertex], state[n + vertex]
        state = state[:]
        state[vertex] = state[n + vertex] = {}
        for u in before:
            state[n + u] = state[n + u].copy()
            del state[n + u][vertex]
        for w, left in after.items():
            state[w] = into = state[w].copy()
            del into[vertex]
            for u, right in before.items():
                step, new = table[into.get(u, self._none), left, right]
                cost += step
                if new:
                    into[u] = state[n + u][w] = new
                elif u in into:
                    del into[u], state[n + u][w]
        return cost, state

    def predecessors(self, state: list[dict[int, Any]], vertex: int) -> Iterable[int]:
        return state[vertex]

    def successors(self, state: list[dict[int, Any]], vertex: int) -> Iterable[int]:
        return state[self._n + vertex]


class _Arithmetic:
    """Products and sums of scalars, with NaN for unknown ones."""

    none = 0.0

    def number(self, pattern: Pattern) -> float:
        [term] = pattern.terms
        value: Any = term.scale if term.value is None else math.nan
        return float(value)

    def __getitem__(self, key: tuple[Any, Any, Any]) -> tuple[int, Any]:
        old, left, right = key
        return left != left and right != right, old + left * right


class NumberSpace(_Maps):
    """Scalars with some known coefficients, under `Multiplications`: a pair of edges
    costs one if neither is known.

    NaN stands for an unknown coefficient: sums and products with it are NaN.
    """

    def __init__(self, graph: ComputationalGraph):
        super().__init__(graph, _Arithmetic())
        self.counts_sums = False

    def cost(self, state: list[dict[int, float]], vertex: int) -> int:
        return _num_unknown(state[vertex]) * _num_unknown(state[self._n + vertex])

    def key(self, state: list[dict[int, float]]) -> Hashable:
        # NaN is different from itself.
        return tuple(
            frozenset((u, None if x != x else x) for u, x in into.items())
            for into in state[: self._n]
        )


def _num_unknown(edges: dict[int, float]) -> int:
    return sum(x != x for x in edges.values())


class Table(dict):
    """The map `(old, left, right) -> (cost, new)` of patterns by their numbers, where 0
    means no edge. Entries are computed on demand."""

    none = 0

    def __init__(self, cost: AbstractCost):
        super().__init__()
        self._cost, self._budget = cost, Budget()
        self.patterns: list[Pattern | None] = [None]
        self._numbers: dict[Pattern, int] = {}

    def number(self, pattern: Pattern) -> int:
        if pattern not in self._numbers:
            self._numbers[pattern] = len(self.patterns)
            self.patterns.append(pattern)
        return self._numbers[pattern]

    def __missing__(self, key: tuple[int, int, int]) -> tuple[int, int]:
        old, left, right = (self.patterns[i] for i in key)
        assert left is not None and right is not None
        products = len(left.terms) * len(right.terms)
        self._budget.spend((products + (len(old.terms) if old else 0)) ** 2)
        new = update(old, left, right)
        self._budget.spend(new.pattern.num_listed // ENTRIES_PER_PAIR)
        if not new.composition.products:
            self[key] = 0, key[0]
        else:
            number = 0 if new.pattern.is_zero else self.number(new.pattern)
            self[key] = self._cost(old, left, right), number
        return self[key]


class PatternSpace(_Maps):
    """Any patterns under any cost model: patterns are numbered, and their products and
    sums looked up in a table."""

    def __init__(self, graph: ComputationalGraph, cost: AbstractCost):
        super().__init__(graph, Table(cost))
        self.counts_sums = cost.counts_sums

    def cost(self, state: list[dict[int, int]], vertex: int) -> int:
        table, before, cost = self.table, state[vertex], 0
        for w, left in state[self._n + vertex].items():
            old = state[w]
            for u, right in before.items():
                cost += table[old.get(u, 0), left, right][0]
        return cost

    def key(self, state: list[dict[int, int]]) -> Hashable:
        return tuple(frozenset(into.items()) for into in state[: self._n])
