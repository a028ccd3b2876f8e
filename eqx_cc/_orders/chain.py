"""An order as annealing sees it: a vertex moves, and what lies between is redone."""

from __future__ import annotations

import itertools as it
import math
import random
from collections.abc import Sequence
from typing import TypeAlias

from .state import AbstractSpace, State


_MAX_STEPS = 10  # Positions that a vertex moves by, at most.
_MAX_BLOCK = 6  # Vertices that move together, at most.

# A vertex $v$ moves past a vertex $w$: the change of the total cost if $v$ stops here,
# $w$, the new cost of $w$, the state after $w$ (before it, if $v$ moves ahead), and the
# new cost of $v$.
_Step: TypeAlias = tuple[int, int, int, State, int]


class Chain:
    """An order with the cost of each elimination and the state before it.

    The state after a set of vertices has been eliminated does not depend on their
    order, so that a move needs only the eliminations between its two ends. With the
    order $a, b, c, d$, moving $a$ behind $c$ eliminates $b$ and $c$ anew, and the state
    before $d$ stays.
    """

    def __init__(
        self,
        space: AbstractSpace,
        rng: random.Random,
        start: State,
        order: Sequence[int],
    ):
        self._space, self._rng = space, rng
        self.order, self._states, self._costs = list(order), [start], []
        for vertex in order:
            cost, state = self._space.eliminate(self._states[-1], vertex)
            self._states.append(state)
            self._costs.append(cost)
        self.cost = sum(self._costs)

    def temperatures(self) -> tuple[float, float]:
        """The first and last temperature, by the changes of cost that moves make."""
        sizes = sorted(self._changes(100))
        if not sizes:
            return 1.0, 1.0
        return 0.27 * sizes[len(sizes) // 2], 0.2 * sizes[len(sizes) // 10]

    def _changes(self, trials: int) -> list[int]:
        """The nonzero changes of cost, up or down, of some moves."""
        sizes = []
        for _ in range(trials):
            k = self._rng.randrange(len(self.order))
            for trial in (self._later, self._earlier):
                sizes += [abs(step[0]) for step in trial(k, _MAX_STEPS, math.inf)]
        return [size for size in sizes if size]

    def move(self, temperature: float) -> None:
        """Moves a vertex or a block of vertices, or rejects the move."""
        k, slack = self._rng.randrange(len(self.order)), 8 * temperature
        kind = self._rng.random()
        if kind < 0.1:
            self._exchange(k, temperature)
            return
        trial, direction = (self._later, 1) if kind < 0.55 else (self._earlier, -1)
        steps = trial(k, self._rng.randint(1, _MAX_STEPS), slack)
        self._take(k, steps[: self._choose(steps, temperature)], direction)

    def _choose(self, steps: list, temperature: float) -> int:
        """The number of steps to take, from zero, at random (a heat bath)."""
        weights = [1.0]
        for step in steps:
            weights.append(math.exp(min(-step[0] / temperature, 50.0)))
        remaining = self._rng.random() * sum(weights)
        for count, weight in enumerate(weights):
            remaining -= weight
            if remaining <= 0:
                return count
        return 0

    def _later(self, k: int, reach: int, slack: float) -> list[_Step]:
        """The steps of the vertex at `k` towards the end, one position each."""
        eliminate, cost_of = self._space.eliminate, self._space.cost
        vertex, state, change = self.order[k], self._states[k], -self._costs[k]
        steps = []
        for t in range(k + 1, min(k + 1 + reach, len(self.order))):
            cost, state = eliminate(state, self.order[t])
            change += cost - self._costs[t]
            if change > slack:
                break
            moved = cost_of(state, vertex)
            steps.append((change + moved, self.order[t], cost, state, moved))
        return steps

    def _earlier(self, k: int, reach: int, slack: float) -> list[_Step]:
        """The steps of the vertex at `k` towards the start, one position each."""
        eliminate, cost_of = self._space.eliminate, self._space.cost
        vertex, change = self.order[k], -self._costs[k]
        steps = []
        for t in range(k - 1, max(k - 1 - reach, -1), -1):
            moved, state = eliminate(self._states[t], vertex)
            cost = cost_of(state, self.order[t])
            change += cost - self._costs[t]
            if change > slack:
                break
            steps.append((change + moved, self.order[t], cost, state, moved))
        return steps

    def _take(self, k: int, steps: list[_Step], direction: int) -> None:
        """Takes steps of the vertex at `k`, towards the end (1) or the start (-1)."""
        vertex = self.order[k]
        for t, (_, other, cost, state, moved) in zip(it.count(k, direction), steps):
            self.order[t], self._costs[t] = other, cost
            self._states[t + (direction > 0)] = state
            self.order[t + direction], self._costs[t + direction] = vertex, moved
        self.cost += steps[-1][0] if steps else 0

    def _exchange(self, k: int, temperature: float) -> None:
        """Exchanges two adjacent blocks, the first of which begins at `k`."""
        middle = k + self._rng.randint(2, _MAX_BLOCK)
        end = min(middle + self._rng.randint(2, _MAX_BLOCK), len(self.order))
        old = sum(self._costs[k:end])
        allowed = old - temperature * math.log(1 - self._rng.random())
        order = self.order[middle:end] + self.order[k:middle]
        costs, states, state = [], [], self._states[k]
        for vertex in order:
            cost, state = self._space.eliminate(state, vertex)
            costs.append(cost)
            states.append(state)
            if sum(costs) > allowed:
                return
        self.order[k:end], self._costs[k:end] = order, costs
        self._states[k + 1 : end + 1] = states
        self.cost += sum(costs) - old
