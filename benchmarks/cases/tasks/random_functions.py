"""Random functions of arrays, from a seed.

The published functions f and g are machine-generated too; g is known by its graph, f is
not published as mathematics, so that counts on these functions compare with nothing but
each other.
"""

import random

import jax
import jax.numpy as jnp
import numpy as np

from ._task import Task


_UNARY = (
    jnp.sin,
    jnp.cos,
    jnp.tanh,
    jnp.exp,
    jnp.square,
    lambda a: 1.0 / (2.0 + a * a),
)
_BINARY = (jnp.add, jnp.subtract, jnp.multiply, lambda a, b: a / (2.0 + b * b))


def _step(rng: random.Random, values: list[jax.Array]) -> jax.Array:
    """Computes a new value from earlier ones; the latest are likelier."""
    a = values[-1 - int(min(rng.expovariate(0.3), len(values) - 1))]
    others = [b for b in values if b.shape in (a.shape, ())]
    vectors = [b for b in values if a.ndim and b.shape == a.shape[-1:]]
    kind = rng.random()
    if kind < 0.35 or not others:
        return rng.choice(_UNARY)(a)
    if kind < 0.8 or not vectors:
        return rng.choice(_BINARY)(a, rng.choice(others))
    if kind < 0.9:
        return a @ rng.choice(vectors)
    return jnp.sum(a, axis=-1)


def random_function(seed: int, num_steps: int, num_outputs: int):
    """A function that takes `num_steps` random steps, and returns the last values.

    **Arguments of the function:** arrays of which some are scalars, vectors of one
    length, or square matrices of that size.
    """

    def fun(*args):
        rng, values = random.Random(seed), list(args)
        while len(values) < len(args) + num_steps:
            values.append(_step(rng, values))
        return values[-num_outputs:]

    return fun


def _point(seed: int, size: int):
    normal = np.random.default_rng(seed).normal
    shapes = (size, size), (size,), (size,), ()
    return tuple(0.5 * normal(size=shape) for shape in shapes)


TASKS = {"random_arrays": Task(random_function(7, 60, 4), _point(7, 4))}
