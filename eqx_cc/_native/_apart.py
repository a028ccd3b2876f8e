"""Batches of results that are single numbers: vectors, each computed on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.extend.core as jex

from ._layout import Layout
from ._stages import weight_of


# How many times more work still takes less time, if it is done by vector instructions
# and by all threads (`python -m benchmarks.runtime --group arguments`).
_VECTORS = 8


def is_apart(jaxpr: jex.Jaxpr, layouts: Sequence[Layout]) -> bool:
    """Whether a batch had better be computed result by result, as XLA does outside of
    native calls: each is a vector then, and what they share is computed anew."""
    if any(math.prod(layout.shape) > 1 for layout in layouts):
        return False
    weights = [weight_of(eqn) for eqn in jaxpr.eqns]
    needed: dict[jex.Var, int] = {}  # Equations, as bits.
    for number, eqn in enumerate(jaxpr.eqns):
        own = 1 << number
        for v in eqn.invars:
            if isinstance(v, jex.Var):
                own |= needed.get(v, 0)
        needed.update(dict.fromkeys(eqn.outvars, own))
    outputs = [needed.get(v, 0) for v in jaxpr.outvars if isinstance(v, jex.Var)]
    work = sum(w for own in outputs for i, w in enumerate(weights) if own >> i & 1)
    return work <= _VECTORS * sum(weights)
