"""The policy that comes with the package."""

from __future__ import annotations

import pathlib
from functools import cache

import equinox as eqx
import jax
import jax.random as jr

from ._networks import GraphPolicy


_WEIGHTS = pathlib.Path(__file__).with_suffix(".eqx")


@cache
def pretrained() -> GraphPolicy:
    """A policy that was trained on random graphs of scalars, and plays any graph.

    It is what this makes, in a quarter of an hour on a core or two:

    ```bash
    python -m eqx_cc.policy train --agent ppo --folder trained \\
        --batch 16 --largest 40 --rate 1e-3 --iterations 179
    ```

    **Returns:** a [`eqx_cc.policy.GraphPolicy`][].
    """
    with jax.ensure_compile_time_eval():
        like = GraphPolicy(32, 3, key=jr.key(0))
        return eqx.tree_deserialise_leaves(_WEIGHTS, like)
