"""Arrays that are assembled from scalars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


# The most entries of an array that is one concatenation.
_MAX_CONCATENATED = 1000


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
