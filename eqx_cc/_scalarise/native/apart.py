"""Batches that had better be computed result by result."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import jax.extend.core as jex

from .layout import Layout
from .stages import weight_of


# Points of a batch from which on XLA splits its operations over all threads.
_LARGE = 4096
# How much more may be computed for each thread, where results are vectors already
# (`python -m benchmarks.runtime --group arguments`).
_VECTORS = 4


def is_apart(jaxpr: jex.Jaxpr, layouts: Sequence[Layout], size: int) -> bool:
    """Whether a batch is to be computed as XLA does it outside of native calls: each
    result on its own, by all threads, with what they share computed anew for each."""
    threads = _num_threads() if size >= _LARGE else 1
    if all(math.prod(layout.shape) == 1 for layout in layouts):
        return _repeated(jaxpr) <= _VECTORS * (threads + 1)
    return threads > 1 and _repeated(jaxpr) <= threads


def _num_threads() -> int:
    return os.cpu_count() or 1


def _repeated(jaxpr: jex.Jaxpr) -> float:
    """How many times more there is to compute, if nothing is shared."""
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
    return work / max(1, sum(weights))
