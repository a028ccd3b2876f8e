"""Primitives that only move entries, in NumPy, on arrays of any kind.

`rules` finds out where other primitives move entries by applying them to the numbers of
these. But JAX compiles each once for every shape, which would take longer than all else
that is done here; so the commonest ones are written in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.extend.core as jex
import numpy as np

from .._jaxpr.avals import aval_of


def moved(eqn: jex.JaxprEqn, arrays: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """The results of an equation of arrays of any kind, if it only moves entries."""
    move = _MOVES.get(eqn.primitive.name)
    if move is None:
        return None
    results = move(arrays, aval_of(eqn.outvars[0]).shape, **eqn.params)
    return results if isinstance(results, list) else [results]


def _broadcast_in_dim(arrays, shape, /, *, broadcast_dimensions, **_):
    sizes = [1] * len(shape)
    for size, axis in zip(arrays[0].shape, broadcast_dimensions):
        sizes[axis] = size
    return np.broadcast_to(arrays[0].reshape(sizes), shape)


def _reshape(arrays, shape, /, *, dimensions, **_):
    [array] = arrays
    array = array if dimensions is None else array.transpose(dimensions)
    return array.reshape(shape)


def _squeeze(arrays, shape, /, **_):
    return arrays[0].reshape(shape)


def _slice(arrays, shape, /, *, start_indices, limit_indices, strides, **_):
    steps = strides or (1,) * len(shape)
    # The ellipsis has NumPy return an array in any case.
    return arrays[0][(*map(slice, start_indices, limit_indices, steps), ...)]


def _concatenate(arrays, shape, /, *, dimension, **_):
    return np.concatenate(arrays, dimension)


def _stack(arrays, shape, /, *, axis, **_):
    return np.stack(arrays, axis)


def _unstack(arrays, shape, /, *, axis, **_):
    array = np.moveaxis(arrays[0], axis, 0)
    return [array[i, ...] for i in range(len(array))]


def _rev(arrays, shape, /, *, dimensions, **_):
    # NumPy returns no array if there is nothing to flip.
    return np.flip(arrays[0], dimensions) if dimensions else arrays[0]


def _transpose(arrays, shape, /, *, permutation, **_):
    return arrays[0].transpose(permutation)


_MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": _concatenate,
    "expand_dims": _squeeze,
    "reshape": _reshape,
    "rev": _rev,
    "slice": _slice,
    "squeeze": _squeeze,
    "stack": _stack,
    "transpose": _transpose,
    "unstack": _unstack,
}
