"""Policies as orderings, and as the beginning of a search."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._cost import AbstractCost, as_cost
from .._graph import ComputationalGraph
from .._ordering import AbstractOrdering
from .._search import AbstractSearch, Annealing
from ._game import EliminationGame, EliminationState, new_game, numbering
from ._host import hosted_rollout
from ._play import rollout
from ._policy import AbstractPolicy
from ._tree import searched_rollout


class _Held:
    """A policy as a setting that has a hash: it is itself alone, and no tree of arrays,
    as settings of a transform must not be."""

    def __init__(self, policy: AbstractPolicy):
        self.policy = policy

    def __hash__(self) -> int:
        return id(self.policy)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Held) and other.policy is self.policy

    def __repr__(self) -> str:
        return type(self.policy).__name__


def _held(policy: AbstractPolicy | _Held) -> _Held:
    return policy if isinstance(policy, _Held) else _Held(policy)


class PolicyOrdering(AbstractOrdering):
    """Eliminates as a policy says.

    A graph that has too many patterns for the game is played move by move, outside of
    JAX, once and without simulations.

    **Arguments:**

    - `policy`: an [`eqx_cc.policy.AbstractPolicy`][].
    - `num_simulations`: eliminations that are tried before each move, by tree search;
        none by default. Needs mctx.
    - `beam`: how many games are played: the first takes the vertices of the largest
        logits, in the others they are drawn at random. The cheapest is what counts.
    - `cost`: the cost model, or its name.
    - `seed`: of the random choices.
    """

    policy: _Held = eqx.field(converter=_held, static=True)
    num_simulations: int = eqx.field(static=True, default=0)
    beam: int = eqx.field(static=True, default=1)
    cost: AbstractCost = eqx.field(converter=as_cost, default="multiplications")
    seed: int = eqx.field(static=True, default=0)

    def __check_init__(self):
        if self.num_simulations < 0 or self.beam < 1:
            raise ValueError(
                "`num_simulations` must not be negative and `beam` at least 1; got "
                f"{self.num_simulations} and {self.beam}."
            )

    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        return _played(self, graph)


class PolicyAnnealing(AbstractSearch):
    """Simulated annealing that begins with what a policy proposes.

    **Arguments:**

    - `policy`: an [`eqx_cc.policy.AbstractPolicy`][].
    - `seconds`, `seed`, `cost`: as for [`eqx_cc.Annealing`][].
    - `num_simulations`, `beam`: as for [`eqx_cc.policy.PolicyOrdering`][].
    """

    seconds: float
    seed: int
    cost: AbstractCost
    policy: _Held = eqx.field(static=True)
    num_simulations: int = eqx.field(static=True)
    beam: int = eqx.field(static=True)

    def __init__(
        self,
        policy: AbstractPolicy | _Held,
        seconds: float = 10.0,
        seed: int = 0,
        cost: str | AbstractCost = "multiplications",
        num_simulations: int = 0,
        beam: int = 1,
    ):
        self.seconds, self.seed, self.cost = seconds, seed, as_cost(cost)
        self.policy = _held(policy)
        self.num_simulations, self.beam = num_simulations, beam

    def _proposals(self, graph: ComputationalGraph) -> Iterable[tuple[int, ...]]:
        yield self._ordering(graph)

    def _improve(self, part) -> None:
        Annealing(self.seconds, self.seed, self.cost)._improve(part)

    @property
    def _ordering(self) -> PolicyOrdering:
        settings = self.num_simulations, self.beam, self.cost, self.seed
        return PolicyOrdering(self.policy, *settings)


@lru_cache(maxsize=256)
def _played(ordering: PolicyOrdering, graph: ComputationalGraph) -> tuple[int, ...]:
    # A trace may be under way, of which this is no part.
    with jax.ensure_compile_time_eval():
        moves = _moves(ordering, graph)
    names = numbering(graph)
    return tuple(names[vertex] for vertex in moves)


def _moves(ordering: PolicyOrdering, graph: ComputationalGraph) -> list[int]:
    size = _padded(len(numbering(graph)))
    try:
        made = new_game(graph, ordering.cost, size=size)
    except ValueError:  # There are too many patterns.
        return hosted_rollout(ordering.policy.policy, graph, ordering.cost, size)
    return _play(ordering, *made)


def _padded(size: int) -> int:
    """The next of a few sizes, as what is compiled is compiled for each."""
    steps = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
    return next((step for step in steps if step >= size), -(-size // 256) * 256)


def _play(
    ordering: PolicyOrdering, game: EliminationGame, state: EliminationState
) -> list[int]:
    """The moves of the cheapest game."""
    policy = ordering.policy.policy
    if ordering.num_simulations:
        found = _search(policy, game, state, ordering.num_simulations)
    else:
        found = _rollout(policy, game, state, None)
    if ordering.beam > 1:
        keys = jr.split(jr.key(ordering.seed), ordering.beam - 1)
        drawn = _rollouts(policy, game, state, keys)
        best = int(jnp.argmin(drawn[0].total))
        if drawn[0].total[best] < found[0].total:
            found = drawn[0], drawn[1][best]
    return [int(vertex) for vertex in np.asarray(found[1]) if vertex >= 0]


_rollout = eqx.filter_jit(rollout)
_rollouts = eqx.filter_jit(eqx.filter_vmap(rollout, in_axes=(None, None, None, 0)))
_search = eqx.filter_jit(searched_rollout)
