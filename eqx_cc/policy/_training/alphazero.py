"""Gumbel AlphaZero: a policy learns the choices of a tree search with it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._game.game import EliminationGame, EliminationState, step
from .._game.policy import AbstractPolicy
from .._search.tree import check_mctx, look_ahead
from .agent import (
    AbstractAgent,
    answers,
    entropies,
    log_probabilities,
    Losses,
    mean_losses,
    returns_to_go,
)


class AlphaZero(AbstractAgent):
    """Gumbel AlphaZero with the true dynamics: games are played by tree search, and the
    policy is trained to predict the result of the search. It needs the extra `policy`.

    **Arguments:**

    - `num_simulations`: number of eliminations that are tried before each move.
    - `value`: the weight of the loss of the value.
    - `epochs`, `parts`: as for [`eqx_cc.policy.PPO`][].

    !!! Example

        ```python
        agent = eqx_cc.policy.AlphaZero(num_simulations=8)
        ```

    ??? cite "References"

        D. Silver et al., *A general reinforcement learning algorithm that masters
        chess, shogi, and Go through self-play*, Science 362, 2018.

        I. Danihelka, A. Guez, J. Schrittwieser and D. Silver, *Policy improvement by
        planning with Gumbel*, International Conference on Learning Representations,
        2022.
    """

    num_simulations: int = 16
    value: float = 0.5
    epochs: int = 1
    parts: int = 4

    def __check_init__(self):
        check_mctx("AlphaZero")

    def play(
        self,
        policy: AbstractPolicy,
        games: EliminationGame,
        states: EliminationState,
        key: PRNGKeyArray,
        length: int,
    ) -> tuple[EliminationState, Any]:
        def move(states, key):
            vertices, weights = look_ahead(
                policy, games, states, key, self.num_simulations
            )
            after, reward = jax.vmap(step)(games, states, vertices)
            playing = jnp.any(states.remaining, -1)
            return after, (states, weights, reward, playing)

        states, moves = jax.lax.scan(move, states, jr.split(key, length))
        before, weights, rewards, playing = moves
        return states, (before, weights, returns_to_go(rewards), playing)

    def loss(
        self, policy: AbstractPolicy, games: EliminationGame, lesson: Any
    ) -> tuple[Float[Array, ""], Losses]:
        states, weights, target, playing = lesson
        logits, value = answers(policy, games, states)
        logs = log_probabilities(logits)
        surprise = -jnp.sum(jnp.where(weights > 0, weights * logs, 0.0), -1)
        terms = surprise, (value - target) ** 2, entropies(logits)
        losses = mean_losses(terms, playing)
        return losses.policy + self.value * losses.value, losses
