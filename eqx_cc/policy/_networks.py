"""Neural networks as policies, for graphs of any size."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ._game.features import NUM_FEATURES, NUM_WAYS, Observation, observe
from ._game.game import EliminationGame, EliminationState
from ._game.policy import AbstractPolicy


class _Perceptron(eqx.Module):
    """Two layers, for every vertex alike; in 32 bits, whatever JAX's default is."""

    first: eqx.nn.Linear
    second: eqx.nn.Linear

    def __init__(self, inp: int, width: int, out: int, key: PRNGKeyArray):
        keys = jr.split(key)
        self.first = eqx.nn.Linear(inp, width, dtype=jnp.float32, key=keys[0])
        self.second = eqx.nn.Linear(width, out, dtype=jnp.float32, key=keys[1])

    def __call__(self, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
        hidden = jax.nn.silu(x @ self.first.weight.T + _bias(self.first)[None])
        return hidden @ self.second.weight.T + _bias(self.second)[None]

    def silent(self) -> _Perceptron:
        """A copy that returns zero until it has been trained."""
        last = self.second.weight, _bias(self.second)
        zeros = jnp.zeros_like(last[0]), jnp.zeros_like(last[1])
        return eqx.tree_at(
            lambda net: (net.second.weight, net.second.bias), self, zeros
        )


def _bias(layer: eqx.nn.Linear) -> Float[Array, " o"]:
    assert layer.bias is not None
    return layer.bias


def _normalised(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    mean = jnp.mean(x, 1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(jnp.var(x, 1, keepdims=True) + 1e-5)


class _Heads(eqx.Module):
    """Logits and value, from the hidden features of all vertices."""

    logits: _Perceptron
    value: _Perceptron

    def __init__(self, width: int, key: PRNGKeyArray):
        keys = jr.split(key)
        self.logits = _Perceptron(width, width, 1, keys[0]).silent()
        self.value = _Perceptron(width + 2, width, 1, keys[1]).silent()

    def __call__(
        self,
        observation: Observation,
        hidden: Float[Array, "n d"],
        sharpness: float,
    ) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        """Until they are trained, these are the Markowitz rule, and the cost of all
        vertices that remain as if each cost what it would cost now."""
        logits = self.logits(hidden)[:, 0] - sharpness * observation.costs
        count = jnp.sum(observation.remaining, dtype=jnp.float32)
        mean = _mean(hidden, observation.remaining)
        summary = jnp.concatenate(
            [mean, jnp.log1p(count)[None], jnp.log1p(observation.share)[None]]
        )
        value = -observation.share * jnp.exp(self.value(summary[None])[0, 0])
        return jnp.where(observation.remaining, logits, -jnp.inf), value


def _mean(x: Float[Array, "n d"], mask: Bool[Array, " n"]) -> Float[Array, " d"]:
    weights = mask.astype(jnp.float32)
    return weights @ x / jnp.maximum(jnp.sum(weights), 1.0)


class _Messages(eqx.Module):
    """A round of messages: to each vertex from its predecessors, its successors, and
    all that remain.

    Messages along edges are means, one for each weighting in `Observation.ways`."""

    update: _Perceptron

    def __init__(self, width: int, key: PRNGKeyArray):
        self.update = _Perceptron((2 + 2 * NUM_WAYS) * width, width, width, key)

    def __call__(
        self, observation: Observation, hidden: Float[Array, "n d"]
    ) -> Float[Array, "n d"]:
        x = jnp.where(observation.present[:, None], _normalised(hidden), 0.0)
        ways, edges = observation.ways, observation.edges
        before = ways / jnp.maximum(jnp.sum(edges, 0), 1.0)[None, None]
        after = ways / jnp.maximum(jnp.sum(edges, 1), 1.0)[None, :, None]
        along = jnp.concatenate([jnp.matrix_transpose(before), after]) @ x
        everywhere = jnp.broadcast_to(_mean(x, observation.remaining)[None], x.shape)
        inputs = jnp.concatenate([x, everywhere, *along], 1)
        return hidden + self.update(inputs)


class GraphPolicy(AbstractPolicy):
    """A graph network: it sends messages along the edges, forward and backward, and
    from all remaining vertices to each.

    Logits are those of the Markowitz rule plus a correction, which is zero before
    training.

    **Arguments:**

    - `width`, `rounds`: hidden features of each vertex, and rounds of messages.
    - `sharpness`: see [`eqx_cc.policy.Markowitz`][].
    - `key`: of the random weights.

    !!! Example

        ```python
        policy = eqx_cc.policy.GraphPolicy(width=16, rounds=2, key=jr.key(0))
        logits, value = policy(*eqx_cc.policy.new_game(graph))
        ```

    ??? cite "Reference"

        P. W. Battaglia et al., *Relational inductive biases, deep learning, and graph
        networks*, arXiv:1806.01261, 2018.
    """

    encode: _Perceptron
    messages: _Messages  # All rounds, with an axis in front.
    heads: _Heads
    sharpness: float = eqx.field(static=True)

    def __init__(
        self,
        width: int = 32,
        rounds: int = 3,
        sharpness: float = 8.0,
        *,
        key: PRNGKeyArray,
    ):
        first, last, keys = jr.split(key, 3)
        self.encode = _Perceptron(NUM_FEATURES, width, width, first)
        keys = jr.split(keys, rounds)
        self.messages = eqx.filter_vmap(lambda key: _Messages(width, key))(keys)
        self.heads, self.sharpness = _Heads(width, last), sharpness

    def __call__(
        self, game: EliminationGame, state: EliminationState
    ) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        return _evaluate(self, self.messages, game, state)


class _Attention(eqx.Module):
    """Attention between all pairs of vertices; an edge, either way, adds a learned bias
    to the scores of each head."""

    project: eqx.nn.Linear
    along: Float[Array, "2 heads"]
    out: _Perceptron
    heads: int = eqx.field(static=True)

    def __init__(self, width: int, heads: int, key: PRNGKeyArray):
        keys = jr.split(key, 3)
        self.project = eqx.nn.Linear(
            width, 3 * width, use_bias=False, dtype=jnp.float32, key=keys[0]
        )
        self.along = jr.normal(keys[1], (2, heads), jnp.float32)
        self.out = _Perceptron(2 * width, 2 * width, width, keys[2])
        self.heads = heads

    def __call__(
        self, observation: Observation, hidden: Float[Array, "n d"]
    ) -> Float[Array, "n d"]:
        x = _normalised(hidden)
        split = (x @ self.project.weight.T).reshape(len(x), 3, self.heads, -1)
        query, key, value = jnp.moveaxis(split, 1, 0)
        scores = jnp.einsum("uhd,vhd->huv", query, key) / value.shape[-1] ** 0.5
        edges = jnp.stack([observation.edges, observation.edges.T])
        scores = scores + jnp.einsum("euv,eh->huv", edges, self.along)
        scores = jnp.where(observation.present[None, None], scores, -1e9)
        weights = jax.nn.softmax(scores, axis=-1)
        context = jnp.einsum("huv,vhd->uhd", weights, value).reshape(x.shape)
        return hidden + self.out(jnp.concatenate([x, context], 1))


class EdgeTransformer(AbstractPolicy):
    """A transformer whose tokens are vertices. Edges bias the attention, so that the
    network applies to any number of vertices.

    (The published network has a token for each row of the tensor, of a fixed size.)

    **Arguments:**

    - `width`, `layers`, `heads`: numbers of a token, layers and heads of attention.
    - `sharpness`: see [`eqx_cc.policy.Markowitz`][].
    - `key`: of the random weights.

    !!! Example

        ```python
        policy = eqx_cc.policy.EdgeTransformer(width=16, layers=1, key=jr.key(0))
        logits, value = policy(*eqx_cc.policy.new_game(graph))
        ```

    ??? cite "References"

        A. Vaswani et al., *Attention Is All You Need*, Advances in Neural Information
        Processing Systems 30, 2017.

        J. Lohoff and E. Neftci, *Optimizing Automatic Differentiation with Deep
        Reinforcement Learning*, Advances in Neural Information Processing Systems 37,
        2024.
    """

    encode: _Perceptron
    layers: _Attention  # All of them, with an axis in front.
    heads: _Heads
    sharpness: float = eqx.field(static=True)

    def __init__(
        self,
        width: int = 32,
        layers: int = 3,
        heads: int = 4,
        sharpness: float = 8.0,
        *,
        key: PRNGKeyArray,
    ):
        if width % heads:
            raise ValueError(
                f"`width` must be a multiple of `heads`; got {width} and {heads}."
            )
        first, last, keys = jr.split(key, 3)
        self.encode = _Perceptron(NUM_FEATURES, width, width, first)
        keys = jr.split(keys, layers)
        self.layers = eqx.filter_vmap(lambda key: _Attention(width, heads, key))(keys)
        self.heads, self.sharpness = _Heads(width, last), sharpness

    def __call__(
        self, game: EliminationGame, state: EliminationState
    ) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        return _evaluate(self, self.layers, game, state)


def _evaluate(
    policy: GraphPolicy | EdgeTransformer,
    layers: _Messages | _Attention,
    game: EliminationGame,
    state: EliminationState,
) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """Logits and value: the features of all vertices go through the layers. (A scan is
    compiled in a third of the time of a loop.)"""
    observation = observe(game, state)
    weights, rest = eqx.partition(layers, eqx.is_array)

    def through(hidden, weights):
        return eqx.combine(weights, rest)(observation, hidden), None

    hidden, _ = jax.lax.scan(through, policy.encode(observation.vertices), weights)
    return policy.heads(observation, _normalised(hidden), policy.sharpness)
