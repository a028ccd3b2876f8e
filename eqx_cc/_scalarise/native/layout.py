"""Arrays that are assembled from scalars."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..._jaxpr.releases import FUSES_CONCATENATIONS


# The most entries of an array that is one concatenation.
_MAX_CONCATENATED = 1000
# So few entries are selected by their positions, where what computes them is fused.
_FEW_SELECTED = 8


@dataclass(frozen=True)
class Layout:
    """An array that is assembled from scalars.

    Scalar `sources[k]` goes to the flat position `positions[k]`; `base`, flat, is what
    stands elsewhere. With the scalars `[s, t]`, positions `(0, 2)`, sources `(1, 1)`
    and the base `[0, 5, 0]` make up the array `[t, 5, t]`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    base: bytes
    positions: tuple[int, ...]
    sources: tuple[int, ...]

    @property
    def constants(self) -> np.ndarray:
        """The flat array before the scalars are put in."""
        return np.frombuffer(self.base, self.dtype)


def assembled(layout: Layout, scalars: Sequence[Any]) -> jax.Array:
    """The array of a layout: by one concatenation, or by one scatter if it has so many
    entries that a concatenation takes minutes to compile."""
    base = layout.constants
    if base.size == 0 or not layout.positions:
        return lax.reshape(jnp.asarray(base), layout.shape)
    if base.size > _MAX_CONCATENATED:
        values = concatenated([scalars[source] for source in layout.sources])
        targets = jnp.asarray(base).at[np.asarray(layout.positions)]
        array = targets.add(values, unique_indices=True)  # The base is zero there.
    else:
        entries: list[Any] = list(base)
        for position, source in zip(layout.positions, layout.sources):
            entries[position] = scalars[source]
        array = concatenated(entries)
    return lax.reshape(array, layout.shape)


def concatenated(scalars: Sequence[Any]) -> jax.Array:
    """The vector of these scalars."""
    return lax.concatenate([lax.broadcast_in_dim(x, (1,), ()) for x in scalars], 0)


def assembled_and_fused(layout: Layout, scalars: Sequence[Any]) -> jax.Array:
    """The array of a layout, in the form that XLA fuses with what computes the scalars:
    a concatenation of rows, in which entries are selected by their positions.

    Some releases fuse a concatenation of all entries: that is as fast for nine of them,
    and twice to nine times as fast for 36 to 400."""
    count, size = math.prod(layout.shape[:-1]), layout.constants.size
    is_simple = FUSES_CONCATENATIONS and size > _FEW_SELECTED
    if is_simple or size == 0 or not layout.positions or count == 1:
        return assembled(layout, scalars)
    length = layout.shape[-1]
    entries: list[Any] = list(layout.constants)
    for position, source in zip(layout.positions, layout.sources):
        entries[position] = scalars[source]
    starts = range(0, len(entries), length)
    rows = [_row(entries[i : i + length], layout.dtype) for i in starts]
    return lax.reshape(lax.concatenate(rows, 0), layout.shape)


def _row(entries: Sequence[Any], dtype: np.dtype) -> jax.Array:
    """The array of shape `(1, len(entries))` of scalars and numbers."""
    shape = 1, len(entries)
    position = lax.broadcasted_iota(np.int32, shape, 1)
    # What stands most often needs no selection. Zeros of either sign are two numbers.
    keys = [id(x) if isinstance(x, jax.Array) else x.tobytes() for x in entries]
    [(common, _)] = Counter(keys).most_common(1)
    row = _everywhere(entries[keys.index(common)], shape, dtype)
    for i, (key, entry) in enumerate(zip(keys, entries)):
        if key != common:
            value = _everywhere(entry, shape, dtype)
            row = lax.select(lax.eq(position, np.int32(i)), value, row)
    return row


def _everywhere(value: Any, shape: tuple[int, ...], dtype: np.dtype) -> jax.Array:
    if isinstance(value, jax.Array):
        return lax.broadcast_in_dim(value, shape, ())
    return lax.full(shape, value, dtype)
