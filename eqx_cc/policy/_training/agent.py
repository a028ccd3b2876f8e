"""The base of agents, which play batches of games and learn from them."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._game.game import EliminationGame, EliminationState
from .._game.policy import AbstractPolicy


class Losses(NamedTuple):
    """Losses of the policy and of its value; the entropy of its choices."""

    policy: Float[Array, ""]
    value: Float[Array, ""]
    entropy: Float[Array, ""]


class AbstractAgent(eqx.Module):
    """A way to train policies.

    A *lesson* has the data of each move of a batch of games: a PyTree of arrays whose
    first axis is that of the moves.

    !!! Example

        ```python
        agent, policy = eqx_cc.policy.PPO(), eqx_cc.policy.Markowitz()
        games, states = eqx_cc.policy.new_games([graph, graph])
        states, lesson = agent.play(policy, games, states, jr.key(0), length=3)
        loss, _ = agent.loss(policy, games, lesson)
        ```
    """

    epochs: eqx.AbstractVar[int]
    parts: eqx.AbstractVar[int]

    @abc.abstractmethod
    def play(
        self,
        policy: AbstractPolicy,
        games: EliminationGame,
        states: EliminationState,
        key: PRNGKeyArray,
        length: int,
    ) -> tuple[EliminationState, Any]:
        """Plays a batch of games to the end, of at most `length` moves. Returns the
        last states, and the lesson."""

    @abc.abstractmethod
    def loss(
        self, policy: AbstractPolicy, games: EliminationGame, lesson: Any
    ) -> tuple[Float[Array, ""], Losses]:
        """The loss of a policy on some of the moves of a lesson."""


def answers(
    policy: AbstractPolicy, games: EliminationGame, states: EliminationState
) -> tuple[Float[Array, "t b n"], Float[Array, "t b"]]:
    """Logits and values of a policy, at every move of a batch of games."""
    return jax.vmap(jax.vmap(policy), (None, 0))(games, states)


def returns_to_go(rewards: Float[Array, "t b"]) -> Float[Array, "t b"]:
    """The sums of all rewards from each move on."""
    return jnp.cumsum(rewards[::-1], 0)[::-1]


def log_probabilities(logits: Float[Array, "*t n"]) -> Float[Array, "*t n"]:
    """Logarithms of the probabilities of all vertices; finite, as the gradient of minus
    infinity is not a number."""
    return jax.nn.log_softmax(jnp.maximum(logits, -1e9))


def entropies(logits: Float[Array, "*t n"]) -> Float[Array, "*t"]:
    """Entropies of the choices of a policy."""
    logs = log_probabilities(logits)
    return -jnp.sum(jnp.exp(logs) * logs, -1)


def mean_where(x: Float[Array, "*t"], mask: Bool[Array, "*t"]) -> Float[Array, ""]:
    """The mean where the mask is true; zero if it is nowhere."""
    weights = mask.astype(x.dtype)
    return jnp.sum(x * weights) / jnp.maximum(jnp.sum(weights), 1.0)


def mean_losses(
    terms: tuple[Float[Array, "t b"], ...], playing: Bool[Array, "t b"]
) -> Losses:
    """Means of the terms of all losses over the moves of games that are not over."""
    return Losses(*(mean_where(term, playing) for term in terms))


def parts_of(lesson: Any, count: int, key: PRNGKeyArray) -> Any:
    """The moves of a lesson in random order, in so many parts; what is left over is
    left out."""

    def split(leaf):
        size = order.size // count
        return leaf[order[: size * count]].reshape(count, size, *leaf.shape[1:])

    length = jax.tree.leaves(lesson)[0].shape[0]
    order = jax.random.permutation(key, length)
    return jax.tree.map(split, lesson)
