"""Single entries of arrays, as loops that are compiled natively read and write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def get(array: jax.Array, *where: Any) -> jax.Array:
    """One entry."""
    at = tuple(jnp.asarray(i, jnp.int32) for i in where)
    return lax.reshape(lax.dynamic_slice(array, at, (1,) * array.ndim), ())


def put(array: jax.Array, value: jax.Array, *where: Any) -> jax.Array:
    """The array with another entry."""
    at = tuple(jnp.asarray(i, jnp.int32) for i in where)
    one = lax.broadcast_in_dim(value, (1,) * array.ndim, ())
    return lax.dynamic_update_slice(array, one, at)


def loop(low: Any, high: Any, step: Callable, carry: Any) -> Any:
    """`lax.fori_loop` over numbers of 32 bits."""
    low, high = (jnp.asarray(i, jnp.int32) for i in (low, high))
    return lax.fori_loop(low, high, step, carry)


def accumulated(high: int, step: Callable, carry: Any) -> Any:
    """`lax.scan` over numbers of 32 bits: a loop of which the length is known."""
    body = lambda carry, i: (step(i, carry), None)  # noqa: E731
    return lax.scan(body, carry, jnp.arange(high, dtype=jnp.int32))[0]
