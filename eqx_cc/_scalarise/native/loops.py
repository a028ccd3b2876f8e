"""Loops that are compiled natively, which read and write single entries of arrays.

An array that such a loop changes entry by entry must not be read by an inner loop as
well: XLA copies it every time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def get(array: jax.Array, *index: Any) -> jax.Array:
    """The entry at an index."""
    starts = tuple(jnp.asarray(i, jnp.int32) for i in index)
    return lax.reshape(lax.dynamic_slice(array, starts, (1,) * array.ndim), ())


def put(array: jax.Array, value: jax.Array, *index: Any) -> jax.Array:
    """The array with another value at an index."""
    starts = tuple(jnp.asarray(i, jnp.int32) for i in index)
    slice_ = lax.broadcast_in_dim(value, (1,) * array.ndim, ())
    return lax.dynamic_update_slice(array, slice_, starts)


def loop(low: Any, high: Any, step: Callable, carry: Any) -> Any:
    """`lax.fori_loop` over numbers of 32 bits."""
    low, high = (jnp.asarray(i, jnp.int32) for i in (low, high))
    return lax.fori_loop(low, high, step, carry)


def fixed_loop(high: int, step: Callable, carry: Any) -> Any:
    """`lax.scan` over numbers of 32 bits: its length is known while tracing."""
    body = lambda carry, i: (step(i, carry), None)  # noqa: E731
    return lax.scan(body, carry, jnp.arange(high, dtype=jnp.int32))[0]
