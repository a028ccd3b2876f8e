"""A graph during elimination as the learned rule sees it: local features of vertices.

Unlike the states of `state`, neighbourhoods are changed in place: the rule never goes
back. `ins[v]` maps the predecessors of `v` to edges, and `outs[v]` its successors.
"""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from ..cost import unknown
from ..state import (
    AbstractSpace,
    BitSpace,
    members,
    NumberSpace,
    PatternSpace,
    State,
    Table,
)


_Edges: TypeAlias = list[dict[int, Any]]


class Features(NamedTuple):
    r"""What the elimination of a vertex would do, in numbers that edges store, known
    ones included.

    - `cost`: its cost under the cost model.
    - `before`, `after`: the numbers of the edges into the vertex, and out of it.
    - `fill_in`: the numbers that are stored after the elimination, but not before.
    - `absorbed`: the numbers that are there already, and are added to.
    - `change`: by how much the Markowitz degrees of its neighbours would grow: the sum
        of $p_u \Delta s_u$ over its predecessors and of $s_w \Delta p_w$ over its
        successors, where $p$ and $s$ are their `before` and `after`.
    """

    cost: int | float
    before: int | float
    after: int | float
    fill_in: int | float
    absorbed: int | float
    change: int | float


class AbstractNeighbourhoods(abc.ABC):
    """The edges that remain, and the features of the vertices that do."""

    ins: _Edges
    outs: _Edges
    sizes: list[int]  # The numbers that each vertex holds: 1 for scalars.
    _lists: tuple[str, ...]  # Other lists that an elimination changes.

    def copy(self) -> AbstractNeighbourhoods:
        """The same neighbourhoods, to be changed on their own."""
        new = copy.copy(self)
        new.ins = [edges.copy() for edges in self.ins]
        new.outs = [edges.copy() for edges in self.outs]
        for name in self._lists:
            setattr(new, name, getattr(self, name).copy())
        return new

    @abc.abstractmethod
    def features(self, vertex: int) -> Features: ...

    @abc.abstractmethod
    def degree(self, vertex: int) -> int:
        """The product of `before` and `after`: the Markowitz degree of a scalar."""

    @abc.abstractmethod
    def cost(self, vertex: int) -> int:
        """The cost of eliminating the vertex."""

    @abc.abstractmethod
    def eliminate(self, vertex: int) -> Iterable[int]:
        """Eliminates a vertex. Returns the vertices between the two ends of an edge
        that changed: their fill-in may be less now. (That of neighbours may be too.)"""


def neighbourhoods(space: AbstractSpace, start: State) -> AbstractNeighbourhoods:
    """The neighbourhoods of the vertices of a space in a state."""
    if isinstance(space, PatternSpace):
        return BlockNeighbourhoods(space, start)
    if isinstance(space, BitSpace):
        return UnknownNeighbourhoods(space, start)
    assert isinstance(space, NumberSpace)
    return NumberNeighbourhoods(start)


class _ScalarNeighbourhoods(AbstractNeighbourhoods):
    """Scalars. Neighbours are kept as bits as well, to count what they have in
    common."""

    _in_bits: list[int]
    _out_bits: list[int]

    def features(self, vertex: int) -> Features:
        ins, outs = self.ins, self.outs
        in_bits, out_bits = self._in_bits, self._out_bits
        into, out = in_bits[vertex], out_bits[vertex]
        before, after = len(ins[vertex]), len(outs[vertex])
        absorbed = change = 0
        for u in ins[vertex]:
            common = (out & out_bits[u]).bit_count()
            absorbed += common
            change += len(ins[u]) * (after - common - 1)
        for w in outs[vertex]:
            common = (into & in_bits[w]).bit_count()
            change += len(outs[w]) * (before - common - 1)
        fill_in = before * after - absorbed
        cost = self.cost(vertex)
        return Features(cost, before, after, fill_in, absorbed, change)

    def degree(self, vertex: int) -> int:
        return len(self.ins[vertex]) * len(self.outs[vertex])


class UnknownNeighbourhoods(_ScalarNeighbourhoods):
    """Scalars with unknown coefficients."""

    _lists = "_in_bits", "_out_bits"

    def __init__(self, space: BitSpace, start: State):
        count = len(start) // 2
        self._in_bits, self._out_bits = start[:count], start[count:]
        self.ins = [dict.fromkeys(members(bits)) for bits in self._in_bits]
        self.outs = [dict.fromkeys(members(bits)) for bits in self._out_bits]
        self.sizes, self._space = [1] * count, space

    def cost(self, vertex: int) -> int:
        return self._space.units[vertex] * self.degree(vertex)

    def eliminate(self, vertex: int) -> Iterable[int]:
        in_bits, out_bits = self._in_bits, self._out_bits
        into, out = in_bits[vertex], out_bits[vertex]
        clear, group = self._space.others[vertex], self._space.group(vertex)
        before, after = self.ins[vertex], self.outs[vertex]
        between = 0
        for w in after:
            in_bits[w] = (in_bits[w] | into) & clear
            for v in group:
                del self.ins[w][v]
            self.ins[w].update(before)
        for u in before:
            old = out_bits[u]
            out_bits[u] = (old | out) & clear
            for w in members(out & ~old):
                between |= out_bits[u] & in_bits[w]
            for v in group:
                del self.outs[u][v]
            self.outs[u].update(after)
        for v in group:
            self.ins[v], self.outs[v] = {}, {}
        return members(between)


class NumberNeighbourhoods(_ScalarNeighbourhoods):
    """Scalars with some known coefficients. An edge is its coefficient, NaN if that is
    unknown.

    Neighbours by unknown edges are kept as bits, too: their number is the cost. That
    known coefficients may cancel is not foreseen.
    """

    _lists = "_in_bits", "_out_bits", "_unknown_ins", "_unknown_outs"

    def __init__(self, start: State):
        count = len(start) // 2
        self.ins = [edges.copy() for edges in start[:count]]
        self.outs = [edges.copy() for edges in start[count:]]
        self.sizes = [1] * count
        self._unknown_ins, self._in_bits = _bits(self.ins)
        self._unknown_outs, self._out_bits = _bits(self.outs)

    def cost(self, vertex: int) -> int:
        into, out = self._unknown_ins[vertex], self._unknown_outs[vertex]
        return into.bit_count() * out.bit_count()

    def eliminate(self, vertex: int) -> Iterable[int]:
        before, after = self.ins[vertex], self.outs[vertex]
        into, out = self._in_bits[vertex], self._out_bits[vertex]
        unknown_into, unknown_out = (
            self._unknown_ins[vertex],
            self._unknown_outs[vertex],
        )
        clear, between = ~(1 << vertex), 0
        for w, y in after.items():
            del self.ins[w][vertex]
            self._in_bits[w] = (self._in_bits[w] | into) & clear
            # The product of an unknown and a known coefficient is unknown.
            new = into if y != y else unknown_into
            self._unknown_ins[w] = (self._unknown_ins[w] | new) & clear
        for u, x in before.items():
            del self.outs[u][vertex]
            old = self._out_bits[u]
            self._out_bits[u] = (old | out) & clear
            new = out if x != x else unknown_out
            self._unknown_outs[u] = (self._unknown_outs[u] | new) & clear
            for w in members(out & ~old):
                between |= self._out_bits[u] & self._in_bits[w]
        self._multiply(before, after)
        self.ins[vertex], self.outs[vertex] = {}, {}
        return members(between)

    def _multiply(self, before: dict[int, float], after: dict[int, float]) -> None:
        """Adds the products to the edges."""
        for w, y in after.items():
            into = self.ins[w]
            for u, x in before.items():
                into[u] = self.outs[u][w] = new = into.get(u, 0.0) + y * x
                if not new:  # Known coefficients cancel.
                    del into[u], self.outs[u][w]
                    self._out_bits[u] &= ~(1 << w)
                    self._in_bits[w] &= ~(1 << u)


def _bits(edges: _Edges) -> tuple[list[int], list[int]]:
    """The neighbours by unknown edges, and by any edge."""
    unknown = [sum(1 << v for v, x in each.items() if x != x) for each in edges]
    return unknown, [sum(1 << v for v in each) for each in edges]


class BlockNeighbourhoods(AbstractNeighbourhoods):
    """Structured blocks. An edge is the number of its pattern in the table."""

    _lists = "_before", "_after"

    def __init__(self, space: PatternSpace, start: State):
        count = len(start) // 2
        self._table, self._stored = space.table, _Stored(space.table)
        self.ins = [edges.copy() for edges in start[:count]]
        self.outs = [edges.copy() for edges in start[count:]]
        self.sizes = [self._size(v) for v in range(count)]
        self._before = [self._total(edges) for edges in self.ins]
        self._after = [self._total(edges) for edges in self.outs]

    def _size(self, vertex: int) -> int:
        patterns = self._table.patterns
        for edge in self.ins[vertex].values():
            return max(math.prod(patterns[edge].out_shape), 1)
        for edge in self.outs[vertex].values():
            return max(math.prod(patterns[edge].in_shape), 1)
        return 1

    def _total(self, edges: dict[int, int]) -> int:
        return sum(self._stored[edge] for edge in edges.values())

    def features(self, vertex: int) -> Features:
        before, after = self.ins[vertex], self.outs[vertex]
        stored, gains = self._stored, dict.fromkeys(before, 0)
        cost = absorbed = fill_in = change = 0
        for w, left in after.items():
            into, gain = self.ins[w], 0
            for u, right in before.items():
                old = into.get(u, 0)
                step, new = self._table[old, left, right]
                cost += step
                absorbed += stored[old]
                more = stored[new] - stored[old]
                gains[u] += more
                gain += more
            fill_in += gain
            change += self._after[w] * (gain - stored[left]) / self.sizes[w]
        for u, right in before.items():
            change += self._before[u] * (gains[u] - stored[right]) / self.sizes[u]
        numbers = self._before[vertex], self._after[vertex]
        return Features(cost, *numbers, fill_in, absorbed, change)

    def degree(self, vertex: int) -> int:
        return self._before[vertex] * self._after[vertex]

    def cost(self, vertex: int) -> int:
        table, cost = self._table, 0
        for w, left in self.outs[vertex].items():
            for u, right in self.ins[vertex].items():
                cost += table[self.ins[w].get(u, 0), left, right][0]
        return cost

    def eliminate(self, vertex: int) -> Iterable[int]:
        before, after = self.ins[vertex], self.outs[vertex]
        changed = []
        for u in before:
            del self.outs[u][vertex]
        for w, left in after.items():
            into = self.ins[w]
            del into[vertex]
            for u, right in before.items():
                old = into.get(u, 0)
                new = self._table[old, left, right][1]
                if new != old:
                    changed.append((u, w))
                    self._replace(u, w, new)
        self.ins[vertex], self.outs[vertex] = {}, {}
        for u in before:
            self._after[u] = self._total(self.outs[u])
        for w in after:
            self._before[w] = self._total(self.ins[w])
        return {v for u, w in changed for v in self.outs[u].keys() & self.ins[w].keys()}

    def _replace(self, u: int, w: int, edge: int) -> None:
        if edge:
            self.ins[w][u] = self.outs[u][w] = edge
        else:
            del self.ins[w][u], self.outs[u][w]


class _Stored(dict[int, int]):
    """The numbers that a pattern of a table stores. No edge stores none."""

    def __init__(self, table: Table):
        super().__init__({table.none: 0})
        self._patterns = table.patterns

    def __missing__(self, edge: int) -> int:
        pattern = self._patterns[edge]
        assert pattern is not None
        self[edge] = unknown(pattern).num_values
        return self[edge]
