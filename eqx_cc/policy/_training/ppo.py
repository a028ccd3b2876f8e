"""Proximal policy optimisation of a policy, on batches of graphs."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from .._game.game import EliminationGame, EliminationState, step
from .._game.policy import AbstractPolicy
from .agent import (
    AbstractAgent,
    answers,
    entropies,
    log_probabilities,
    Losses,
    mean_losses,
    mean_where,
    returns_to_go,
)


class Trajectory(eqx.Module):
    """A move of each game of a batch, or, with an axis in front, all moves."""

    state: EliminationState
    vertex: Int[Array, "*t b"]
    log_probability: Float[Array, "*t b"]
    value: Float[Array, "*t b"]
    reward: Float[Array, "*t b"]
    playing: Bool[Array, "*t b"]


class PPO(AbstractAgent):
    r"""Proximal policy optimisation: games are sampled from the policy, and moves that
    turned out better than expected are made a little more likely.

    Rewards are not discounted. Advantages are $\sum_k \lambda^k \delta_{t+k}$ with
    $\delta_t = r_t + v_{t+1} - v_t$, divided by their standard deviation.

    **Arguments:**

    - `clip`: the largest distance of a ratio of probabilities from one that counts.
    - `trace_decay`: $\lambda$.
    - `entropy`, `value`: weights of these losses.
    - `epochs`: number of times that each game is learnt from.
    - `parts`: number of parts that the moves of a batch are split into, each a step of
        the optimiser.

    !!! Example

        ```python
        policy = eqx_cc.policy.Markowitz()
        settings = eqx_cc.policy.Settings(batch=4, largest=12)
        training = eqx_cc.policy.start(policy, settings)
        iterations = eqx_cc.policy.train(eqx_cc.policy.PPO(), training, settings)
        ```

    ??? cite "Reference"

        J. Schulman, F. Wolski, P. Dhariwal, A. Radford and O. Klimov, *Proximal Policy
        Optimization Algorithms*, arXiv:1707.06347, 2017.
    """

    clip: float = 0.2
    trace_decay: float = 0.95
    entropy: float = 0.003
    value: float = 0.5
    epochs: int = 2
    parts: int = 4

    def play(
        self,
        policy: AbstractPolicy,
        games: EliminationGame,
        states: EliminationState,
        key: PRNGKeyArray,
        length: int,
    ) -> tuple[EliminationState, Any]:
        def move(states, key):
            logits, value = jax.vmap(policy)(games, states)
            # Where a game is over, any vertex will do: moves have no effect.
            playing = jnp.any(states.remaining, -1)
            logits = jnp.where(playing[:, None], logits, 0.0)
            vertex = jr.categorical(key, logits).astype(jnp.int32)
            after, reward = jax.vmap(step)(games, states, vertex)
            log = _log_probability(logits, vertex)
            return after, Trajectory(states, vertex, log, value, reward, playing)

        states, trajectory = jax.lax.scan(move, states, jr.split(key, length))
        advantage = self._advantages(trajectory)
        scale = mean_where(advantage**2, trajectory.playing) ** 0.5 + 1e-6
        return states, (trajectory, advantage / scale, returns_to_go(trajectory.reward))

    def _advantages(self, trajectory: Trajectory) -> Float[Array, "t b"]:
        values = jnp.where(trajectory.playing, trajectory.value, 0.0)
        following = jnp.concatenate([values[1:], jnp.zeros_like(values[:1])])
        change = jnp.where(
            trajectory.playing, trajectory.reward + following - values, 0.0
        )

        def back(after, change):
            now = change + self.trace_decay * after
            return now, now

        return jax.lax.scan(back, jnp.zeros_like(change[0]), change, reverse=True)[1]

    def loss(
        self, policy: AbstractPolicy, games: EliminationGame, lesson: Any
    ) -> tuple[Float[Array, ""], Losses]:
        trajectory, advantage, target = lesson
        logits, value = answers(policy, games, trajectory.state)
        logits = jnp.where(trajectory.playing[..., None], logits, 0.0)
        ratio = jnp.exp(
            _log_probability(logits, trajectory.vertex) - trajectory.log_probability
        )
        clipped = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        gain = jnp.minimum(ratio * advantage, clipped * advantage)
        terms = -gain, (value - target) ** 2, entropies(logits)
        losses = mean_losses(terms, trajectory.playing)
        total = losses.policy + self.value * losses.value
        return total - self.entropy * losses.entropy, losses


def _log_probability(
    logits: Float[Array, "*t n"], vertex: Int[Array, "*t"]
) -> Float[Array, "*t"]:
    logs = log_probabilities(logits)
    return jnp.take_along_axis(logs, vertex[..., None], -1)[..., 0]
