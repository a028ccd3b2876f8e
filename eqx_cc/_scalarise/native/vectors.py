"""A batch of a program of scalars as operations on vectors, by all threads.

In place of every scalar there is the vector of it at all points. A stage is a call, in
which XLA makes one loop for each vector that is stored, and splits it over threads. So
what is dear to compute is computed once, as in a native call, which has one thread.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
from jax.experimental.xla_metadata import set_xla_metadata

from ..._jaxpr.releases import ClosedJaxpr
from .cse import part_of
from .layout import assembled, Layout
from .stages import repetition, Stages


# Points of a batch from which on XLA splits operations on vectors over threads.
_MIN_THREADED = 4096
# So many vectors that are stored cost as much as one more thread saves: they go through
# the memory, where a native call has them in a cache. Four times as many where results
# are vectors in any case, which a native call has to put together.
_STORED = 13
# Where they are, vectors are faster on one thread too if results share so little.
_LITTLE_SHARED = 8


def prefers_vectors(
    program: Stages, layouts: Sequence[Layout], num_points: int
) -> bool:
    """True if vectors are faster than a native call for a batch
    (`python -m benchmarks.runtime --group arguments --setting "batch 65536"`)."""
    are_vectors = all(math.prod(layout.shape) == 1 for layout in layouts)
    if are_vectors and repetition(program.jaxpr) <= _LITTLE_SHARED:
        return True
    threads = _num_threads()
    limit = _STORED * threads * (4 if are_vectors else 1)
    num_stored = sum(map(len, program.stored))
    return threads > 1 and num_points >= _MIN_THREADED and num_stored <= limit


def _num_threads() -> int:
    return os.cpu_count() or 1


def in_vectors(
    program: Stages,
    layouts: Sequence[Layout],
    num_points: int,
    mapped: Sequence[bool],
    arrays: Sequence[jax.Array],
) -> list[jax.Array]:
    """The results of a program of scalars for every point of a batch.

    The operands that are `mapped` have an axis of points in front. There are no
    equations of arrays: what they do may depend on whether all points have the same
    operand, as a branch of `jax.lax.cond` does, and what is stored varies.
    """
    known = dict(zip(program.jaxpr.invars, arrays))
    axes = {v: 0 if m else None for v, m in zip(program.jaxpr.invars, mapped)}

    def called(variables: Sequence[Any], finish: Callable) -> list[jax.Array]:
        """What `finish` makes of variables at each point, in a separate call."""
        equations, used = program.needed(variables, known)
        part = part_of(program.jaxpr, used, variables, equations)
        evaluated = jex.jaxpr_as_fun(ClosedJaxpr(part, []))
        run = jax.vmap(
            lambda *values: finish(evaluated(*values)),
            in_axes=tuple(axes[v] for v in used),
            axis_size=num_points,
        )
        with set_xla_metadata(inlineable="false"):
            return jax.jit(run)(*(known[v] for v in used))

    for stored in filter(None, program.stored):
        known.update(zip(stored, called(stored, list)))
        axes.update(dict.fromkeys(stored, 0))
    return called(
        program.jaxpr.outvars,
        lambda scalars: [assembled(layout, scalars) for layout in layouts],
    )
