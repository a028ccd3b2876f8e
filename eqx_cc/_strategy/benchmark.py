"""Which of several ways to a Jacobian is the fastest here, by compiling and timing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from .._blocks.arrays import memory
from .._jaxpr.outside_trace import aside
from .._jaxpr.releases import ClosedJaxpr
from .time_model import jaxpr_work
from .timing import timed


# A Jacobian as a jaxpr: from all arrays that it depends on to what there is of it.
Jacobian: TypeAlias = ClosedJaxpr

# What is said to take so many times as long as another, and longer than this in
# nanoseconds, is not compiled: the model is crude, but it is not as wrong as that.
_HOPELESS, _LONG = 30.0, 1e7
# Nanoseconds, by the model, below which a call takes longer than the Jacobian. Then it
# is timed in a compiled loop, as it is where it matters.
_SMALL = 20_000.0


class Arrays(NamedTuple):
    """Arrays to measure with, and the size of a batch of them, 1 if there is none;
    those that are `batched` have it for their first axis."""

    values: tuple[Any, ...]
    batched: tuple[bool, ...]
    size: int


def arrays_like(tracers: Sequence[Any]) -> Arrays:
    """Arrays of the shapes and types of `tracers`, with their batch as far as that is
    seen; these themselves where they are concrete, others random, the same always."""
    sizes = [batch_size(x) for x in tracers]
    if not all(isinstance(own, int) for own in sizes):
        raise ValueError("There are no arrays of which the size is symbolic.")
    size, rng = max(sizes, default=1), np.random.default_rng(0)
    values = tuple(
        _like(jax.typeof(x), size if own > 1 else None, rng)
        if isinstance(x, Tracer)
        else jnp.asarray(x)
        for x, own in zip(tracers, sizes)
    )
    return Arrays(values, tuple(own > 1 for own in sizes), size)


def batch_size(x: Any) -> Any:
    """The number of points that a tracer of `jax.vmap` stands for; an expression where
    that is symbolic."""
    size = 1
    while hasattr(x, "batch_dim") and hasattr(x, "val"):
        if isinstance(x.batch_dim, int):
            size *= x.val.shape[x.batch_dim]
        x = x.val
    return size


def _like(aval: Any, size: int | None, rng: np.random.Generator) -> Any:
    shape = aval.shape if size is None else (size, *aval.shape)
    if jnp.issubdtype(aval.dtype, jnp.inexact):  # Logarithms and roots have values.
        return jnp.asarray(rng.uniform(0.5, 1.5, shape)).astype(aval.dtype)
    return jnp.zeros(shape, aval.dtype)


def fastest(
    jacobians: Mapping[str, Jacobian], arrays: Arrays, num_leaves: int
) -> tuple[str, dict[str, float]] | None:
    """The name of the fastest, and the seconds of all that were timed.

    The first of them is right: others that differ from it are left out. The first
    `num_leaves` arrays are those to differentiate with respect to. None if there is
    nothing that can be compiled on its own.
    """
    seconds = aside(lambda: _timed(jacobians, arrays, num_leaves))
    return (min(seconds, key=seconds.__getitem__), seconds) if seconds else None


def _timed(
    jacobians: Mapping[str, Jacobian], arrays: Arrays, num_leaves: int
) -> dict[str, float]:
    runs, expected = {}, None
    in_loop = _is_small(jacobians, arrays)
    for name, jacobian in _hopeful(jacobians).items():
        with contextlib.suppress(Exception):  # Whatever the compiler says of it.
            run = _Run(jacobian, arrays, num_leaves, in_loop)
            found = run(1)
            if expected is None:
                expected = found
            if _agree(found, expected):
                runs[name] = run
    return timed(runs) if runs else {}


def _hopeful(jacobians: Mapping[str, Jacobian]) -> dict[str, Jacobian]:
    works = {name: jaxpr_work(own.jaxpr) for name, own in jacobians.items()}
    most = max(_LONG, _HOPELESS * min(works.values(), default=0.0))
    return {name: own for name, own in jacobians.items() if works[name] <= most}


def _is_small(jacobians: Mapping[str, Jacobian], arrays: Arrays) -> bool:
    least = min(jaxpr_work(own.jaxpr) for own in jacobians.values())
    return arrays.size * least < _SMALL


class _Run:
    """A compiled Jacobian, which is evaluated so many times when called."""

    def __init__(
        self, jacobian: Jacobian, arrays: Arrays, num_leaves: int, in_loop: bool
    ):
        axes = [0 if batched else None for batched in arrays.batched]
        fun: Callable = jex.jaxpr_as_fun(jacobian)
        if arrays.size > 1:
            fun = jax.vmap(fun, in_axes=axes)
        self._arrays, self._in_loop = arrays.values, in_loop
        made: Any = jax.eval_shape(fun, *arrays.values)
        self._start = [jnp.zeros(x.shape, x.dtype) for x in made] if in_loop else []
        if in_loop:
            fun = _looped(fun, num_leaves)
        executable = jax.jit(fun).lower(*self._arguments(1)).compile()
        self._executable = _checked(executable)

    def _arguments(self, count: int) -> tuple:
        if not self._in_loop:
            return self._arrays
        return np.int32(count), np.float32(0.0), self._start, *self._arrays

    def __call__(self, count: int) -> Any:
        arguments, out = self._arguments(count), None
        for _ in range(1 if self._in_loop else count):
            out = None  # Frees what large results take before the next is made.
            out = jax.block_until_ready(self._executable(*arguments))
        return out


def _checked(executable: Any) -> Any:
    """What was compiled, if the device has room for it."""
    needs = executable.memory_analysis()
    if needs is not None:
        needed = needs.temp_size_in_bytes + needs.output_size_in_bytes
        if 2 * needed > memory():
            raise MemoryError
    return executable


def _looped(fun: Callable, num_leaves: int) -> Callable:
    """A loop that reads all of a Jacobian for the next, so that each is written."""

    def run(count, zero, start, *arrays):
        def body(_, found):
            total = sum((jnp.sum(x).real.astype(zero.dtype) for x in found), zero)
            step = zero * jnp.where(jnp.isfinite(total), total, zero)
            own = [x + step.astype(x.dtype) for x in arrays[:num_leaves]]
            return fun(*own, *arrays[num_leaves:])

        return lax.fori_loop(0, count, body, start)

    return run


def _agree(found: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Whether Jacobians are equal to rounding, wherever the expected one is finite."""
    return all(map(_is_close, found, expected))


def _is_close(found: Any, expected: Any) -> bool:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    a, b = (np.asarray(x).astype(_wide(x.dtype)) for x in (found, expected))
    is_finite = np.isfinite(b)
    scale = max(1.0, np.max(np.abs(b[is_finite]), initial=0.0))
    # What is not a number is not close to one.
    return bool(np.all(np.abs(a - b)[is_finite] <= _tolerance(found.dtype) * scale))


def _wide(dtype: Any) -> Any:
    return np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64


def _tolerance(dtype: Any) -> float:
    is_inexact = jnp.issubdtype(dtype, jnp.inexact)
    return float(np.sqrt(float(jnp.finfo(dtype).eps))) if is_inexact else 0.0
