"""Playing move by move outside of JAX, where a graph has too many patterns for tables.

The graph is eliminated as searches do it, and the policy is told what it has to know.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..._graph.graph import ComputationalGraph
from ..._orders.cost import AbstractCost
from ..._orders.state import AbstractSpace, Bits, Blocks, space, State
from .actions import AbstractRules
from .game import EliminationGame, EliminationState, frame, unpaid
from .play import best_vertex
from .policy import AbstractPolicy


def _floats(x: Any) -> Float[Array, "*n"]:
    return jnp.asarray(x, float)


class Told(AbstractRules):
    """Costs and sizes that are known from elsewhere; nothing can be eliminated."""

    known: Float[Array, " n"] = eqx.field(converter=_floats)
    stored: Float[Array, "n n"] = eqx.field(converter=_floats)

    def eliminate(self, edges: Bool[Array, "n n"], vertex: Int[Array, ""]) -> Any:
        raise NotImplementedError("`Told` is for looking at, not for playing.")

    def costs(self, edges: Bool[Array, "n n"]) -> Float[Array, " n"]:
        return self.known

    def sizes(self, edges: Bool[Array, "n n"]) -> Float[Array, "n n"]:
        return self.stored


class HostedGame:
    """A game that is played outside of JAX.

    **Attributes:**

    - `own`, `state`: the space of the graph, and its state now.
    - `seen`: edges, sizes and costs, as arrays.
    - `game`: what stays the same.
    - `remaining`: which vertices may be eliminated.
    """

    def __init__(self, graph: ComputationalGraph, own: AbstractSpace, size: int):
        self.own, self.state, self.seen = own, own.start, Seen(own, size)
        told = Told(np.zeros(0), np.zeros((0, 0)))
        self.game = frame(graph, own, self.seen.edges, told)
        self.remaining = np.asarray(self.game.vertices).copy()
        self.seen.look(self.state, own.inner, own.inner)

    @property
    def left(self) -> list[int]:
        return [v for v in self.own.inner if self.remaining[v]]

    @property
    def shown(self) -> tuple[EliminationGame, EliminationState]:
        """What a policy may look at, as it is now."""
        told = Told(self.seen.costs, self.seen.sizes)
        game = eqx.tree_at(lambda game: game.rules, self.game, told)
        return game, unpaid(self.seen.edges, self.remaining)

    def move(self, vertex: int) -> int:
        """Eliminates a vertex. Returns what it costs."""
        after = [*self.own.successors(self.state, vertex)]
        touched = [*self.own.predecessors(self.state, vertex), *after]
        cost, self.state = self.own.eliminate(self.state, vertex)
        self.remaining[vertex] = False
        near = self.own.inner if self.own.counts_sums else touched
        self.seen.forget(vertex)
        self.seen.look(self.state, after, [v for v in near if self.remaining[v]])
        return cost


def hosted_rollout(
    policy: AbstractPolicy, graph: ComputationalGraph, cost: AbstractCost, size: int
) -> list[int]:
    """The vertices, by their numbers in the game, in the order in which the policy
    eliminates them: that of the largest logit next. They are padded to `size`."""
    played, order = HostedGame(graph, space(graph, cost), size), []
    while played.remaining.any():
        order.append(int(_choose(policy, *played.shown)))
        played.move(order[-1])
    return order


@eqx.filter_jit
def _choose(policy, game, state):
    return best_vertex(policy(game, state)[0])


class Seen:
    """Edges, sizes and costs of a state of a space, as arrays that keep up with it."""

    def __init__(self, own: AbstractSpace, size: int):
        self._own = own
        self.edges = np.zeros((size, size), bool)
        self.sizes = np.zeros((size, size))
        self.costs = np.zeros(size)
        everything = {w for v in own.inner for w in own.successors(own.start, v)}
        self._read(own.start, {*everything, *own.inner})

    def look(self, state: State, into: Any, near: Any) -> None:
        """Reads the edges into some vertices, and what some cost."""
        self._read(state, into)
        for vertex in near:
            self.costs[vertex] = self._own.cost(state, vertex)

    def _read(self, state: State, into: Any) -> None:
        for w in into:
            self.edges[:, w] = self.sizes[:, w] = 0
            for u in self._own.predecessors(state, w):
                self.edges[u, w] = True
                self.sizes[u, w] = _size(self._own, state, u, w)

    def forget(self, vertex: int) -> None:
        """What was eliminated."""
        self.costs[vertex] = 0
        for array in (self.edges, self.sizes):
            array[vertex] = array[:, vertex] = 0


def _size(own: AbstractSpace, state: State, u: int, w: int) -> int:
    """How many numbers an edge stores."""
    if isinstance(own, Blocks):
        return own.table.patterns[state[w][u]].num_values
    return 1 if isinstance(own, Bits) else state[w][u] != state[w][u]
