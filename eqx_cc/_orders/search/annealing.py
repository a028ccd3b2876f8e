"""Simulated annealing over elimination orders, and the randomised Markowitz rule.

Searches are in plain Python. Adjacency is bits of Python's integers, and a move needs
only the eliminations between its two ends. Each of these gives the cost of one more
position for the vertex: about 17 microseconds for up to ten positions (RoeFlux_1d, one
core). A batch of chains in XLA, with adjacency as packed bits too, took 15 microseconds
for each whole order, and 0.2 seconds to compile.
"""

from __future__ import annotations

import itertools as it
import math
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ..orderings import greedy
from ..state import State
from .component import Part


_MAX_STEPS = 10  # Positions that a vertex moves by, at most.
_WINDOW = 1000  # Longer orders are annealed in windows of this size, to save memory.
_MAX_BLOCK = 6  # Vertices that move together, at most.
_MOVES = 500  # Moves for each vertex in the first cycle,
_GROWTH = 1.5  # how many more the next cycle has,
_MAX_MOVES = 5000  # and where that ends.

# A vertex $v$ moves past a vertex $w$: the change of the total cost if $v$ stops here,
# $w$, the new cost of $w$, the state after $w$ (before it, if $v$ moves ahead), and the
# new cost of $v$.
_Step: TypeAlias = tuple[int, int, int, State, int]


def anneal(part: Part) -> None:
    """Anneals the order of a part, in cycles, until the part is finished."""
    for order, cycle in zip(_starts(part), it.count()):
        moves = min(_MOVES * _GROWTH**cycle, _MAX_MOVES)
        for begin in range(0, len(order), _WINDOW):
            if part.finished:
                return
            order = cool(part, list(order), begin, moves)


def _starts(part: Part) -> Iterator[Sequence[int]]:
    with part.within(0.02, max_seconds=0.3):
        blurred_greedy(part)
    yield part.order
    yield part.vertices
    yield part.vertices[::-1]
    rng = part.rng
    while True:
        yield greedy(part.space, part.start, part.vertices, lambda v: rng.random())
        yield part.order


def blurred_greedy(part: Part, noise: float = 0.5) -> None:
    """Offers greedy orders until the part is finished: first with ties broken in
    several ways, then with costs blurred at random as well."""
    space, rng = part.space, part.rng

    def degree(vertex: int) -> int:
        before = space.predecessors(part.start, vertex)
        return len([*before, *space.successors(part.start, vertex)])

    ties = (lambda v: v, degree, lambda v: -degree(v), lambda v: rng.random())
    for tie in ties:
        if part.finished:
            return
        part.offer(greedy(space, part.start, part.vertices, tie))
    while not part.finished:
        tie, width = rng.choice(ties), noise * rng.random()
        blur = lambda width=width: 1 + width * rng.random()  # noqa: E731
        part.offer(greedy(space, part.start, part.vertices, tie, blur))


def cool(part: Part, order: list[int], begin: int, moves: float) -> list[int]:
    """A cycle of annealing, of `moves` for each vertex or until the deadline.

    Moves the vertices of the window at `begin`. Returns the best order of the cycle.
    """
    state, window = part.start, slice(begin, begin + _WINDOW)
    for vertex in order[:begin]:
        state = part.space.eliminate(state, vertex)[1]
    chain = _Chain(part, state, order[window])
    hot, cold = _temperatures(chain)
    best, offered, started = chain.cost, chain.cost, time.monotonic()
    num_moves = int(moves * len(chain.order))
    try:
        for count in range(num_moves):
            if count % 64 == 0:
                # For a longer order this would take more time than the moves.
                if best < offered and len(order) <= _WINDOW:
                    offered = best
                    part.offer(order)
                if part.finished:
                    break
                elapsed = (time.monotonic() - started) / (part.deadline - started)
                temperature = hot * (cold / hot) ** max(count / num_moves, elapsed)
            chain.move(temperature)
            if chain.cost < best:
                best, order[window] = chain.cost, chain.order
    finally:
        part.offer(order)
    return order


def _temperatures(chain: _Chain) -> tuple[float, float]:
    """The first and last temperature, by the size of the changes that moves make."""
    sizes = sorted(chain.changes(100))
    if not sizes:
        return 1.0, 1.0
    return 0.27 * sizes[len(sizes) // 2], 0.2 * sizes[len(sizes) // 10]


class _Chain:
    """An order with the cost of each elimination and the state before it.

    The state after a set of vertices has been eliminated does not depend on their
    order, so that a move needs only the eliminations between its two ends. With the
    order $a, b, c, d$, moving $a$ behind $c$ eliminates $b$ and $c$ anew, and the state
    before $d$ stays.
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
