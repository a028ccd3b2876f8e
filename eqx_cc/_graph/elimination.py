"""Symbolic vertex elimination: from a graph and an order to a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from .._sparsity.pattern import Pattern, Update, update
from .graph import ComputationalGraph


@dataclass(frozen=True)
class Step:
    """The elimination of one vertex: an update `(predecessor, successor, update)` for
    each pair, or for some of them if the step `keeps` the vertex."""

    vertex: int
    updates: tuple[tuple[int, int, Update], ...]
    fill_in: int
    keeps: bool = False

    @property
    def num_multiplications(self) -> int:
        """Multiplications that this elimination takes."""
        return sum(update.num_multiplications for _, _, update in self.updates)


@dataclass(frozen=True, eq=False)
class Plan:
    """The steps that accumulate a Jacobian, with their costs.

    `blocks` holds the pattern of each non-zero block `(input, output)` of the result.
    """

    order: tuple[int, ...]
    steps: tuple[Step, ...]
    blocks: Mapping[tuple[int, int], Pattern]

    def __repr__(self) -> str:
        steps, products = len(self.steps), self.num_multiplications
        return f"Plan({steps} eliminations, {products} multiplications)"

    def _total(self, quantity: str) -> int:
        return sum(getattr(u, quantity) for s in self.steps for _, _, u in s.updates)

    @property
    def num_multiplications(self) -> int:
        """Multiplications of two numbers that the accumulation takes; coefficients
        known to be constant are free (see `num_scalings`)."""
        return self._total("num_multiplications")

    @property
    def num_scalings(self) -> int:
        """Multiplications by known constants other than 1 and -1."""
        return self._total("num_scalings")

    @property
    def num_additions(self) -> int:
        """Additions that the accumulation takes, every sum counted at the size of its
        result (one that is scattered into a larger block takes fewer)."""
        return self._total("num_additions")

    @property
    def fill_in(self) -> int:
        """Edges that were not in the graph before."""
        return sum(step.fill_in for step in self.steps)


class Elimination:
    """A graph during the elimination of its vertices.

    `ins[v]` and `outs[v]` hold the pattern of every edge into and out of `v`. In the
    chain `0 -> 1 -> 2` the elimination of 1 leaves the edge `0 -> 2`, with the product
    of the two partials.
    """

    def __init__(self, graph: ComputationalGraph):
        self.ins: dict[int, dict[int, Pattern]] = {}
        self.outs: dict[int, dict[int, Pattern]] = {}
        for vertex in (*graph.intermediates, *graph.independents):
            self.outs[vertex] = {}
        for vertex in (*graph.intermediates, *graph.dependents):
            self.ins[vertex] = {}
        for (u, v), block in graph.edges.items():
            self._set(u, v, block)

    def _set(self, u: int, v: int, block: Pattern) -> None:
        self.outs[u][v] = block
        self.ins[v][u] = block

    def eliminate(self, vertex: int) -> Step:
        """Connects every predecessor of `vertex` with every successor; removes it."""
        step = self.absorb(vertex, list(self.ins[vertex]), list(self.outs[vertex]))
        for u in self.ins.pop(vertex):
            del self.outs[u][vertex]
        for w in self.outs.pop(vertex):
            del self.ins[w][vertex]
        return replace(step, keeps=False)

    def absorb(
        self, vertex: int, predecessors: Sequence[int], successors: Sequence[int]
    ) -> Step:
        """Adds the paths through `vertex`, from some of its predecessors to some of its
        successors, to the edges between these."""
        updates, fill_in = [], 0
        for w in successors:
            left = self.outs[vertex][w]
            for u in predecessors:
                old, right = self.ins[w].get(u), self.ins[vertex][u]
                new = update(old, left, right)
                if not new.composition.products:  # The factors do not meet.
                    continue
                updates.append((u, w, new))
                fill_in += old is None
                if new.pattern.is_zero:  # Known coefficients cancel.
                    self.drop(u, w)
                else:
                    self._set(u, w, new.pattern)
        return Step(vertex, tuple(updates), fill_in, keeps=True)

    def drop(self, u: int, w: int) -> None:
        """Removes the edge from `u` to `w`, if there is one."""
        self.outs[u].pop(w, None)
        self.ins[w].pop(u, None)


@lru_cache(maxsize=1024)
def plan(graph: ComputationalGraph, order: tuple[int, ...]) -> Plan:
    """The plan of eliminating the intermediates of `graph` in `order`, which must be a
    permutation of them."""
    state = Elimination(graph)
    steps = tuple(state.eliminate(vertex) for vertex in order)
    blocks = {
        (u, v): block for v in graph.dependents for u, block in state.ins[v].items()
    }
    return Plan(order, steps, blocks)
