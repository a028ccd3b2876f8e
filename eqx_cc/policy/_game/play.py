"""Playing a whole game by a policy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .game import EliminationGame, EliminationState, step
from .policy import AbstractPolicy


def best_vertex(logits: Float[Array, " n"]) -> Int[Array, ""]:
    """The vertex of the largest logit; the last of them, as the Markowitz rule has it
    where costs are equal."""
    last = logits.size - 1
    return (last - jnp.argmax(logits[::-1])).astype(jnp.int32)


def rollout(
    policy: AbstractPolicy,
    game: EliminationGame,
    state: EliminationState,
    key: PRNGKeyArray | None = None,
    temperature: float = 1.0,
) -> tuple[EliminationState, Int[Array, " n"]]:
    """Plays until no vertex remains.

    **Arguments:**

    - `policy`: the policy that chooses the moves.
    - `game`, `state`: the game, and the state to start from.
    - `key`: if there is one, then vertices are drawn at random, by their logits over
        the temperature; else that of the largest logit is taken.

    **Returns:** the last state, and the vertices in the order in which they were
    eliminated, followed by -1.

    !!! Example

        ```python
        game, state = eqx_cc.policy.new_game(graph)
        state, vertices = eqx_cc.policy.rollout(eqx_cc.policy.Markowitz(), game, state)
        state.total  # The cost of the order.
        ```
    """
    n = state.remaining.size

    def move(carry):
        state, order, count, key = carry
        logits, _ = policy(game, state)
        if key is None:
            vertex = best_vertex(logits)
        else:
            key, subkey = jr.split(key)
            vertex = jr.categorical(subkey, logits / temperature).astype(jnp.int32)
        state, _ = step(game, state, vertex)
        return state, order.at[count].set(vertex), count + 1, key

    start = state, jnp.full(n, -1, jnp.int32), jnp.zeros((), jnp.int32), key
    state, order, *_ = jax.lax.while_loop(lambda c: ~c[0].finished, move, start)
    return state, order
