"""Lessons of an annealed order: the extra cost of each other move on its way."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..._graph.graph import ComputationalGraph
from ..._orders.cost import AbstractCost
from ..._orders.search.annealing import cool
from ..._orders.search.component import Part
from ..._orders.search.reductions import Reduced
from ..._orders.state import AbstractSpace, space, State, total
from .._game.game import EliminationGame, EliminationState, FEW_SIZES, padded, unpaid
from .._game.host import HostedGame, TabulatedRules
from .._search.shorten import shortened


class Lesson(NamedTuple):
    """A state, by arrays that are padded to one of a few sizes, with the regrets of its
    moves.

    **Attributes:**

    - `edges`, `sizes`, `costs`, `ends`, `lengths`: all that a policy observes: the mask
        of edges, the numbers that they store, the cost of each vertex; masks of inputs,
        outputs and remaining vertices; longest paths from inputs and to outputs, and
        the numbers of inputs and outputs at their ends.
    - `regrets`: the extra cost of the whole if a vertex is eliminated next and the
        others as annealing has it, in units of the baseline; infinite for vertices that
        do not remain.
    - `to_go`: the cost that is left, in these units.
    - `baseline`: see [`eqx_cc.policy.EliminationGame`][].
    """

    edges: Any
    sizes: Any
    costs: Any
    ends: Any
    lengths: Any
    regrets: Any
    to_go: Any
    baseline: Any

    @property
    def situation(self) -> tuple[EliminationGame, EliminationState]:
        """The game and the state, for policies to look at."""
        inputs, outputs, remaining = self.ends
        rules, baseline = (
            TabulatedRules(self.costs, self.sizes),
            self.baseline.astype(float),
        )
        depth, height, num_inputs, num_outputs = self.lengths
        ends = inputs, outputs, remaining
        reach = depth, height, num_inputs, num_outputs
        game = EliminationGame(rules, *ends, *reach, baseline)
        return game, unpaid(self.edges, remaining)

    @property
    def transposed(self) -> Lesson:
        """The same of the graph with all edges turned round, which costs the same."""
        return self._replace(
            edges=self.edges.T,
            sizes=self.sizes.T,
            ends=self.ends[jnp.asarray([1, 0, 2])],
            lengths=self.lengths[jnp.asarray([1, 0, 3, 2])],
        )


Choose = Callable[[EliminationGame, EliminationState], int]


class Teacher(NamedTuple):
    """Settings of lessons.

    **Attributes:**

    - `moves`: of annealing, for each vertex.
    - `most`: lessons of one graph.
    - `cost`: the cost model.
    """

    moves: int
    most: int
    cost: AbstractCost

    def lessons(
        self, graph: ComputationalGraph, choose: Choose, rng: random.Random
    ) -> tuple[list[Lesson], float, int]:
        """Lessons of a graph, at states that the policy comes to: in half of the games
        it makes some of the moves, and annealing the rest.

        Returns them, the cost of the rest of the game over that of greedy Markowitz
        there, and the cost of the whole.
        """
        short = shortened(graph, self.cost)
        search_space = space(short.graph, self.cost)
        inner = search_space.inner
        if len(inner) < 2:
            whole = total(search_space, search_space.start, inner)
            return [], 1.0, short.cost + whole
        size = padded(short.graph, FEW_SIZES)
        hosted = HostedGame(short.graph, search_space, size)
        count = rng.randrange(len(inner)) if rng.random() < 0.5 else 0
        paid = sum(hosted.move(choose(*hosted.view)) for _ in range(count))
        order = annealed(search_space, hosted.state, hosted.left, rng, self.moves)
        lessons, rest = lessons_along(hosted, order, rng, self.most)
        ratio = (paid + rest) / float(hosted.game.baseline)
        return lessons, ratio, int(short.cost + paid + rest)


def lessons_along(
    hosted: HostedGame, order: Sequence[int], rng: random.Random, most: int
) -> tuple[list[Lesson], int]:
    """Plays the rest of a game in a given order.

    Returns lessons from at most so many of the states where moves differ, and the
    cost."""
    states, costs = _eliminated(hosted.space, hosted.state, order)
    regrets = _regrets(hosted.space, states, costs, order)
    at = [t for t in range(len(order)) if np.ptp(regrets[t, list(order[t:])]) > 0]
    chosen, lessons = set(rng.sample(at, min(most, len(at)))), []
    for t, vertex in enumerate(order):
        if t in chosen:
            lessons.append(_lesson(hosted, regrets[t], sum(costs[t:])))
        hosted.move(vertex)
    return lessons, sum(costs)


def annealed(
    search_space: AbstractSpace,
    state: State,
    left: Sequence[int],
    rng: random.Random,
    moves: int,
    first: Sequence[int] = (),
) -> Sequence[int]:
    """An order of the vertices that are left, annealed once from the best simple one,
    or from `first` if that is better."""
    part = Part(Reduced(search_space, (), 0, state, ()), tuple(sorted(left)), None, rng)
    if first:
        part.offer(first)
    if len(left) > 1 and not part.solved:
        cool(part, list(part.order), 0, float(moves))
    return part.order


def _eliminated(
    search_space: AbstractSpace, state: State, order: Sequence[int]
) -> tuple[list[State], list[int]]:
    states, costs = [state], []
    for vertex in order:
        cost, state = search_space.eliminate(state, vertex)
        states.append(state)
        costs.append(cost)
    return states, costs


def _regrets(
    search_space: AbstractSpace,
    states: list[State],
    costs: list[int],
    order: Sequence[int],
) -> np.ndarray:
    """The extra cost of the whole if, at each place of the order, each vertex is moved
    there from where it is; infinite where it is gone.

    A vertex moves ahead place by place, as in annealing, so that all its places cost no
    more than the last.
    """
    regrets = np.full((len(order), max(search_space.inner) + 1), np.inf)
    for k, vertex in enumerate(order):
        change = -costs[k]
        regrets[k, vertex] = 0
        for t in range(k - 1, -1, -1):
            paid, state = search_space.eliminate(states[t], vertex)
            change += search_space.cost(state, order[t]) - costs[t]
            regrets[t, vertex] = change + paid
    return regrets


def _lesson(hosted: HostedGame, regrets: np.ndarray, to_go: int) -> Lesson:
    """The present state, with the regrets of its moves."""
    game, baseline = hosted.game, float(hosted.game.baseline)
    padding = np.full(len(hosted.remaining) - len(regrets), np.inf)
    return Lesson(
        hosted.arrays.edges.copy(),
        hosted.arrays.sizes.astype(np.float32),
        hosted.arrays.costs.astype(np.float32),
        np.stack([game.inputs, game.outputs, hosted.remaining]),
        np.stack([game.depth, game.height, game.num_inputs, game.num_outputs]),
        np.concatenate([regrets, padding]).astype(np.float32) / np.float32(baseline),
        np.asarray(to_go / baseline, np.float32),
        np.asarray(baseline, np.float32),
    )
