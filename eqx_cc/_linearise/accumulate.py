"""Numeric elimination: running a plan on the values of the partials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .._blocks.add import run_update
from .._blocks.arrays import Values
from .._graph.elimination import Plan


def run_plan(
    plan: Plan,
    values: Mapping[tuple[int, int], Values],
    dtypes: Sequence[np.dtype],
) -> dict[tuple[int, int], Values]:
    """The values of each block of the Jacobian, by `(independent, dependent)`.

    `values` are those of the local partials and `dtypes` the type of every vertex.
    """
    current = dict(values)
    for step in plan.steps:
        v = step.vertex
        for u, w, recipe in step.updates:
            old, left, right = current.get((u, w), ()), current[v, w], current[u, v]
            current[u, w] = run_update(recipe, old, left, right, dtypes[w])
        if not step.keeps:
            for u, w, _ in step.updates:
                current.pop((u, v), None)
                current.pop((v, w), None)
    return {ends: current[ends] for ends in plan.blocks}
