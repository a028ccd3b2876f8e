"""Many equations of their own that a few variables couple.

??? cite "References"

    J. H. Wilkinson, *The Algebraic Eigenvalue Problem*, Oxford 1965, section 2.39
    (arrowheads: here a market, in which every firm sees one price).

    F. Mastrogiuseppe and S. Ostojic, *Linking connectivity, dynamics, and computations
    in low-rank recurrent neural networks*, Neuron 99 (2018) 609-623 (the mean field).
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._case import Case, Constant


def arrowhead(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """`n - 1` firms that each answer a price, and the price that clears the market."""
    supply, price = x[:-1], x[-1]
    marginal = jnp.exp(0.3 * supply) - price / (1.0 + supply**2)
    clearing = jnp.sum(jnp.tanh(supply)) - price**2
    return jnp.append(marginal, clearing)


class MeanField(eqx.Module):
    """Rates of neurons that are coupled by a matrix of rank one."""

    left: Float[Constant, " n"]
    right: Float[Constant, " n"]

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        overlap = self.right @ jnp.tanh(x) / len(x)
        return -x - 0.1 * x**3 + self.left * overlap


def _mean_field(size: int) -> MeanField:
    return MeanField(*np.random.default_rng(0).normal(size=(2, size)))


def _cases(name: str, fun, size: int) -> Case:
    point = np.linspace(0.1, 1.0, size)
    return Case(f"{name}, {size:,} states", "coupled", fun, point, structured=True)


CASES = [
    _cases("arrowhead", arrowhead, 1024),
    _cases("mean field", _mean_field(1024), 1024),
]
