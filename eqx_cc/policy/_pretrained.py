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
    """A policy that was trained on random graphs and plays any graph. The documentation
    has its model card.

    **Returns:** a [`eqx_cc.policy.GraphPolicy`][].

    !!! Example

        ```python
        eqx_cc.filter_jacobian(
            fun, order=eqx_cc.policy.PolicyOrdering(eqx_cc.policy.pretrained())
        )
        ```
    """
    with jax.ensure_compile_time_eval():
        like = GraphPolicy(48, 4, key=jr.key(0))
        return eqx.tree_deserialise_leaves(_WEIGHTS, like)
