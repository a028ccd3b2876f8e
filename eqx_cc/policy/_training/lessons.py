"""What an annealed order teaches: how much dearer every other move would have been."""

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
from ..._orders.state import AbstractSpace, space, State
from .._game.game import EliminationGame, EliminationState, FEW_SIZES, padded, unpaid
from .._game.host import HostedGame, Told
from .._search.shorten import shortened


class Lesson(NamedTuple):
    """A state, by arrays that are padded to one of a few sizes, and what is known of
    its moves.

    **Attributes:**

    - `edges`, `sizes`, `costs`, `ends`, `lengths`: what a policy is told: where there
        are edges, how many numbers they store, what every vertex costs; inputs,
        outputs, and what remains; the longest paths from the inputs and to the outputs.
    - `regrets`: by how much the whole becomes dearer if a vertex is eliminated next and
        the others as annealing has it, in units of the baseline; infinite for those
        that do not remain.
    - `to_go`: what is left to pay, in these units.
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
        rules, baseline = Told(self.costs, self.sizes), self.baseline.astype(float)
        depth, height = self.lengths
        game = EliminationGame(
            rules, inputs, outputs, remaining, depth, height, baseline
        )
        return game, unpaid(self.edges, remaining)

    @property
    def transposed(self) -> Lesson:
        """The same of the graph with all edges turned round, which costs the same."""
        return self._replace(
            edges=self.edges.T,
            sizes=self.sizes.T,
            ends=self.ends[jnp.asarray([1, 0, 2])],
            lengths=self.lengths[::-1],
        )


Choose = Callable[[EliminationGame, EliminationState], int]


class Teacher(NamedTuple):
    """How lessons are made.

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
    ) -> tuple[list[Lesson], float]:
        """Lessons of a graph, at states that the policy comes to: in half of the games
        it makes some of the moves, and annealing the rest.

        Returns them and the cost of the whole, over that of greedy Markowitz.
        """
        graph = shortened(graph, self.cost).graph
        own = space(graph, self.cost)
        if len(own.inner) < 2:
            return [], 1.0
        played = HostedGame(graph, own, padded(graph, FEW_SIZES))
        count = rng.randrange(len(own.inner)) if rng.random() < 0.5 else 0
        paid = sum(played.move(choose(*played.shown)) for _ in range(count))
        start, left = played.state, played.left
        order = annealed(own, start, left, rng, self.moves)
        lessons, rest = lessons_along(played, order, rng, self.most)
        return lessons, (paid + rest) / float(played.game.baseline)


def lessons_along(
    played: HostedGame, order: Sequence[int], rng: random.Random, most: int
) -> tuple[list[Lesson], int]:
    """Plays the rest of a game in a given order.

    Returns lessons from at most so many of the states where moves differ, and the
    cost."""
    states, costs = _eliminated(played.own, played.state, order)
    regrets = _regrets(played.own, states, costs, order)
    at = [t for t in range(len(order)) if np.ptp(regrets[t, list(order[t:])]) > 0]
    chosen, lessons = set(rng.sample(at, min(most, len(at)))), []
    for t, vertex in enumerate(order):
        if t in chosen:
            lessons.append(_lesson(played, regrets[t], sum(costs[t:])))
        played.move(vertex)
    return lessons, sum(costs)


def annealed(
    own: AbstractSpace,
    state: State,
    left: Sequence[int],
    rng: random.Random,
    moves: int,
    first: Sequence[int] = (),
) -> Sequence[int]:
    """An order of what is left, cooled down once from the best simple one, or from a
    given one if that is better."""
    part = Part(Reduced(own, (), 0, state, ()), tuple(sorted(left)), None, rng)
    if first:
        part.offer(first)
    if len(left) > 1 and not part.solved:
        cool(part, list(part.order), 0, float(moves))
    return part.order


def _eliminated(
    own: AbstractSpace, state: State, order: Sequence[int]
) -> tuple[list[State], list[int]]:
    states, costs = [state], []
    for vertex in order:
        cost, state = own.eliminate(state, vertex)
        states.append(state)
        costs.append(cost)
    return states, costs


def _regrets(
    own: AbstractSpace, states: list[State], costs: list[int], order: Sequence[int]
) -> np.ndarray:
    """By how much the whole becomes dearer if, at each place of the order, each vertex
    is moved there from where it is; infinite where it is gone.

    A vertex moves ahead place by place, as in annealing, so that all its places cost no
    more than the last.
    """
    most = max(own.inner) + 1
    found = np.full((len(order), most), np.inf)
    for k, vertex in enumerate(order):
        change = -costs[k]
        found[k, vertex] = 0
        for t in range(k - 1, -1, -1):
            paid, state = own.eliminate(states[t], vertex)
            change += own.cost(state, order[t]) - costs[t]
            found[t, vertex] = change + paid
    return found


def _lesson(played: HostedGame, regrets: np.ndarray, to_go: int) -> Lesson:
    """The state as it is now, with what is known of its moves."""
    game, baseline = played.game, float(played.game.baseline)
    padding = np.full(len(played.remaining) - len(regrets), np.inf)
    return Lesson(
        played.seen.edges.copy(),
        played.seen.sizes.astype(np.float32),
        played.seen.costs.astype(np.float32),
        np.stack([game.inputs, game.outputs, played.remaining]),
        np.stack([game.depth, game.height]),
        np.concatenate([regrets, padding]).astype(np.float32) / np.float32(baseline),
        np.asarray(to_go / baseline, np.float32),
        np.asarray(baseline, np.float32),
    )
