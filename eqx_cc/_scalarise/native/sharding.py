"""What the types of arrays say of the devices that they are spread over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax.core import ShapedArray
from jax.sharding import NamedSharding, PartitionSpec


def aval_like(avals: Sequence[Any], shape: tuple[Any, ...], dtype: Any) -> ShapedArray:
    """The abstract value of a result, that is on the mesh of the operands."""
    mesh = getattr(getattr(avals[0], "sharding", None), "mesh", None) if avals else None
    if mesh is None or mesh.empty:
        return ShapedArray(shape, dtype)
    whole = NamedSharding(mesh, PartitionSpec(*[None] * len(shape)))
    changed = dict(shape=shape, dtype=dtype, weak_type=False, sharding=whole)
    return avals[0].update(**changed)
