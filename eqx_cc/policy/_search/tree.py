"""Tree search: Gumbel MuZero with the true game for its dynamics."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._game.game import EliminationGame, EliminationState, step
from .._game.policy import AbstractPolicy


def look_ahead(
    policy: AbstractPolicy,
    games: EliminationGame,
    states: EliminationState,
    key: PRNGKeyArray,
    num_simulations: int,
    gumbel_scale: float = 1.0,
) -> tuple[Int[Array, " b"], Float[Array, "b n"]]:
    """The next vertex of every game of a batch, and how good each vertex looked.

    **Arguments:**

    - `policy`: says where to look, and what is left to pay where the looking ends.
    - `games`, `states`: a batch, as `new_games` makes it.
    - `key`: of the random choices of vertices to try.
    - `num_simulations`: how many eliminations are tried.
    - `gumbel_scale`: 0 for no random choice.

    **Returns:** vertices; and weights to train a policy with, which sum to one. Needs
    mctx.

    ??? cite "Reference"

        I. Danihelka, A. Guez, J. Schrittwieser and D. Silver, *Policy improvement by
        planning with Gumbel*, International Conference on Learning Representations,
        2022.
    """
    mctx = _mctx()

    def after(games, key, vertices, states):
        states, rewards = jax.vmap(step)(games, states, vertices)
        logits, values = _evaluated(policy, games, states)
        discount = jnp.where(jax.vmap(lambda s: s.finished)(states), 0.0, 1.0)
        made = mctx.RecurrentFnOutput(
            reward=rewards,
            discount=discount.astype(jnp.float32),
            prior_logits=logits,
            value=values,
        )
        return made, states

    logits, values = _evaluated(policy, games, states)
    root = mctx.RootFnOutput(prior_logits=logits, value=values, embedding=states)
    with jax.numpy_dtype_promotion("standard"):  # Mctx relies on it.
        found = mctx.gumbel_muzero_policy(
            games,
            key,
            root,
            after,
            num_simulations,
            invalid_actions=~states.remaining,
            gumbel_scale=gumbel_scale,
        )
    return found.action.astype(jnp.int32), found.action_weights


def searched_rollout(
    policy: AbstractPolicy,
    game: EliminationGame,
    state: EliminationState,
    num_simulations: int,
) -> tuple[EliminationState, Int[Array, " n"]]:
    """As `rollout`, with a tree search before every move."""
    batch = lambda tree: jax.tree.map(lambda leaf: leaf[None], tree)  # noqa: E731
    games, n = batch(game), state.remaining.size

    def move(carry):
        states, order, count, key = carry
        key, own = jr.split(key)
        vertices, _ = look_ahead(policy, games, states, own, num_simulations, 0.0)
        states, _ = jax.vmap(step)(games, states, vertices)
        return states, order.at[count].set(vertices[0]), count + 1, key

    count = jnp.zeros((), jnp.int32)
    start = batch(state), jnp.full(n, -1, jnp.int32), count, jr.key(0)
    states, order, *_ = jax.lax.while_loop(
        lambda carry: jnp.any(carry[0].remaining), move, start
    )
    return jax.tree.map(lambda leaf: leaf[0], states), order


def _evaluated(
    policy: AbstractPolicy, games: EliminationGame, states: EliminationState
) -> tuple[Float[Array, "b n"], Float[Array, " b"]]:
    """With logits that are finite, as minus infinity for all is not a number later."""
    logits, values = jax.vmap(policy)(games, states)
    return jnp.maximum(logits, -1e9), values


def _mctx() -> Any:
    try:
        import mctx
    except ImportError as error:
        raise ImportError(
            "Tree search needs mctx: `pip install eqx_cc[policy]`."
        ) from error
    return mctx
