"""A small perceptron and a small transformer encoder, with all their weights.

??? cite "References"

    J. L. Ba, J. R. Kiros and G. E. Hinton, *Layer Normalization*, arXiv:1607.06450.

    A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017.

    J. Lohoff and E. Neftci, *Optimizing Automatic Differentiation with Deep
    Reinforcement Learning*, NeurIPS 2024 (the benchmark).
"""

import jax.numpy as jnp
import numpy as np
from jax import nn

from ._task import Task


def _layer_norm(x, gamma, beta):
    mean = jnp.mean(x)
    variance = jnp.mean((x - mean) ** 2)
    return gamma * (x - mean) / jnp.sqrt(variance + 1e-6) + beta


def _cross_entropy(logits, labels):
    return -jnp.sum(labels * nn.log_softmax(logits, axis=0))


def perceptron(x, y, w1, b1, w2, b2, gamma, beta):
    """Softmax cross-entropy of two tanh layers with a layer norm in between."""
    hidden = _layer_norm(jnp.tanh(w1 @ x + b1), gamma, beta)
    return _cross_entropy(jnp.tanh(w2 @ hidden + b2), y)


def _encoder_block(x, wq, wk, wv, w, b, gamma, beta):
    q, k, v = wq @ x, wk @ x, wv @ x
    attention = nn.softmax(q.T @ k, axis=-1) @ v
    normalised = _layer_norm(attention + x, gamma, beta)
    return nn.silu(w @ normalised + b[:, None])


def encoder(x, y, *weights):
    """Softmax cross-entropy of two encoder blocks.

    **Arguments:**

    - `x`, `y`: four tokens of four features and their labels, of shape `(4, 4)`.
    - `weights`: for each block `wq, wk, wv, w` of shape `(4, 4)`, `b` of shape
        `(4,)`, and the scalars `gamma` and `beta` of its layer norm.
    """
    x = _encoder_block(x, *weights[:7])
    x = _encoder_block(x, *weights[7:])
    return _cross_entropy(x, y)


def _perceptron_point():
    normal = np.random.default_rng(0).normal
    return (
        normal(size=4),
        np.array([0.0, 1.0, 0.0, 0.0]),
        normal(size=(8, 4)),
        normal(size=8),
        normal(size=(4, 8)),
        normal(size=4),
        0.8,
        0.1,
    )


def _encoder_point():
    normal = np.random.default_rng(1).normal
    shapes = [(4, 4)] * 4 + [(4,)]
    blocks = [[normal(size=s) for s in shapes] + [0.9, -0.1] for _ in range(2)]
    return (normal(size=(4, 4)), np.eye(4), *blocks[0], *blocks[1])


TASKS = {
    "Perceptron": Task(perceptron, _perceptron_point()),
    "Encoder": Task(encoder, _encoder_point()),
}
