"""The learned rule as a policy."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._orders.cost import AbstractCost, Multiplications
from .._orders.rule.learned_rule import LearnedRule
from .._orders.rule.weights import packaged_weights, RuleWeights
from ._game.actions import Numbers, Scalars
from ._game.game import EliminationGame, EliminationState
from ._game.policy import AbstractPolicy


def _numbers(
    weights: RuleWeights | Float[Array, " features"] | None,
) -> Float[Array, ...]:
    weights = packaged_weights()[0] if weights is None else weights
    return jnp.asarray(np.asarray(weights), jnp.float32)


class RulePolicy(AbstractPolicy):
    r"""The rule of [`eqx_cc.LearnedRule`][] in the elimination game: logits are minus
    its scores,

    $$\pi(v \mid s) \propto \exp(-w \cdot f_v(s)).$$

    For graphs of scalars the features $f_v$ are those of `LearnedRule`, which scores in
    plain Python and computes some scores later than at once. For graphs of structured
    blocks, fill-in is counted in edges here. The value is that of
    [`eqx_cc.policy.Markowitz`][].

    **Arguments:**

    - `weights`: the weights $w$, in the sequence of [`eqx_cc.RuleWeights`][]; by
        default the first of the sets that come with the package.

    !!! Example

        ```python
        rule = eqx_cc.policy.RulePolicy()
        eqx_cc.policy.PolicyOrdering(rule)(graph)
        rule.ordering()(graph)  # The same rule, in plain Python.
        ```
    """

    weights: Float[Array, " features"] = eqx.field(converter=_numbers, default=None)

    def __call__(
        self, game: EliminationGame, state: EliminationState
    ) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        costs = game.rules.costs(state.edges).astype(jnp.float32)
        features = rule_features(game, state)
        scores = features @ self.weights
        left = jnp.sum(jnp.where(state.remaining, costs, 0.0))
        value = -left / game.baseline.astype(jnp.float32)
        return jnp.where(state.remaining, -scores, -jnp.inf), value

    def ordering(self, cost: AbstractCost = Multiplications()) -> LearnedRule:
        """The rule in plain Python.

        **Arguments:**

        - `cost`: the cost model, an [`eqx_cc.AbstractCost`][].

        **Returns:** an [`eqx_cc.LearnedRule`][] with these weights.
        """
        return LearnedRule(self.rule_weights, cost)

    @property
    def rule_weights(self) -> RuleWeights:
        """The weights, by name."""
        return RuleWeights(*map(float, np.asarray(self.weights)))


def rule_features(
    game: EliminationGame, state: EliminationState
) -> Float[Array, "n features"]:
    """The features of all vertices, in the sequence of `RuleWeights`."""
    edges = state.edges.astype(bool).astype(jnp.float32)  # NaN is an edge, too.
    stored = edges
    if not isinstance(game.rules, Scalars | Numbers):
        stored = game.rules.sizes(state.edges).astype(jnp.float32)
    before, after = jnp.sum(stored, 0), jnp.sum(stored, 1)
    new, gains = _gains(edges), _gains(edges.T)
    fill_in = jnp.sum(new, 0)
    ahead = jnp.sum((new - edges) * before[:, None], 0)
    behind = jnp.sum((gains - edges.T) * after[:, None], 0)
    change = ahead + behind
    pairs = jnp.sum(edges, 0) * jnp.sum(edges, 1)
    longest = jnp.maximum(jnp.max(game.depth), 1.0)
    columns = [
        jnp.log1p(game.rules.costs(state.edges).astype(jnp.float32)),
        jnp.log1p(before),
        jnp.log1p(after),
        jnp.log1p(fill_in),
        jnp.log1p(pairs - fill_in),
        jnp.sign(change) * jnp.log1p(jnp.abs(change)),
        (fill_in - before - after) / (1.0 + before + after),
        change / (1.0 + before * after),
        jnp.zeros_like(before),  # The logarithm of the size of a scalar.
        jnp.log1p(game.num_inputs),
        jnp.log1p(game.num_outputs),
        game.depth / longest,
        game.height / longest,
    ]
    return jnp.stack(columns, 1)


def _gains(edges: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """For an edge from $u$ to $v$, how many new edges $u$ would have in place of it."""
    return (jnp.sum(edges, 1)[None] - edges @ edges.T) * edges
