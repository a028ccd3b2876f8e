"""Playing move by move outside of JAX, where a graph has too many patterns for tables.

The graph is eliminated as in searches; the policy gets costs and sizes as arrays.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..._graph.graph import ComputationalGraph
from ..._orders.cost import AbstractCost
from ..._orders.state import AbstractSpace, BitSpace, PatternSpace, space, State
from .actions import AbstractRules
from .game import EliminationGame, EliminationState, frame, unpaid
from .play import best_vertex
from .policy import AbstractPolicy


def _floats(x: Any) -> Float[Array, "*n"]:
    return jnp.asarray(x, float)


class TabulatedRules(AbstractRules):
    """Costs and sizes for policies to look at; no vertex can be eliminated."""

    vertex_costs: Float[Array, " n"] = eqx.field(converter=_floats)
    edge_sizes: Float[Array, "n n"] = eqx.field(converter=_floats)

    def eliminate(self, edges: Bool[Array, "n n"], vertex: Int[Array, ""]) -> Any:
        raise NotImplementedError(
            "`TabulatedRules` describe a game, but do not play it."
        )

    def costs(self, edges: Bool[Array, "n n"]) -> Float[Array, " n"]:
        return self.vertex_costs

    def sizes(self, edges: Bool[Array, "n n"]) -> Float[Array, "n n"]:
        return self.edge_sizes


class HostedGame:
    """A game that is played outside of JAX.

    **Attributes:**

    - `space`, `state`: the space of the graph, and its present state.
    - `arrays`: edges, sizes and costs, as arrays.
    - `game`: the constant part.
    - `remaining`: the mask of the vertices that may be eliminated.
    """

    def __init__(self, graph: ComputationalGraph, space: AbstractSpace, size: int):
        self.space, self.state = space, space.start
        self.arrays = StateArrays(space, size)
        rules = TabulatedRules(np.zeros(0), np.zeros((0, 0)))
        self.game = frame(graph, space, self.arrays.edges, rules)
        self.remaining = np.asarray(self.game.vertices).copy()
        self.arrays.update(self.state, space.inner, space.inner)

    @property
    def left(self) -> list[int]:
        return [v for v in self.space.inner if self.remaining[v]]

    @property
    def view(self) -> tuple[EliminationGame, EliminationState]:
        """The game and the state for a policy to look at."""
        rules = TabulatedRules(self.arrays.costs, self.arrays.sizes)
        game = eqx.tree_at(lambda game: game.rules, self.game, rules)
        return game, unpaid(self.arrays.edges, self.remaining)

    def move(self, vertex: int) -> int:
        """Eliminates a vertex, and returns the cost."""
        after = [*self.space.successors(self.state, vertex)]
        touched = [*self.space.predecessors(self.state, vertex), *after]
        cost, self.state = self.space.eliminate(self.state, vertex)
        self.remaining[vertex] = False
        near = self.space.inner if self.space.counts_sums else touched
        self.arrays.clear(vertex)
        self.arrays.update(self.state, after, [v for v in near if self.remaining[v]])
        return cost


def hosted_rollout(
    policy: AbstractPolicy, graph: ComputationalGraph, cost: AbstractCost, size: int
) -> list[int]:
    """The vertices, by their numbers in the game, in the order in which the policy
    eliminates them: that of the largest logit next. They are padded to `size`."""
    hosted, order = HostedGame(graph, space(graph, cost), size), []
    while hosted.remaining.any():
        order.append(int(_choose(policy, *hosted.view)))
        hosted.move(order[-1])
    return order


@eqx.filter_jit
def _choose(policy, game, state):
    return best_vertex(policy(game, state)[0])


class StateArrays:
    """Edges, sizes and costs of a state of a space, as arrays that keep up with it."""

    def __init__(self, space: AbstractSpace, size: int):
        self._space = space
        self.edges = np.zeros((size, size), bool)
        self.sizes = np.zeros((size, size))
        self.costs = np.zeros(size)
        after = {w for v in space.inner for w in space.successors(space.start, v)}
        self._read(space.start, {*after, *space.inner})

    def update(self, state: State, into: Any, near: Any) -> None:
        """Reads the edges into some vertices, and the costs of some."""
        self._read(state, into)
        for vertex in near:
            self.costs[vertex] = self._space.cost(state, vertex)

    def _read(self, state: State, into: Any) -> None:
        for w in into:
            self.edges[:, w] = self.sizes[:, w] = 0
            for u in self._space.predecessors(state, w):
                self.edges[u, w] = True
                self.sizes[u, w] = _size(self._space, state, u, w)

    def clear(self, vertex: int) -> None:
        """Removes a vertex that was eliminated."""
        self.costs[vertex] = 0
        for array in (self.edges, self.sizes):
            array[vertex] = array[:, vertex] = 0


def _size(space: AbstractSpace, state: State, u: int, w: int) -> int:
    """Number of values that an edge stores."""
    if isinstance(space, PatternSpace):
        return space.table.patterns[state[w][u]].num_values
    return 1 if isinstance(space, BitSpace) else state[w][u] != state[w][u]
