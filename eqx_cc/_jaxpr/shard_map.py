"""Axes of a mesh that values vary over, inside `jax.shard_map`, or are split over.

Their types tell, and a primitive wants operands that vary over the same axes. JAX's own
functions see to that; equations that are evaluated one by one do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
from jax.extend.core.primitives import convert_element_type_p
from jax.sharding import NamedSharding, PartitionSpec


def varies(array: Any) -> bool:
    """True if an array is known to vary over an axis of `jax.shard_map`."""
    return len(_axes(array)) > 0


def is_split(array: Any) -> bool:
    """True if an array is split over the axes of a mesh of type `Explicit`."""
    return is_split_type(jax.typeof(array))


def is_split_type(aval: Any) -> bool:
    """True if the abstract value of an array is split over such axes."""
    spec = getattr(getattr(aval, "sharding", None), "spec", ())
    return any(axis is not None for axis in spec)


def split_as(arrays: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """The arrays, which have an axis in front, each split as another along the rest."""
    return [_split_as(x, jax.typeof(y)) for x, y in zip(arrays, others)]


def _split_as(x: Any, aval: Any) -> Any:
    if not is_split_type(aval):
        return x
    # As in `jax.jacfwd`: `jax.sharding.reshard` would want the mesh around it.
    split = NamedSharding(aval.sharding.mesh, PartitionSpec(None, *aval.sharding.spec))
    params = dict(new_dtype=x.dtype, weak_type=False, sharding=split)
    return convert_element_type_p.bind(x, **params)


def vary_alike(operands: Sequence[Any]) -> list[Any]:
    """The operands, all of them varying over the same axes."""
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return list(operands)
    axes = [_axes(x) for x in operands]
    union = frozenset().union(*axes)
    return [_cast(x, union - old) for x, old in zip(operands, axes)]


def vary_as(arrays: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """The arrays, each varying over the axes of another."""
    pairs = list(zip(arrays, others))
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return [x for x, _ in pairs]
    return [_cast(x, _axes(other) - _axes(x)) for x, other in pairs]


def _cast(x: Any, axes: frozenset) -> Any:
    return lax.pcast(x, tuple(axes), to="varying") if axes else x


def _axes(x: Any) -> frozenset:
    aval = jax.typeof(x)
    kind = getattr(aval, "manual_axis_type", aval)
    return frozenset(getattr(kind, "varying", getattr(kind, "vma", ())))
