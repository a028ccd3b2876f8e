"""Tree search: Gumbel MuZero with the true game for its dynamics."""

from __future__ import annotations

import importlib.util
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._game.game import EliminationGame, EliminationState, step
from .._game.play import rollout
from .._game.policy import AbstractPolicy


def look_ahead(
    policy: AbstractPolicy,
    games: EliminationGame,
    states: EliminationState,
    key: PRNGKeyArray,
    num_simulations: int,
    gumbel_scale: float = 1.0,
) -> tuple[Int[Array, " b"], Float[Array, "b n"]]:
    """The next vertex of each game of a batch, and improved weights of all vertices.

    **Arguments:**

    - `policy`: its logits guide the search, its value stands for what lies beyond.
    - `games`, `states`: a batch, as `new_games` makes it.
    - `key`: of the random choices of vertices to try.
    - `num_simulations`: number of eliminations that are tried.
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
        output = mctx.RecurrentFnOutput(
            reward=rewards,
            discount=discount.astype(jnp.float32),
            prior_logits=logits,
            value=values,
        )
        return output, states

    logits, values = _evaluated(policy, games, states)
    root = mctx.RootFnOutput(prior_logits=logits, value=values, embedding=states)
    with jax.numpy_dtype_promotion("standard"):  # Mctx relies on it.
        output = mctx.gumbel_muzero_policy(
            games,
            key,
            root,
            after,
            num_simulations,
            invalid_actions=~states.remaining,
            gumbel_scale=gumbel_scale,
        )
    return output.action.astype(jnp.int32), output.action_weights


class _Searched(AbstractPolicy):
    """The choice of a tree search without randomness, as logits."""

    policy: AbstractPolicy
    num_simulations: int = eqx.field(static=True)

    def __call__(
        self, game: EliminationGame, state: EliminationState
    ) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        games, states = jax.tree.map(lambda leaf: leaf[None], (game, state))
        [vertex], _ = look_ahead(
            self.policy,
            games,
            states,
            jr.key(0),
            self.num_simulations,
            gumbel_scale=0.0,
        )
        chosen = jnp.arange(state.remaining.size, dtype=jnp.int32) == vertex
        return jnp.where(chosen, 0.0, -jnp.inf), jnp.zeros(())


def searched_rollout(
    policy: AbstractPolicy,
    game: EliminationGame,
    state: EliminationState,
    num_simulations: int,
) -> tuple[EliminationState, Int[Array, " n"]]:
    """As `rollout`, with a tree search before each move."""
    return rollout(_Searched(policy, num_simulations), game, state)


def _evaluated(
    policy: AbstractPolicy, games: EliminationGame, states: EliminationState
) -> tuple[Float[Array, "b n"], Float[Array, " b"]]:
    """With logits that are finite, as minus infinity for all is not a number later."""
    logits, values = jax.vmap(policy)(games, states)
    return jnp.maximum(logits, -1e9), values


def _mctx() -> Any:
    import mctx

    return mctx


def check_mctx(name: str) -> None:
    """Raises an `ImportError` if mctx is not installed."""
    if importlib.util.find_spec("mctx") is None:
        raise ImportError(
            f"`{name}` searches a tree with mctx, which is not installed: "
            '`python -m pip install "eqx_cc[policy]"`.'
        )
