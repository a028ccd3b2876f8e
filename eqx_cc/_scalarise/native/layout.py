"""Arrays that are put together from scalars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


# Entries of an array that are put together one by one.
_LARGE = 1000


@dataclass(frozen=True)
class Layout:
    """An array that is put together from scalars: `sources[k]` is the number of the one
    at the flat position `positions[k]`; `base`, flat, is what is elsewhere."""

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
    """The array of a layout: in one concatenation, or in one scatter if it has so many
    entries that a concatenation takes minutes to compile."""
    base = layout.constants
    if base.size == 0 or not layout.positions:
        return lax.reshape(jnp.asarray(base), layout.shape)
    if base.size > _LARGE:
        values = _concatenated([scalars[source] for source in layout.sources])
        at = jnp.asarray(base).at[np.asarray(layout.positions)]
        array = at.add(values, unique_indices=True)  # To the zeros that are there.
    else:
        entries: list[Any] = list(base)
        for position, source in zip(layout.positions, layout.sources):
            entries[position] = scalars[source]
        array = _concatenated(entries)
    return lax.reshape(array, layout.shape)


def _concatenated(entries: Sequence[Any]) -> jax.Array:
    return lax.concatenate([lax.broadcast_in_dim(x, (1,), ()) for x in entries], 0)
