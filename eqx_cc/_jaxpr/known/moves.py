"""Primitives that only move entries, in NumPy, on arrays of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.extend.core as jex
import numpy as np

from ..avals import aval_of


def moved(eqn: jex.JaxprEqn, arrays: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """The results of an equation of arrays of any kind, if it only moves entries."""
    move = _MOVES.get(eqn.primitive.name)
    if move is None:
        return None
    results = move(arrays, aval_of(eqn.outvars[0]).shape, eqn.params)
    return results if isinstance(results, list) else [results]


def _broadcast_in_dim(arrays, shape, params):
    sizes = [1] * len(shape)
    for size, axis in zip(arrays[0].shape, params["broadcast_dimensions"]):
        sizes[axis] = size
    return np.broadcast_to(arrays[0].reshape(sizes), shape)


def _reshape(arrays, shape, params):
    dimensions = params["dimensions"]
    array = arrays[0] if dimensions is None else arrays[0].transpose(dimensions)
    return array.reshape(shape)


def _rev(arrays, shape, params):
    # NumPy returns no array if there is nothing to flip.
    dimensions = params["dimensions"]
    return np.flip(arrays[0], dimensions) if dimensions else arrays[0]


def _slice(arrays, shape, params):
    steps = params["strides"] or (1,) * len(shape)
    slices = map(slice, params["start_indices"], params["limit_indices"], steps)
    return arrays[0][(*slices, ...)]  # With the ellipsis NumPy returns an array.


def _unstack(arrays, shape, params):
    array = np.moveaxis(arrays[0], params["axis"], 0)
    return [array[i, ...] for i in range(len(array))]


_MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": lambda arrays, _, params: np.concatenate(
        arrays, params["dimension"]
    ),
    "expand_dims": lambda arrays, shape, _: arrays[0].reshape(shape),
    "reshape": _reshape,
    "rev": _rev,
    "slice": _slice,
    "squeeze": lambda arrays, shape, _: arrays[0].reshape(shape),
    "stack": lambda arrays, _, params: np.stack(arrays, params["axis"]),
    "tile": lambda arrays, _, params: np.tile(arrays[0], params["reps"]),
    "transpose": lambda arrays, _, params: arrays[0].transpose(params["permutation"]),
    "unstack": _unstack,
}
