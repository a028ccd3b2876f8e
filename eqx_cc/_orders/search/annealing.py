"""Simulated annealing over elimination orders."""

from __future__ import annotations

import itertools as it
import math
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ..greedy import greedy
from ..state import State
from .component import Part
from .randomised import blurred_greedy


_REACH = 10  # How far a vertex moves at most.
_WINDOW = 1000  # Of longer orders so much is annealed at a time, to spare memory.
_BLOCK = 6  # How many vertices move together at most.
_MOVES = 500  # Moves for each vertex in the first cycle; the next have half as many
_GROWTH = 1.5  # again, up to this.
_MOST_MOVES = 5000

# The change of cost if the vertex that moves stopped here; the vertex that it passes,
# the cost of that one now and the state after it (or, moving ahead, before it); the
# cost of the one that moves.
_Step: TypeAlias = tuple[int, int, int, State, int]


def anneal(part: Part) -> None:
    """Anneals the order of a part, cycle after cycle, until it is finished."""
    for order, cycle in zip(_starts(part), it.count()):
        moves = min(_MOVES * _GROWTH**cycle, _MOST_MOVES)
        for begin in range(0, len(order), _WINDOW):
            if part.finished:
                return
            order = cool(part, list(order), begin, moves)


def _starts(part: Part) -> Iterator[Sequence[int]]:
    with part.within(0.02, most=0.3):
        blurred_greedy(part)
    yield part.order
    yield part.vertices
    yield part.vertices[::-1]
    rng = part.rng
    while True:
        yield greedy(part.space, part.start, part.vertices, lambda v: rng.random())
        yield part.order


def cool(part: Part, order: list[int], begin: int, moves: float) -> list[int]:
    """Cools down once, with so many moves a vertex or in what time is left. What comes
    before `begin`, or long after it, stays. Returns the best order that was met."""
    state, window = part.start, slice(begin, begin + _WINDOW)
    for vertex in order[:begin]:
        state = part.space.eliminate(state, vertex)[1]
    chain = _Chain(part, state, order[window])
    hot, cold = _temperatures(chain)
    best, offered, started = chain.cost, chain.cost, time.monotonic()
    most = int(moves * len(chain.order))
    try:
        for count in range(most):
            if count % 64 == 0:
                # Of a larger order this would take more time than the moves.
                if best < offered and len(order) <= _WINDOW:
                    offered = best
                    part.offer(order)
                if part.finished:
                    break
                gone = (time.monotonic() - started) / (part.deadline - started)
                temperature = hot * (cold / hot) ** max(count / most, gone)
            chain.move(temperature)
            if chain.cost < best:
                best, order[window] = chain.cost, chain.order
    finally:
        part.offer(order)
    return order


def _temperatures(chain: _Chain) -> tuple[float, float]:
    """Of the size of the changes that moves make."""
    sizes = sorted(chain.changes(100))
    if not sizes:
        return 1.0, 1.0
    return 0.27 * sizes[len(sizes) // 2], 0.2 * sizes[len(sizes) // 10]


class _Chain:
    """An order with the state before, and the cost of, each of its eliminations.

    What is left after a set of vertices has been eliminated does not depend on their
    order, so that a move needs the eliminations between its two ends alone.
    """

    def __init__(self, part: Part, start: State, order: Sequence[int]):
        self._space, self._rng = part.space, part.rng
        self.order, self._states, self._costs = list(order), [start], []
        for vertex in order:
            cost, state = self._space.eliminate(self._states[-1], vertex)
            self._states.append(state)
            self._costs.append(cost)
        self.cost = sum(self._costs)

    def changes(self, trials: int) -> list[int]:
        """How much, up or down, some moves would change the cost."""
        found = []
        for _ in range(trials):
            k = self._rng.randrange(len(self.order))
            for trial in (self._later, self._earlier):
                found += [abs(step[0]) for step in trial(k, _REACH, math.inf)]
        return [change for change in found if change]

    def move(self, temperature: float) -> None:
        """Moves a vertex or a block of them, or leaves them where they are."""
        k, slack = self._rng.randrange(len(self.order)), 8 * temperature
        kind = self._rng.random()
        if kind < 0.1:
            self._exchange(k, temperature)
        elif kind < 0.55:
            steps = self._later(k, self._rng.randint(1, _REACH), slack)
            self._take_later(k, steps[: self._choose(steps, temperature)])
        else:
            steps = self._earlier(k, self._rng.randint(1, _REACH), slack)
            self._take_earlier(k, steps[: self._choose(steps, temperature)])

    def _choose(self, steps: list, temperature: float) -> int:
        """How many of the steps to take, none included (a heat bath)."""
        weights = [1.0]
        for step in steps:
            weights.append(math.exp(min(-step[0] / temperature, 50.0)))
        left = self._rng.random() * sum(weights)
        for count, weight in enumerate(weights):
            left -= weight
            if left <= 0:
                return count
        return 0

    def _later(self, k: int, reach: int, slack: float) -> list[_Step]:
        """The steps by which the vertex at `k` moves back, one place each."""
        eliminate, cost_of = self._space.eliminate, self._space.cost
        vertex, state, change = self.order[k], self._states[k], -self._costs[k]
        steps = []
        for t in range(k + 1, min(k + 1 + reach, len(self.order))):
            cost, state = eliminate(state, self.order[t])
            change += cost - self._costs[t]
            if change > slack:
                break
            own = cost_of(state, vertex)
            steps.append((change + own, self.order[t], cost, state, own))
        return steps

    def _take_later(self, k: int, steps: list[_Step]) -> None:
        vertex = self.order[k]
        for t, (change, other, cost, state, own) in enumerate(steps, k):
            self.order[t], self._costs[t], self._states[t + 1] = other, cost, state
            self.order[t + 1], self._costs[t + 1] = vertex, own
        self.cost += steps[-1][0] if steps else 0

    def _earlier(self, k: int, reach: int, slack: float) -> list[_Step]:
        """The steps by which the vertex at `k` moves ahead, one place each."""
        eliminate, cost_of = self._space.eliminate, self._space.cost
        vertex, change = self.order[k], -self._costs[k]
        steps = []
        for t in range(k - 1, max(k - 1 - reach, -1), -1):
            own, state = eliminate(self._states[t], vertex)
            cost = cost_of(state, self.order[t])
            change += cost - self._costs[t]
            if change > slack:
                break
            steps.append((change + own, self.order[t], cost, state, own))
        return steps

    def _take_earlier(self, k: int, steps: list[_Step]) -> None:
        vertex = self.order[k]
        for t, (change, other, cost, state, own) in zip(it.count(k, -1), steps):
            self.order[t], self._costs[t], self._states[t] = other, cost, state
            self.order[t - 1], self._costs[t - 1] = vertex, own
        self.cost += steps[-1][0] if steps else 0

    def _exchange(self, k: int, temperature: float) -> None:
        """Two neighbouring blocks, the first of which begins at `k`, change places."""
        middle = k + self._rng.randint(2, _BLOCK)
        end = min(middle + self._rng.randint(2, _BLOCK), len(self.order))
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
