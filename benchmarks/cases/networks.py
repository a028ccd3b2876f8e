"""Neural networks, with respect to their inputs.

??? cite "References"

    K. Cho et al., *Learning phrase representations using RNN encoder-decoder for
    statistical machine translation*, EMNLP 2014 (the gated recurrent unit).

    G. E. Hinton and R. R. Salakhutdinov, *Reducing the dimensionality of data with
    neural networks*, Science 313 (2006) 504-507 (the autoencoder).

    A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from ._case import Case, Constant


class Recurrence(eqx.Module):
    """The next hidden state of a gated recurrent unit, from the one before."""

    cell: eqx.nn.GRUCell
    input: Float[Constant, " input"]

    def __call__(self, hidden):
        return self.cell(jnp.asarray(self.input), hidden)


class Attention(eqx.Module):
    """A head of self-attention over the rows of a sequence."""

    query: Float[Constant, "width width"]
    key: Float[Constant, "width width"]
    value: Float[Constant, "width width"]

    def __call__(self, x: Float[Array, "length width"]):
        scores = (x @ self.query) @ (x @ self.key).T / np.sqrt(x.shape[1]).item()
        return jax.nn.softmax(scores, axis=-1) @ (x @ self.value)


def _mlp(size: int, width: int, depth: int) -> eqx.nn.MLP:
    return eqx.nn.MLP(size, size, width, depth, jnp.tanh, key=jr.key(depth))


def _recurrence() -> Recurrence:
    return Recurrence(eqx.nn.GRUCell(8, 16, key=jr.key(1)), _point(8))


def _attention(width: int) -> Attention:
    weights = jr.normal(jr.key(2), (3, width, width)) / np.sqrt(width).item()
    return Attention(*weights)


def _point(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def _bottleneck(size: int, width: int) -> Case:
    name, network = f"bottleneck {size}-{width}-{size}", _mlp(size, width, 1)
    return Case(name, "networks", network, _point(size), structured=True)


CASES = [
    Case("MLP 4-16-16-4", "networks", _mlp(4, 16, 2), _point(4)),
    Case("GRU cell, 16", "networks", _recurrence(), _point(16)),
    _bottleneck(256, 8),
    _bottleneck(1024, 16),
    Case("attention 24x16", "networks", _attention(16), _point(24, 16)),
]
