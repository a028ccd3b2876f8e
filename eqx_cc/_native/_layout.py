"""Arrays that are put together from scalars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import lax


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


def concatenated(layout: Layout, scalars: Sequence[Any]) -> jax.Array:
    """The array of a layout, in one concatenation."""
    entries: list[Any] = list(layout.constants)
    for position, source in zip(layout.positions, layout.sources):
        entries[position] = scalars[source]
    if not entries:
        return lax.full(layout.shape, 0, layout.dtype)
    ones = [lax.broadcast_in_dim(x, (1,), ()) for x in entries]
    return lax.reshape(lax.concatenate(ones, 0), layout.shape)
