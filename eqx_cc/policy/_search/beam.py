"""Beam search among the games that a policy finds least surprising."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._game.game import EliminationGame, EliminationState, step
from .._game.policy import AbstractPolicy


_BRANCHING = 4  # Moves of each game that are tried: those of largest logits.


class _Beam(eqx.Module):
    """Games that are as far as each other, the first the most promising."""

    state: EliminationState
    logits: Float[Array, "b n"]
    dearer: Float[Array, " b"]  # Expected extra cost; infinite where there is no game.
    order: Int[Array, "b n"]


def beam_rollout(
    policy: AbstractPolicy, game: EliminationGame, state: EliminationState, width: int
) -> tuple[EliminationState, Int[Array, " n"]]:
    """As `rollout`, of the cheapest of `width` games: after every move, those are kept
    for which what was paid and what the policy believes is left to pay are least. Of
    games that come to the same state, the cheaper one is kept. One of the games is that
    of the largest logits."""
    n = state.remaining.size

    def many(tree):
        return jax.tree.map(
            lambda x: jnp.broadcast_to(x[None], (width, *x.shape)), tree
        )

    def move(carry):
        beam, count = carry
        return _advanced(policy, game, beam, count), count + 1

    first = policy(game, state)[0]
    dearer = jnp.where(jnp.arange(width) > 0, jnp.inf, 0.0).astype(jnp.float32)
    order = jnp.full(n, -1, jnp.int32)
    start = _Beam(many(state), many(first), dearer, many(order))
    count = jnp.zeros((), jnp.int32)
    beam, _ = jax.lax.while_loop(
        lambda carry: jnp.any(carry[0].state.remaining[0]), move, (start, count)
    )
    total = jnp.where(jnp.isfinite(beam.dearer), beam.state.total, jnp.inf)
    best = jnp.argmin(total)
    return jax.tree.map(lambda x: x[best], beam.state), beam.order[best]


def _advanced(
    policy: AbstractPolicy, game: EliminationGame, beam: _Beam, count: Int[Array, ""]
) -> _Beam:
    """The beam after one more move of every game."""
    width, n = beam.order.shape
    branching = min(_BRANCHING, n)
    # The last of equal ones first, as the Markowitz rule has it.
    logits, reverse = jax.lax.top_k(beam.logits[:, ::-1], branching)
    vertices = (n - 1 - reverse).astype(jnp.int32).ravel()
    parent = jnp.repeat(jnp.arange(width), branching)
    before = jax.tree.map(lambda x: x[parent], beam.state)
    states, _ = jax.vmap(step, (None, 0, 0))(game, before, vertices)
    answers, value = jax.vmap(policy, (None, 0))(game, states)
    legal = jnp.isfinite(logits.ravel()) & jnp.isfinite(beam.dearer[parent])
    paid = (states.total / game.baseline).astype(jnp.float32)
    dearer = jnp.where(legal, paid - value, jnp.inf)
    dearer = jnp.where(_repeated(states, dearer), jnp.inf, dearer)
    # The game of the largest logits comes first and stays, whatever its value is.
    rank = dearer.at[0].set(-jnp.inf)
    _, kept = jax.lax.top_k(-rank, width)
    order = beam.order[parent[kept]].at[:, count].set(vertices[kept])
    chosen = jax.tree.map(lambda x: x[kept], states)
    return _Beam(chosen, answers[kept], dearer[kept].at[0].set(0.0), order)


def _repeated(
    states: EliminationState, dearer: Float[Array, " b"]
) -> Bool[Array, " b"]:
    """True where a better game, or an equal one before it, comes to the same state.
    (A state depends on the set of eliminated vertices, not on their order.)"""
    remaining = states.remaining
    same = jnp.all(remaining[:, None] == remaining[None], -1)
    number = jnp.arange(dearer.size)
    better = states.total[None] < states.total[:, None]
    equal = states.total[None] == states.total[:, None]
    first = better | (equal & (number[None] < number[:, None]))
    return jnp.any(same & first & jnp.isfinite(dearer)[None], 1)
