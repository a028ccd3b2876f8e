"""Neural networks, normalisations, and attention."""

from __future__ import annotations

import itertools as it
import random

import jax
import jax.numpy as jnp

from .draft import constants, Draft


_ACTIVATIONS = (
    jnp.tanh,
    jax.nn.relu,
    jax.nn.gelu,
    jax.nn.silu,
    jax.nn.softplus,
    jax.nn.sigmoid,
    jnp.sin,
)


def perceptron(rng: random.Random) -> Draft:
    """Layers, whose weights are arguments or known."""
    sizes = [rng.randint(1, 6) for _ in range(rng.randint(2, 4))]
    activation, known = rng.choice(_ACTIVATIONS), rng.random() < 0.5
    stored = [constants(rng, m, n) for n, m in it.pairwise(sizes)]

    def fun(x, *weights):
        for i, w in enumerate(stored if known else weights):
            x = w @ x
            x = activation(x) if i + 2 < len(sizes) else x
        return [x]

    shapes = () if known else tuple((m, n) for n, m in it.pairwise(sizes))
    return Draft(fun, ((sizes[0],), *shapes))


def loss(rng: random.Random) -> Draft:
    """A scalar loss of a network: squares, or cross-entropy."""
    n, m, h = rng.randint(2, 4), rng.randint(2, 4), rng.randint(2, 4)
    activation, entropy = rng.choice(_ACTIVATIONS), rng.random() < 0.5

    def fun(x, first, second):
        y = second @ activation(first @ x)
        if entropy:
            return [jax.nn.logsumexp(y) - y[0]]
        return [jnp.mean((y - 0.3) ** 2)]

    return Draft(fun, ((n,), (h, n), (m, h)))


def normalisation(rng: random.Random) -> Draft:
    """Normalises layers: by mean and variance, by the root mean square, or softmax."""
    n, kind = rng.randint(2, 8), rng.randrange(4)

    def fun(x, scale, shift):
        if kind == 0:
            x = x - jnp.mean(x)
            return [x * jax.lax.rsqrt(jnp.mean(x * x) + 1e-5) * scale + shift]
        if kind == 1:
            return [x / jnp.sqrt(jnp.mean(x * x) + 1e-5) * scale]
        if kind == 2:
            return [jax.nn.softmax(x * scale) + shift]
        return [jax.nn.log_softmax(x) * scale]

    return Draft(fun, ((n,), (n,), (n,)))


def attention(rng: random.Random) -> Draft:
    """Attention of a few positions, with known or unknown projections."""
    n, d, known = rng.randint(2, 3), rng.randint(2, 3), rng.random() < 0.5
    stored = [constants(rng, d, d) for _ in range(3)]

    def fun(x, *weights):
        q, k, v = (x @ w for w in (stored if known else weights))
        return [jax.nn.softmax(q @ k.T / 1.4, axis=-1) @ v]

    return Draft(fun, ((n, d), *(() if known else ((d, d),) * 3)))


def gates(rng: random.Random) -> Draft:
    """A recurrent cell with gates, for a few steps."""
    n, m, steps = rng.randint(1, 3), rng.randint(1, 3), rng.randint(1, 3)
    known, memory = rng.random() < 0.5, rng.random() < 0.5
    stored = [constants(rng, n, n + m) for _ in range(3)]

    def fun(x, h, *weights):
        matrices = stored if known else weights
        c = h
        for _ in range(steps):
            z, r, u = (w @ jnp.concatenate([h, x]) for w in matrices)
            z, r = jax.nn.sigmoid(z), jax.nn.sigmoid(r)
            if memory:
                c = r * c + z * jnp.tanh(u)
                h = z * jnp.tanh(c)
            else:
                h = (1.0 - z) * h + z * jnp.tanh(r * u)
        return [h]

    return Draft(fun, ((m,), (n,), *(() if known else ((n, n + m),) * 3)))


def convolution(rng: random.Random) -> Draft:
    """Two layers of convolutions of a signal, as sums of slices."""
    n, width = rng.randint(4, 10), rng.randint(2, 3)
    activation = rng.choice(_ACTIVATIONS)

    def fun(x, first, second):
        for kernel in (first, second):
            length = x.shape[0] - width + 1
            x = sum(kernel[i] * x[i : i + length] for i in range(width))
            x = activation(x)
        return [x]

    return Draft(fun, ((max(n, 2 * width),), (width,), (width,)))


def residual(rng: random.Random) -> Draft:
    """Blocks that add to a stream: a norm, a layer, and a gate."""
    n, blocks = rng.randint(2, 5), rng.randint(1, 3)
    activation, weights = rng.choice(_ACTIVATIONS), constants(rng, 3, n, n)

    def fun(x, scale):
        for i in range(blocks):
            y = x * jax.lax.rsqrt(jnp.mean(x * x) + 1e-5) * scale
            x = x + weights[i] @ (activation(y) * y)
        return [x]

    return Draft(fun, ((n,), (n,)))


FAMILIES = perceptron, loss, normalisation, attention, gates, convolution, residual
