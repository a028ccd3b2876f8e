"""Random programs, each determined by its seed.

A program is built by calling it: a seeded generator picks an operation, then operands
among the values that exist already (the recent ones are likelier, the old ones make
shared sub-expressions), and so on. The same seed gives the same program for every
input of the same shapes.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


# Smooth or with kinks, and with derivatives of moderate size.
_UNARY: list[Callable] = [
    jnp.sin,
    jnp.cos,
    jnp.tanh,
    jnp.arctan,
    jnp.square,
    jnp.negative,
    jax.nn.relu,
    jax.nn.softplus,
    jnp.abs,
    lambda x: 1.0 / (2.0 + x**2),
    lambda x: jnp.sqrt(1.0 + x**2),
    lambda x: jnp.exp(-(x**2)),
    lambda x: 0.5 * x - 1.0,
    lambda x: x,
]

_BINARY: list[Callable] = [
    jnp.add,
    jnp.subtract,
    jnp.multiply,
    jnp.maximum,
    jnp.minimum,
    lambda a, b: jnp.arctan2(a, 2.0 + b * b),  # It has no derivative at (0, 0).
    lambda x, y: x / (1.5 + y**2),
    lambda x, y: jnp.where(x > y, x, 0.5 * y),
    lambda x, y: jnp.logaddexp(x, y),
    lambda x, y: jnp.where(x > 0.0, jnp.sin(y), x * y),
]


class _Chooser:
    """Choices of a seeded generator."""

    def __init__(self, seed: int):
        self._rng = np.random.default_rng(seed)

    def integer(self, high: int) -> int:
        return int(self._rng.integers(high))

    def of(self, options) -> Any:
        return options[self.integer(len(options))]

    def recent(self, values: list) -> Any:
        """One of `values`: half the time one of the last three."""
        return self.of(values[-3:] if self.integer(2) else values)

    def array(self, shape: tuple[int, ...]):
        return self._rng.uniform(-1.0, 1.0, shape)


def scalar_program(seed: int, *, length: int = 25, num_outputs: int = 3) -> Callable:
    """A program of `length` operations on the entries of a vector."""

    def program(x):
        choose = _Chooser(seed)
        values = list(jnp.unstack(x))
        for i in range(length):
            if choose.integer(3) == 0:
                new = choose.of(_UNARY)(choose.recent(values))
            else:
                operands = choose.recent(values), choose.recent(values)
                new = choose.of(_BINARY)(*operands)
            values.append(_tamed(new, i))
        # One more output may be in the midst of the program.
        outputs = [*values[-num_outputs:], choose.of(values)]
        return [jnp.tanh(y) for y in outputs]

    return program


def array_program(seed: int, *, length: int = 12, num_outputs: int = 2) -> Callable:
    """A program of `length` operations on a PyTree of small arrays."""

    def program(x):
        choose = _Chooser(seed)
        values = list(jax.tree.leaves(x))
        for i in range(length):
            new = choose.of(_ARRAY_OPERATIONS)(choose, values)
            new = new if new.size <= 24 else jnp.sum(new, axis=0)
            values.append(_tamed(new, i))
        outputs = [*values[-num_outputs:], choose.of(values)]
        return [jnp.tanh(y) for y in outputs]

    return program


def _tamed(x: jax.Array, i: int) -> jax.Array:
    """Products of products would overflow, and `0 * inf` says nothing."""
    return jnp.tanh(x) if i % 3 == 2 else x


def array_inputs(seed: int) -> list[np.ndarray]:
    """Two or three arrays of random small shapes."""
    choose = _Chooser(seed)
    shapes = [(), (1,), (3,), (2, 3), (3, 2), (2, 2), (1, 3), (2, 1, 2)]
    return [choose.array(choose.of(shapes)) for _ in range(2 + choose.integer(2))]


#
# Operations on arrays. Each picks its own operands; one that finds none to its liking
# falls back to something elementwise.
#


def _unary(choose, values):
    return choose.of(_UNARY)(choose.recent(values))


def _binary(choose, values):
    """Of two arrays whose shapes broadcast, or of an array and its own sum."""
    x = choose.recent(values)
    fits = [y for y in values if _broadcasts(x.shape, y.shape)]
    y = choose.recent(fits) if fits else jnp.sum(x, keepdims=True)
    return choose.of(_BINARY)(x, y)


def _broadcasts(a, b):
    if len(a) != len(b):
        return len(a) * len(b) == 0
    return all(m == n or 1 in (m, n) for m, n in zip(a, b))


def _constant(choose, values):
    x = choose.recent(values)
    return choose.of(_BINARY)(x, jnp.asarray(choose.array(x.shape)))


def _reduce(choose, values):
    x = choose.recent(values)
    operation = choose.of([jnp.sum, jnp.mean, jnp.max, jnp.min, jnp.prod])
    if x.ndim == 0:
        return operation(x)
    return operation(x, axis=choose.integer(x.ndim), keepdims=bool(choose.integer(2)))


def _cumulate(choose, values):
    x = jnp.atleast_1d(choose.recent(values))
    operation = choose.of([lax.cumsum, lax.cumprod, lax.cummax, lax.cumlogsumexp])
    return operation(x, axis=choose.integer(x.ndim), reverse=bool(choose.integer(2)))


def _reshape(choose, values):
    x = choose.recent(values)
    divisor = choose.of([d for d in range(1, x.size + 1) if x.size % d == 0])
    return choose.of([x.reshape(-1), x.reshape(divisor, -1), x[None], x.T])


def _transpose(choose, values):
    x = choose.recent(values)
    return jnp.moveaxis(x, -1, 0) if x.ndim > 1 else jnp.flip(x)


def _slice(choose, values):
    x = jnp.atleast_1d(choose.recent(values))
    axis, size = (a := choose.integer(x.ndim)), x.shape[a]
    start = choose.integer(size)
    return lax.slice_in_dim(x, start, size, 1 + choose.integer(2), axis=axis)


def _dynamic_slice(choose, values):
    """Where the slice starts depends on the values."""
    x = jnp.atleast_1d(choose.recent(values))
    size = 1 + choose.integer(x.shape[0])
    return lax.dynamic_slice_in_dim(x, jnp.argmax(x.ravel()), size)


def _pad(choose, values):
    x = choose.recent(values)
    config = [(choose.integer(3) - 1, choose.integer(2), choose.integer(2))] * x.ndim
    smallest = min(x.shape, default=2)
    if smallest < 2:
        config = [(1, 0, 0)] * x.ndim
    return lax.pad(x, jnp.asarray(0.5, x.dtype), config)


def _concatenate(choose, values):
    x = jnp.atleast_1d(choose.recent(values))
    fits = [y for y in values if y.ndim == x.ndim and y.shape[1:] == x.shape[1:]]
    y = choose.recent(fits) if fits else x
    return jnp.concatenate([x, y, x[:1]])


def _matmul(choose, values):
    x = choose.recent(values)
    if x.ndim not in (1, 2):
        return jnp.sum(x * x)
    fits = [y for y in values if y.ndim in (1, 2) and y.shape[0] == x.shape[-1]]
    y = choose.recent(fits) if fits else x.T
    return x @ y


def _outer(choose, values):
    x, y = (choose.recent(values).reshape(-1)[:3] for _ in range(2))
    return x[:, None] * y[None, :]


def _take(choose, values):
    x = jnp.atleast_1d(choose.recent(values))
    indices = [choose.integer(x.shape[0]) for _ in range(1 + choose.integer(3))]
    return jnp.take(x, jnp.array(indices), axis=0)


def _scatter(choose, values):
    x = jnp.atleast_1d(choose.recent(values))
    row = x[choose.integer(x.shape[0])]
    target = x.at[choose.integer(x.shape[0])]
    update = [target.set, target.add, target.multiply, target.max]
    return choose.of(update)(jnp.sin(row))


def _sort(choose, values):
    x = jnp.atleast_1d(choose.recent(values))
    return jnp.sort(x, axis=choose.integer(x.ndim))


def _broadcast(choose, values):
    x = choose.recent(values)
    return jnp.broadcast_to(x, (2, *x.shape))


def _softmax(choose, values):
    x = jnp.atleast_1d(choose.recent(values))
    return jax.nn.softmax(x, axis=choose.integer(x.ndim))


def _cond(choose, values):
    x, y = choose.recent(values), choose.recent(values)
    first, second = choose.of(_UNARY), choose.of(_UNARY)
    return lax.cond(
        jnp.sum(y) > 0.0, lambda: first(x) * jnp.sum(y), lambda: second(x) + x
    )


def _scan(choose, values):
    """A carry, constants, `xs` and `ys`."""
    x, constant = choose.recent(values), choose.recent(values)
    fun, step = choose.of(_UNARY), choose.of(_BINARY)

    def body(carry, v):
        carry = jnp.tanh(step(carry, v) + jnp.sum(constant))
        return carry, fun(carry) * v

    xs = jnp.stack([x, 0.5 * x])
    carry, ys = lax.scan(body, jnp.sin(x), xs, reverse=bool(choose.integer(2)))
    return carry + ys[choose.integer(2)]


def _vmap(choose, values):
    x = jnp.atleast_1d(choose.recent(values))
    fun = choose.of(_UNARY)
    return jax.vmap(lambda v: fun(v) * jnp.sum(v))(x)


def _jit(choose, values):
    x, fun = choose.recent(values), choose.of(_UNARY)
    return jax.jit(lambda v: fun(v) + v)(x)


_ARRAY_OPERATIONS: list[Callable] = [
    _binary,
    _binary,
    _binary,
    _broadcast,
    _concatenate,
    _cond,
    _constant,
    _cumulate,
    _dynamic_slice,
    _jit,
    _matmul,
    _matmul,
    _outer,
    _pad,
    _reduce,
    _reduce,
    _reshape,
    _scan,
    _scatter,
    _slice,
    _softmax,
    _sort,
    _take,
    _transpose,
    _unary,
    _unary,
    _vmap,
]
