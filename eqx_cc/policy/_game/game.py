"""Vertex elimination as a game of one player, in pure functions over arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from ..._graph.graph import ComputationalGraph
from ..._orders.cost import AbstractCost, Multiplications
from ..._orders.orderings import greedy
from ..._orders.state import (
    AbstractSpace,
    BitSpace,
    NumberSpace,
    space,
    total,
)
from ..._sparsity.pattern import Pattern
from .actions import AbstractRules, Numbers, Patterns, Scalars
from .closure import tables


SIZES = 16, 32, 48, 64, 96, 128, 192, 256, 384, 512
FEW_SIZES = 32, 64, 128, 256  # Of lessons: fewer, as gradients take longer to compile.


class EliminationGame(eqx.Module):
    """The constant part of the elimination of a graph.

    Smaller graphs are padded with unused vertices, so that graphs of different sizes
    form one batch.

    **Attributes:**

    - `rules`: the effect of an elimination on edges, and its cost.
    - `inputs`, `outputs`, `vertices`: masks of the independents, the dependents and
        the intermediates.
    - `depth`, `height`: edges on the longest path from an input and to an output.
    - `num_inputs`, `num_outputs`: number of inputs that lead to each vertex, and of
        outputs that it leads to.
    - `baseline`: the cost of greedy Markowitz, at least 1: the unit of rewards.

    !!! Example

        ```python
        game, state = eqx_cc.policy.new_game(graph)
        game.baseline
        ```
    """

    rules: AbstractRules
    inputs: Bool[Array, " n"]
    outputs: Bool[Array, " n"]
    vertices: Bool[Array, " n"]
    depth: Float[Array, " n"]
    height: Float[Array, " n"]
    num_inputs: Float[Array, " n"]
    num_outputs: Float[Array, " n"]
    baseline: Float[Array, ""]


class EliminationState(eqx.Module):
    """The state of the elimination of a graph.

    **Attributes:**

    - `edges`: the edge from the first to the second vertex, in the format of the rules;
        false where there is none.
    - `remaining`: a mask of the vertices that have not been eliminated.
    - `total`: the cost of all eliminations so far.
    - `illegal`: true if a move was refused.

    !!! Example

        ```python
        game, state = eqx_cc.policy.new_game(graph)
        while not state.finished:
            first = jnp.argmax(state.remaining)
            state, _ = eqx_cc.policy.step(game, state, first)
        state.total
        ```
    """

    edges: Shaped[Array, "n n"]
    remaining: Bool[Array, " n"]
    total: Float[Array, ""]
    illegal: Bool[Array, ""]

    @property
    def finished(self) -> Bool[Array, ""]:
        """True if no vertex is left to be eliminated."""
        return ~jnp.any(self.remaining)


def step(
    game: EliminationGame, state: EliminationState, vertex: Int[Array, ""]
) -> tuple[EliminationState, Float[Array, ""]]:
    """Eliminates a vertex.

    **Arguments:**

    - `game`, `state`: as `new_game` makes them.
    - `vertex`: one of the remaining vertices. Any other vertex sets the flag `illegal`
        and changes nothing else, with a reward of zero. After the end of the game,
        moves have no effect.

    **Returns:** the state after it, and the reward: minus the cost, in units of
    `game.baseline`.

    !!! Example

        ```python
        game, state = eqx_cc.policy.new_game(graph)
        state, reward = eqx_cc.policy.step(game, state, jnp.argmax(state.remaining))
        ```
    """
    vertex = vertex.astype(jnp.int32)
    inside = (vertex >= 0) & (vertex < state.remaining.size)
    vertex = jnp.where(inside, vertex, 0)
    legal = inside & state.remaining[vertex]
    edges, cost = game.rules.eliminate(state.edges, vertex)
    cost = jnp.where(legal, cost, 0)
    gone = (jnp.arange(state.remaining.size, dtype=jnp.int32) == vertex) & legal
    new = EliminationState(
        jnp.where(legal, edges, state.edges),
        state.remaining & ~gone,
        state.total + cost,
        state.illegal | (~legal & ~state.finished),
    )
    return new, (-cost / game.baseline).astype(jnp.float32)


def new_game(
    graph: ComputationalGraph,
    cost: AbstractCost = Multiplications(),
    *,
    size: int | None = None,
    patterns: int = 64,
) -> tuple[EliminationGame, EliminationState]:
    """The game of a graph.

    **Arguments:**

    - `graph`: a [`eqx_cc.ComputationalGraph`][].
    - `cost`: the cost model.
    - `size`: the number of vertices to pad it to; by default, no padding.
    - `patterns`: the largest number of patterns that may arise.

    **Returns:** the game, and the state before the first move. The vertices
    are those of `numbering`. Raises a `ValueError` if the graph has more than `size`
    vertices or if too many patterns may arise.

    !!! Example

        ```python
        game, state = eqx_cc.policy.new_game(graph)
        [first, *_] = jnp.flatnonzero(state.remaining)
        state, reward = eqx_cc.policy.step(game, state, first)
        ```
    """
    return new_games([graph], cost, size=size, patterns=patterns, stack=False)


def new_games(
    graphs: Sequence[ComputationalGraph],
    cost: AbstractCost = Multiplications(),
    *,
    size: int | None = None,
    patterns: int = 64,
    stack: bool = True,
) -> Any:
    """The games of several graphs, stacked: `jax.vmap` takes them apart again.

    **Arguments:** as for `new_game`.

    **Returns:** as `new_game`, every array with an axis for the graphs in front.

    !!! Example

        ```python
        games, states = eqx_cc.policy.new_games([graph, graph])
        jax.vmap(eqx_cc.policy.Markowitz())(games, states)
        ```
    """
    size = max(_size(graph) for graph in graphs) if size is None else size
    encoded = _edges_and_rules(graphs, cost, size, patterns)
    games = [_game(graph, cost, *pair) for graph, pair in zip(graphs, encoded)]
    if not stack:
        return games[0]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *games)


def numbering(graph: ComputationalGraph) -> tuple[int, ...]:
    """The vertices of a graph, in the order of their numbers in its game.

    **Arguments:**

    - `graph`: a [`eqx_cc.ComputationalGraph`][].

    **Returns:** for each vertex of the game, the vertex of the graph.

    !!! Example

        ```python
        eqx_cc.policy.numbering(graph)[0]
        ```
    """
    ends = {*graph.independents, *graph.dependents}
    return tuple(sorted(ends | {*graph.intermediates}))


def _size(graph: ComputationalGraph) -> int:
    return max(len(numbering(graph)), 1)


def padded(graph: ComputationalGraph, sizes: tuple[int, ...] = SIZES) -> int:
    """Number of vertices that a graph is padded to: one of a few sizes, as programs
    are compiled for each."""
    count = _size(graph)
    return next((size for size in sizes if size >= count), -(-count // 256) * 256)


def _edges_and_rules(
    graphs: Sequence[ComputationalGraph], cost: AbstractCost, size: int, limit: int
) -> list[tuple[np.ndarray, AbstractRules]]:
    """Edges of all graphs, under the simplest rules that are right for all of them."""
    for graph in graphs:
        if _size(graph) > size:
            raise ValueError(
                f"`size` must be at least {_size(graph)}, the number of vertices; got "
                f"{size}."
            )
    spaces = [space(graph, cost) for graph in graphs]
    bits = [each for each in spaces if isinstance(each, BitSpace)]
    if len(bits) == len(graphs):
        return [_scalars(graph, b.unit, size) for graph, b in zip(graphs, bits)]
    scalar = all(isinstance(each, BitSpace | NumberSpace) for each in spaces)
    if scalar and type(cost) is Multiplications:
        return [_numbers(graph, size) for graph in graphs]
    return _patterns(graphs, cost, size, limit)


def _scalars(
    graph: ComputationalGraph, unit: int, size: int
) -> tuple[np.ndarray, AbstractRules]:
    edges = _filled(graph, dict.fromkeys(graph.edges, True), size, bool)
    return edges, Scalars(jnp.asarray(unit, float))


def _numbers(graph: ComputationalGraph, size: int) -> tuple[np.ndarray, AbstractRules]:
    coefficients = {edge: _coefficient(block) for edge, block in graph.edges.items()}
    return _filled(graph, coefficients, size, float), Numbers()


def _coefficient(block: Pattern) -> float:
    """The known coefficient of a scalar edge, or NaN."""
    [term] = block.terms
    coefficient: Any = term.scale if term.value is None else np.nan
    return float(coefficient)


def _patterns(
    graphs: Sequence[ComputationalGraph], cost: AbstractCost, size: int, limit: int
) -> list[tuple[np.ndarray, AbstractRules]]:
    lookups = [tables(graph, cost, limit) for graph in graphs]
    most = max(len(table.size) for table in lookups)
    encoded = []
    for graph, table in zip(graphs, lookups):
        pad = (0, most - len(table.size))
        rules = Patterns(
            jnp.asarray(np.pad(table.new, [pad] * 3)),
            jnp.asarray(np.pad(table.cost, [pad] * 3), float),
            jnp.asarray(np.pad(table.size, [pad]), float),
        )
        encoded.append((_filled(graph, table.edges, size, np.int32), rules))
    return encoded


def _filled(
    graph: ComputationalGraph, edges: dict[tuple[int, int], Any], size: int, dtype: Any
) -> np.ndarray:
    number = {name: i for i, name in enumerate(numbering(graph))}
    array = np.zeros((size, size), dtype)
    for (u, v), edge in edges.items():
        array[number[u], number[v]] = edge
    return array


def _game(
    graph: ComputationalGraph,
    cost: AbstractCost,
    edges: np.ndarray,
    rules: AbstractRules,
) -> tuple[EliminationGame, EliminationState]:
    game = frame(graph, space(graph, cost), edges != 0, rules)
    return game, unpaid(edges, game.vertices)


def unpaid(edges: Any, remaining: Any) -> EliminationState:
    """A state with no cost so far."""
    nothing, no = jnp.zeros((), float), jnp.asarray(False)
    return EliminationState(jnp.asarray(edges), jnp.asarray(remaining), nothing, no)


def frame(
    graph: ComputationalGraph,
    search_space: AbstractSpace,
    edges: Bool[np.ndarray, "n n"],
    rules: AbstractRules,
) -> EliminationGame:
    """The game of a graph, with the space that it is searched in and its edges before
    the first move."""
    number = {name: i for i, name in enumerate(numbering(graph))}

    def mask(names):
        array = np.zeros(len(edges), bool)
        array[[number[name] for name in names]] = True
        return jnp.asarray(array)

    start, inner = search_space.start, search_space.inner
    baseline = total(search_space, start, greedy(search_space, start, inner))
    return EliminationGame(
        rules,
        mask(graph.independents),
        mask(graph.dependents),
        mask(graph.intermediates),
        jnp.asarray(_longest(edges), jnp.float32),
        jnp.asarray(_longest(edges[::-1, ::-1].T)[::-1], jnp.float32),
        jnp.asarray(_num_sources(edges), jnp.float32),
        jnp.asarray(_num_sources(edges[::-1, ::-1].T)[::-1], jnp.float32),
        jnp.asarray(max(baseline, 1), float),
    )


def _longest(edges: np.ndarray) -> np.ndarray:
    """Length in edges of the longest path to each vertex, in topological order."""
    length = np.zeros(len(edges))
    for v in range(len(edges)):
        before = length[edges[:, v]]
        length[v] = before.max() + 1 if before.size else 0
    return length


def _num_sources(edges: np.ndarray) -> np.ndarray:
    """Number of vertices without predecessors from which a path leads to each vertex
    (itself, if it has none), in topological order."""
    sources = np.eye(len(edges), dtype=bool)
    for v in range(len(edges)):
        if edges[:, v].any():
            sources[v] = sources[edges[:, v]].any(0)
    return sources.sum(1)
