"""Simulated annealing over elimination orders, and the randomised Markowitz rule.

Searches are in plain Python. Adjacency is bits of Python's integers, and a move needs
only the eliminations between its two ends. Each of these gives the cost of one more
position for the vertex: about 17 microseconds for up to ten positions (RoeFlux_1d, one
core). A batch of chains in XLA, with adjacency as packed bits too, took 15 microseconds
for each whole order, and 0.2 seconds to compile.
"""

from __future__ import annotations

import itertools as it
import random
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ..chain import Chain
from ..orderings import greedy
from ..rule.game import Opening
from ..rule.weights import packaged_weights, RuleWeights
from .component import Part


_WINDOW = 1000  # Longer orders are annealed in windows of this size, to save memory.
_MOVES = 500  # Moves for each vertex in the first cycle,
_GROWTH = 1.5  # how many more the next cycle has,
_MAX_MOVES = 5000.0  # and where that ends.
_GAMES = 0.4  # The share of the time for games of the rule, at most,
_PATIENCE = 32  # which end after so many that were no better.


def anneal(part: Part, guided: bool = True) -> None:
    """Anneals the order of a part, in cycles, until the part is finished.

    The cycles start from orders of the learned rule too if it is `guided`, else from
    those of forward, reverse and Markowitz alone.
    """
    starts = _guided_starts(part) if guided else _plain_starts(part)
    for (order, heat), cycle in zip(starts, it.count()):
        moves = min(_MOVES * _GROWTH**cycle, _MAX_MOVES)
        for begin in range(0, len(order), _WINDOW):
            if part.finished:
                return
            order = cool(part, list(order), begin, moves, heat)


# Orders to start from, with the share of the highest temperature.
_Starts: TypeAlias = Iterator[tuple[Sequence[int], float]]


def _guided_starts(part: Part) -> _Starts:
    """The first cycle is a cool one: a good order is not to be melted at once. The best
    order takes turns with others, as no start is good for all graphs."""
    opening = Opening(part.space, part.start, part.vertices)
    with part.within(_GAMES):
        play(part, opening)
    yield part.order, 0.3
    markowitz = greedy(part.space, part.start, part.vertices)
    simple = markowitz, part.vertices, part.vertices[::-1]
    drawn = iter(lambda: _drawn_game(part, opening), None)
    for order in it.chain(simple, drawn):
        yield order, 1.0
        yield part.order, 1.0


def _plain_starts(part: Part) -> _Starts:
    with part.within(0.02, max_seconds=0.3):
        blurred_greedy(part)
    yield part.order, 1.0
    yield part.vertices, 1.0
    yield part.vertices[::-1], 1.0
    rng = part.rng
    while True:
        random_ties = greedy(
            part.space, part.start, part.vertices, lambda v: rng.random()
        )
        yield random_ties, 1.0
        yield part.order, 1.0


def play(part: Part, opening: Opening) -> None:
    """Offers games of the learned rule with noisy weights, until the part is finished,
    or many of them were no better."""
    for weights in packaged_weights(len(part.vertices)):
        part.offer(opening.play(weights)[0])
    since = 0
    while since < _PATIENCE and not part.finished:
        cost = part.cost
        part.offer(_drawn_game(part, opening))
        since = 0 if part.cost < cost else since + 1


def _drawn_game(part: Part, opening: Opening) -> tuple[int, ...]:
    """The order of a game with noise on the weights."""
    return opening.play(drawn_weights(part.rng, len(part.vertices)))[0]


def drawn_weights(rng: random.Random, num_vertices: int) -> RuleWeights:
    """Weights of the rule with noise, of a strength that is drawn as well."""
    spread = 10 ** rng.uniform(-1.0, 0.2)
    weights = rng.choice(packaged_weights(num_vertices))
    return RuleWeights(*(w * (1 + spread * rng.gauss(0.0, 1.0)) for w in weights))


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


def cool(
    part: Part, order: list[int], begin: int, moves: float, heat: float = 1.0
) -> list[int]:
    """A cycle of annealing, of `moves` for each vertex or until the deadline.

    Moves the vertices of the window at `begin`. It begins at a share `heat` of the
    highest temperature. Returns the best order of the cycle.
    """
    state, window = part.start, slice(begin, begin + _WINDOW)
    for vertex in order[:begin]:
        state = part.space.eliminate(state, vertex)[1]
    chain = Chain(part.space, part.rng, state, order[window])
    hot, cold = chain.temperatures()
    hot = max(heat * hot, cold)
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
