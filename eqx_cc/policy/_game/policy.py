"""Policies: from a state to preferences for the next vertex, and a value."""

from __future__ import annotations

import abc
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .game import EliminationGame, EliminationState


class AbstractPolicy(eqx.Module):
    """A preference for the vertex to eliminate next, in any graph.

    !!! Example

        ```python
        class Shallow(eqx_cc.policy.AbstractPolicy):
            def __call__(self, game, state):
                logits = jnp.where(state.remaining, -game.depth, -jnp.inf)
                return logits, jnp.zeros(())

        eqx_cc.policy.PolicyOrdering(Shallow())(graph)
        ```
    """

    # What to write where an ordering is wanted, for the message of the error.
    _as_ordering: ClassVar[str] = "eqx_cc.policy.PolicyOrdering(policy)"

    @abc.abstractmethod
    def __call__(
        self, game: EliminationGame, state: EliminationState
    ) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        """**Arguments:**

        - `game`, `state`: as [`eqx_cc.policy.new_game`][] makes them.

        **Returns:** the logits of the vertices, minus infinity for those that may not
        be eliminated; and the value, an estimate of the sum of all rewards to come.
        """


class Markowitz(AbstractPolicy):
    """The Markowitz rule as a policy: cheap vertices come first.

    Its value is a guess: that each vertex that remains costs what it would cost now.

    **Arguments:**

    - `sharpness`: logits are minus this times $\\log(1 + c)$ of the cost $c$.

    !!! Example

        ```python
        ordering = eqx_cc.policy.PolicyOrdering(eqx_cc.policy.Markowitz())
        ordering(graph) == eqx_cc.MinimalMarkowitz()(graph)
        ```
    """

    sharpness: float = 8.0

    def __call__(
        self, game: EliminationGame, state: EliminationState
    ) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        costs = game.rules.costs(state.edges).astype(jnp.float32)
        logits = -self.sharpness * jnp.log1p(costs)
        left = jnp.sum(jnp.where(state.remaining, costs, 0.0))
        value = -left / game.baseline.astype(jnp.float32)
        return jnp.where(state.remaining, logits, -jnp.inf), value
