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
    mean_where,
    returns_to_go,
)


class Trajectory(eqx.Module):
    """What happened at one move of every game, or, with an axis in front, at all."""

    state: EliminationState
    vertex: Int[Array, "*t b"]
    log_probability: Float[Array, "*t b"]
    value: Float[Array, "*t b"]
    reward: Float[Array, "*t b"]
    playing: Bool[Array, "*t b"]


class PPO(AbstractAgent):
    r"""Proximal policy optimisation: games are played at random as the policy says, and
    moves that turned out better than expected are made likelier, but not by much.

    Rewards are not discounted. Advantages are $\sum_k \lambda^k \delta_{t+k}$ with
    $\delta_t = r_t + v_{t+1} - v_t$, divided by their standard deviation.

    **Arguments:**

    - `clip`: by how much the ratio of probabilities may differ from one.
    - `trace_decay`: $\lambda$.
    - `entropy`, `value`: weights of these losses.
    - `epochs`: how often each game is learnt from.
    - `parts`: into how many parts the moves of a batch are split, each a step of the
        optimiser.

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
            playing = ~jax.vmap(lambda state: state.finished)(states)
            logits = jnp.where(playing[:, None], logits, 0.0)
            vertex = jr.categorical(key, logits).astype(jnp.int32)
            after, reward = jax.vmap(step)(games, states, vertex)
            log_probability = _log_probability(logits, vertex)
            seen = Trajectory(states, vertex, log_probability, value, reward, playing)
            return after, seen

        states, seen = jax.lax.scan(move, states, jr.split(key, length))
        advantage = self._advantages(seen)
        scale = mean_where(advantage**2, seen.playing) ** 0.5 + 1e-6
        return states, (seen, advantage / scale, returns_to_go(seen.reward))

    def _advantages(self, seen: Trajectory) -> Float[Array, "t b"]:
        values = jnp.where(seen.playing, seen.value, 0.0)
        following = jnp.concatenate([values[1:], jnp.zeros_like(values[:1])])
        change = jnp.where(seen.playing, seen.reward + following - values, 0.0)

        def back(after, change):
            now = change + self.trace_decay * after
            return now, now

        return jax.lax.scan(back, jnp.zeros_like(change[0]), change, reverse=True)[1]

    def loss(
        self, policy: AbstractPolicy, games: EliminationGame, lesson: Any
    ) -> tuple[Float[Array, ""], Losses]:
        seen, advantage, target = lesson
        logits, value = answers(policy, games, seen.state)
        logits = jnp.where(seen.playing[..., None], logits, 0.0)
        ratio = jnp.exp(_log_probability(logits, seen.vertex) - seen.log_probability)
        clipped = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        gain = jnp.minimum(ratio * advantage, clipped * advantage)
        policy_loss = -mean_where(gain, seen.playing)
        value_loss = mean_where((value - target) ** 2, seen.playing)
        entropy = mean_where(entropies(logits), seen.playing)
        total = policy_loss + self.value * value_loss - self.entropy * entropy
        return total, Losses(policy_loss, value_loss, entropy)


def _log_probability(
    logits: Float[Array, "*t n"], vertex: Int[Array, "*t"]
) -> Float[Array, "*t"]:
    logs = log_probabilities(logits)
    return jnp.take_along_axis(logs, vertex[..., None], -1)[..., 0]
