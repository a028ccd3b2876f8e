"""Features of a state: numbers for each vertex, for graphs of any size."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .game import EliminationGame, EliminationState


class Observation(eqx.Module):
    """A state as a policy sees it.

    **Attributes:**

    - `vertices`: the features of every vertex, zero for those that are gone.
    - `edges`: 1 where there is an edge from the first to the second vertex, else 0.
    - `ways`: the edges, and by $\\log(1 + x)$, for an edge from $u$ to $v$, how many
        successors $u$ would gain by the elimination of $v$; how many predecessors $v$
        would by that of $u$; and how many numbers the edge stores.
    - `present`: vertices that are inputs or outputs or remain.
    - `remaining`: vertices that may be eliminated.
    - `costs`: $\\log(1 + c)$ of the cost $c$ of eliminating each vertex.
    - `share`: the cost of all vertices that remain, each as it is now, over the
        baseline.
    """

    vertices: Float[Array, "n features"]
    edges: Float[Array, "n n"]
    ways: Float[Array, "ways n n"]
    present: Bool[Array, " n"]
    remaining: Bool[Array, " n"]
    costs: Float[Array, " n"]
    share: Float[Array, ""]


NUM_WAYS = 4
NUM_FEATURES = 23


def observe(game: EliminationGame, state: EliminationState) -> Observation:
    """The observation of a state. Renumbering the vertices renumbers it, and padding
    changes nothing."""
    # Not a number is an edge too: it stands for a coefficient that is not known.
    edges = state.edges.astype(bool).astype(jnp.float32)
    before, after = jnp.sum(edges, 0), jnp.sum(edges, 1)
    costs = jnp.log1p(game.rules.costs(state.edges).astype(jnp.float32))
    remaining = state.remaining
    inner = remaining.astype(jnp.float32)
    least = jnp.min(jnp.where(remaining, costs, jnp.inf), initial=jnp.inf)
    least = jnp.where(jnp.isfinite(least), least, 0.0)
    kept, growth, new = _overlaps(edges, before, after, inner)
    sizes = game.rules.sizes(state.edges).astype(jnp.float32)
    longest = jnp.maximum(game.depth + game.height, 1.0)
    fill = before * after - kept
    left = jnp.sum(jnp.where(remaining, jnp.expm1(costs), 0.0))
    share = left / game.baseline.astype(jnp.float32)
    columns = [
        inner,
        game.inputs.astype(jnp.float32),
        game.outputs.astype(jnp.float32),
        jnp.log1p(before),
        jnp.log1p(after),
        jnp.log1p(jnp.maximum(before * after, 0.0)),
        costs,
        costs - least,
        (costs == least).astype(jnp.float32),
        jnp.log1p(fill),
        fill / jnp.maximum(before * after, 1.0),
        _signed_log(growth),
        _signed_log(growth - before * after),
        jnp.log1p(jnp.sum(sizes, 0) / jnp.maximum(before, 1.0)),
        jnp.log1p(jnp.sum(sizes, 1) / jnp.maximum(after, 1.0)),
        game.depth / longest,
        jnp.log1p(longest),
        jnp.log1p(game.depth),
        jnp.log1p(game.height),
        jnp.log1p(jnp.sum(sizes, 0)),
        jnp.log1p(jnp.sum(sizes, 1)),
        costs - jnp.log1p(left),
        jnp.full_like(costs, jnp.log1p(share)),
    ]
    present = remaining | ((game.inputs | game.outputs) & (before + after > 0))
    vertices = jnp.where(present[:, None], jnp.stack(columns, 1), 0.0)
    ways = jnp.stack([edges, *map(jnp.log1p, (*new, sizes))])
    return Observation(vertices, edges, ways, present, remaining, costs, share)


def _overlaps(
    edges: Float[Array, "n n"],
    before: Float[Array, " n"],
    after: Float[Array, " n"],
    inner: Float[Array, " n"],
) -> tuple[Float[Array, " n"], Float[Array, " n"], tuple[Float[Array, "n n"], ...]]:
    """For each vertex, the number of edges that exist already among those that its
    elimination makes, and the growth of the Markowitz degrees (predecessors times
    successors) of its neighbours; for each edge, the neighbours that its ends gain.

    A predecessor $u$ of $v$ would lose $v$ and gain those successors of $v$ that it has
    not: $s_v - 1 - |S_u \\cap S_v|$ more in all.
    """
    successors = edges @ edges.T  # Common to two vertices; so too the predecessors.
    predecessors = edges.T @ edges
    kept = jnp.sum(edges * successors, 0)
    ahead = edges * (after[None] - successors)
    behind = edges * (before[:, None] - predecessors)
    gained = (ahead - edges) * (inner * before)[:, None]
    lost = (behind - edges) * (inner * after)[None]
    return kept, jnp.sum(gained, 0) + jnp.sum(lost, 1), (ahead, behind)


def _signed_log(x: Float[Array, " n"]) -> Float[Array, " n"]:
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))
