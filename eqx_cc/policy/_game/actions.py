"""The effect of an elimination on the edges of a graph, which are in one array.

`edges[u, v]` is the edge from `u` to `v`; what is false is no edge.
"""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num, Shaped


class AbstractRules(eqx.Module):
    """Multiplication and addition of edges, and its cost.

    Costs have JAX's default floating-point dtype: without 64 bits they are exact up to
    $2^{24}$.
    """

    @abc.abstractmethod
    def eliminate(
        self, edges: Shaped[Array, "n n"], vertex: Int[Array, ""]
    ) -> tuple[Shaped[Array, "n n"], Float[Array, ""]]:
        """Returns the edges that are left, and the cost."""

    @abc.abstractmethod
    def costs(self, edges: Shaped[Array, "n n"]) -> Float[Array, " n"]:
        """The cost of eliminating each vertex."""

    @abc.abstractmethod
    def sizes(self, edges: Shaped[Array, "n n"]) -> Float[Array, "n n"]:
        """The number of values that each edge stores."""


class Scalars(AbstractRules):
    """Scalars with unknown coefficients: every pair of edges costs the same."""

    unit: Float[Array, ""]

    def eliminate(
        self, edges: Bool[Array, "n n"], vertex: Int[Array, ""]
    ) -> tuple[Bool[Array, "n n"], Float[Array, ""]]:
        before, after = edges[:, vertex], edges[vertex]
        cost = self.unit * _count(before) * _count(after)
        return _without(edges | (before[:, None] & after[None]), vertex), cost

    def costs(self, edges: Bool[Array, "n n"]) -> Float[Array, " n"]:
        return self.unit * _count(edges) * _count(edges.T)

    def sizes(self, edges: Bool[Array, "n n"]) -> Float[Array, "n n"]:
        return edges.astype(float)


class Numbers(AbstractRules):
    """Scalars, NaN where the coefficient is unknown: a pair of edges costs one
    multiplication if both are."""

    def eliminate(
        self, edges: Float[Array, "n n"], vertex: Int[Array, ""]
    ) -> tuple[Float[Array, "n n"], Float[Array, ""]]:
        before, after = edges[:, vertex], edges[vertex]
        pair = (before != 0)[:, None] & (after != 0)[None]
        new = edges + before[:, None] * after[None]
        cost = _count(jnp.isnan(before)) * _count(jnp.isnan(after))
        return _without(jnp.where(pair, new, edges), vertex), cost

    def costs(self, edges: Float[Array, "n n"]) -> Float[Array, " n"]:
        unknown = jnp.isnan(edges)
        return _count(unknown) * _count(unknown.T)

    def sizes(self, edges: Float[Array, "n n"]) -> Float[Array, "n n"]:
        return jnp.isnan(edges).astype(float)


class Patterns(AbstractRules):
    """Edges are codes of patterns, whose products and sums are looked up: see
    `closure.Tables`."""

    new: Int[Array, "k k k"]
    cost: Float[Array, "k k k"]
    size: Float[Array, " k"]

    def eliminate(
        self, edges: Int[Array, "n n"], vertex: Int[Array, ""]
    ) -> tuple[Int[Array, "n n"], Float[Array, ""]]:
        key = edges, edges[vertex][None], edges[:, vertex][:, None]
        return _without(self.new[key], vertex), jnp.sum(self.cost[key])

    def costs(self, edges: Int[Array, "n n"]) -> Float[Array, " n"]:
        def cost(vertex):
            key = edges, edges[vertex][None], edges[:, vertex][:, None]
            return jnp.sum(self.cost[key])

        # All at once they would take the memory of the cube of `n`.
        return jax.lax.map(cost, jnp.arange(edges.shape[0]), batch_size=16)

    def sizes(self, edges: Int[Array, "n n"]) -> Float[Array, "n n"]:
        return self.size[edges]


def _count(edges: Bool[Array, " n *m"]) -> Float[Array, "*m"]:
    return jnp.sum(edges, 0, dtype=float)


def _without(
    edges: Num[Array, "n n"] | Bool[Array, "n n"], vertex: Int[Array, ""]
) -> Shaped[Array, "n n"]:
    """The edges that neither lead into the vertex nor out of it."""
    here = jnp.arange(edges.shape[0], dtype=vertex.dtype) == vertex
    none = jnp.zeros((), edges.dtype)
    return jnp.where(here[:, None] | here[None], none, edges)
