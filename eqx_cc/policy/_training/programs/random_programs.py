"""Random programs: of one family, composed, unrolled, or differentiated."""

from __future__ import annotations

import random

import jax.numpy as jnp

from ...._api.explain import graph_of
from ...._graph.graph import ComputationalGraph
from ...._orders.orderings import Forward
from . import fields, finance, mechanics, networks, numerics
from .draft import after, beside, Draft, Family, gradient, unrolled


_AREAS = mechanics, numerics, networks, fields, finance
FAMILIES: tuple[Family, ...] = tuple(f for area in _AREAS for f in area.FAMILIES)


def random_draft(seed: int) -> Draft:
    """A random program: half of them of one family as it is, the others composed of
    two, unrolled for a few steps, or the gradient of one."""
    rng = random.Random(seed)
    draft, kind = rng.choice(FAMILIES)(rng), rng.random()
    if kind < 0.15:
        return after(rng, rng.choice(FAMILIES)(rng), draft)
    if kind < 0.2:
        return beside(draft, rng.choice(FAMILIES)(rng))
    if kind < 0.35:
        return unrolled(rng, draft, rng.randint(1, 3))
    return gradient(draft) if kind < 0.5 else draft


def random_program(seed: int, scalars: bool) -> ComputationalGraph:
    """The graph of a random program: of scalars, or of arrays."""
    fun, shapes = random_draft(seed)
    arrays = tuple(jnp.zeros(shape, jnp.float32) for shape in shapes)
    graph = graph_of(
        lambda arrays: fun(*arrays),
        (arrays,),
        {},
        Forward(),
        "scalar" if scalars else "array",
    )
    assert graph is not None
    return graph
