"""Fine-tuning of a policy on the one graph that it is to play."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._graph.graph import ComputationalGraph
from .._orders.cost import AbstractCost, as_cost
from .._orders.search.base import AbstractSearch
from .._orders.state import space, total
from ._game.game import new_game, numbering, padded
from ._game.host import HostedGame
from ._game.play import rollout
from ._game.policy import AbstractPolicy
from ._ordering import hashable, HashablePolicy, PolicyOrdering
from ._search.shorten import shortened
from ._stored import Folder
from ._training.imitation import Imitation, learn, stack_lessons
from ._training.lessons import annealed, lessons_along
from ._training.train import Settings, start


class FineTuning(AbstractSearch):
    """Trains a copy of a policy on the graph that it is asked for: expert iteration.

    In every round, games are sampled from the policy. The policy then learns from the
    best order so far: from its moves, and from the extra cost of all other moves.
    `moves` anneals this order first. A graph with too many patterns for the game is
    played once, without training.

    **Arguments:**

    - `policy`: as for [`eqx_cc.policy.PolicyOrdering`][].
    - `seconds`, `seed`, `cost`: as for [`eqx_cc.Annealing`][].
    - `games`: number of games that are drawn in a round.
    - `moves`: of annealing in a round, for each vertex; none by default.
    - `steps`: of the optimiser in a round.
    - `rate`: the learning rate.

    !!! Example

        ```python
        search = eqx_cc.policy.FineTuning(eqx_cc.policy.pretrained())
        eqx_cc.optimise(fun, x, ordering=search, seconds=2)
        ```
    """

    seconds: float
    seed: int
    cost: AbstractCost
    policy: HashablePolicy = eqx.field(static=True)
    games: int = eqx.field(static=True)
    moves: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    rate: float = eqx.field(static=True)

    def __init__(
        self,
        policy: AbstractPolicy | HashablePolicy | Folder,
        seconds: float = 60.0,
        seed: int = 0,
        cost: str | AbstractCost = "multiplications",
        games: int = 16,
        moves: int = 0,
        steps: int = 8,
        rate: float = 1e-3,
    ):
        self.seconds, self.seed, self.cost = seconds, seed, as_cost(cost)
        self.policy, self.rate = hashable(policy), rate
        self.games, self.moves, self.steps = games, moves, steps
        if not (games >= 1 and moves >= 0 and steps >= 0):
            raise ValueError(
                "`games` must be at least 1, `moves` and `steps` not negative; got "
                f"{games}, {moves} and {steps}."
            )

    def _improve(self, part: Any) -> None:
        """Does nothing: all rounds are proposals."""

    def _proposals(self, graph: ComputationalGraph) -> Iterable[tuple[int, ...]]:
        deadline = time.monotonic() + self.seconds
        yield PolicyOrdering(self.policy, cost=self.cost)(graph)
        short = shortened(graph, self.cost)
        names = numbering(short.graph)
        for order in self._rounds(short.graph, deadline):
            yield *short.prefix, *(names[vertex] for vertex in order)

    def _rounds(
        self, graph: ComputationalGraph, deadline: float
    ) -> Iterator[tuple[int, ...]]:
        """The best order so far, by numbers in the game, after each round."""
        search_space, rng = space(graph, self.cost), random.Random(self.seed)
        state, inner, size = search_space.start, search_space.inner, padded(graph)
        with jax.ensure_compile_time_eval():
            try:
                game = new_game(graph, self.cost, size=size)
            except ValueError:  # There are too many patterns.
                return
            settings = Settings(rate=self.rate, seed=self.seed, cost=self.cost)
            imitation = Imitation(steps=self.steps, memory=4)
            training = start(self.policy.policy, settings)
        best, memory = ((), np.inf), []
        while len(inner) > 1:  # One round at least, as it has been compiled.
            with jax.ensure_compile_time_eval():
                key = jr.fold_in(jr.key(self.seed), training.iteration)
                keys = jr.split(key, self.games)
                best = min(best, _best(training.policy, *game, keys), key=_cost)
            if self.moves:
                order = annealed(search_space, state, inner, rng, self.moves, best[0])
                best = tuple(order), total(search_space, state, order)
            yield best[0]
            hosted = HostedGame(graph, search_space, size)
            lessons, _ = lessons_along(hosted, best[0], rng, len(best[0]))
            memory = [*memory, stack_lessons(lessons)][-imitation.memory :]
            with jax.ensure_compile_time_eval():
                training, _ = learn(imitation, training, settings, memory)
            if time.monotonic() > deadline:
                return


def _cost(candidate: tuple[tuple[int, ...], float]) -> float:
    return candidate[1]


def _best(policy, game, state, keys) -> tuple[tuple[int, ...], float]:
    """The cheapest of some games that are drawn at random, and its cost."""
    ends, orders = _drawn(policy, game, state, keys)
    cheapest = int(jnp.argmin(ends.total))
    order = tuple(int(v) for v in np.asarray(orders[cheapest]) if v >= 0)
    return order, float(ends.total[cheapest])


_drawn = eqx.filter_jit(eqx.filter_vmap(rollout, in_axes=(None, None, None, 0)))
