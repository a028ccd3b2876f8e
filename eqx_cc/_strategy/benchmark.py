"""Compiles and times several Jacobians of one problem, and compares their entries."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from .._blocks.arrays import memory
from .._jaxpr.outside_trace import call_outside_trace
from .._jaxpr.releases import ClosedJaxpr
from .time_model import jaxpr_work


# A Jacobian as a jaxpr: from all arrays that it depends on to its dense blocks.
JacobianJaxpr: TypeAlias = ClosedJaxpr

# A candidate that the model takes to be so many times as slow as the fastest, and to
# take longer than this in nanoseconds, is not compiled. The model is crude, but its
# errors are smaller than that.
_HOPELESS_RATIO, _LONG = 30.0, 1e7
# Nanoseconds, by the model, below which a call takes longer than the Jacobian. Then it
# is timed in a compiled loop, as it is where it matters.
_SHORTER_THAN_A_CALL = 20_000.0
# Seconds for one sample, and for all samples of one function.
_SAMPLE, _ENOUGH = 2e-3, 3e-2
_MIN_SAMPLES, _MAX_RUNS = 3, 1 << 18
# A function that takes so many times as long as the fastest is timed no more.
_HOPELESS = 4.0
# Raised by JAX for what it does not compile or run.
_NOT_RUN = RuntimeError, MemoryError, TypeError, ValueError


class SampleArrays(NamedTuple):
    """Arrays to time with, and the size of a batch of them, 1 if there is none. Those
    that are `batched` have it for their first axis."""

    values: tuple[Any, ...]
    batched: tuple[bool, ...]
    size: int


def arrays_like(inputs: Sequence[Any]) -> SampleArrays | None:
    """Arrays of the shapes, types and batches of `inputs`.

    Concrete arrays are taken as they are; tracers are replaced by random numbers, the
    same on each call. None if a size is symbolic, or if a type has no zeros.
    """
    sizes = [batch_size(x) for x in inputs]
    if not all(isinstance(size, int) for size in sizes):
        return None
    batch, rng = max(sizes, default=1), np.random.default_rng(0)
    try:
        values = tuple(
            _random(jax.typeof(x), batch if size > 1 else None, rng)
            if isinstance(x, Tracer)
            else jnp.asarray(x)
            for x, size in zip(inputs, sizes)
        )
    except (TypeError, ValueError):  # Of `jnp.zeros`.
        return None
    return SampleArrays(values, tuple(size > 1 for size in sizes), batch)


def batch_size(x: Any) -> Any:
    """The number of points that a tracer of `jax.vmap` stands for; an expression where
    that is symbolic."""
    size = 1
    while hasattr(x, "batch_dim") and hasattr(x, "val"):
        if isinstance(x.batch_dim, int):
            size *= x.val.shape[x.batch_dim]
        x = x.val
    return size


def _random(aval: Any, size: int | None, rng: np.random.Generator) -> Any:
    shape = aval.shape if size is None else (size, *aval.shape)
    if jnp.issubdtype(aval.dtype, jnp.inexact):  # Logarithms and roots have values.
        return jnp.asarray(rng.uniform(0.5, 1.5, shape)).astype(aval.dtype)
    return jnp.zeros(shape, aval.dtype)


def fastest(
    jacobians: Mapping[str, JacobianJaxpr], arrays: SampleArrays, num_leaves: int
) -> tuple[str, dict[str, float]] | None:
    """The name of the fastest Jacobian, and the seconds of all that were timed.

    The first one is the reference: those that differ from it are left out. The first
    `num_leaves` arrays are those to differentiate with respect to. None if no Jacobian
    can be compiled on its own.
    """
    seconds = call_outside_trace(lambda: _timed(jacobians, arrays, num_leaves))
    return (min(seconds, key=seconds.__getitem__), seconds) if seconds else None


def _timed(
    jacobians: Mapping[str, JacobianJaxpr], arrays: SampleArrays, num_leaves: int
) -> dict[str, float]:
    works = {name: jaxpr_work(closed.jaxpr) for name, closed in jacobians.items()}
    least = min(works.values())
    in_loop = arrays.size * least < _SHORTER_THAN_A_CALL
    runs, expected = {}, None
    for name, jacobian in jacobians.items():
        if works[name] > max(_LONG, _HOPELESS_RATIO * least):
            continue
        try:
            run = _Run(jacobian, arrays, num_leaves, in_loop=in_loop)
            blocks = run(1)
        except _NOT_RUN:
            continue
        if expected is None:
            expected = blocks
        if all(map(_is_close, blocks, expected)):
            runs[name] = run
    return timed(runs) if runs else {}


class _Run:
    """A compiled Jacobian. A call evaluates it so many times."""

    def __init__(
        self,
        jacobian: JacobianJaxpr,
        arrays: SampleArrays,
        num_leaves: int,
        *,
        in_loop: bool,
    ):
        axes = [0 if batched else None for batched in arrays.batched]
        fun: Callable = jex.jaxpr_as_fun(jacobian)
        if arrays.size > 1:
            fun = jax.vmap(fun, in_axes=axes)
        self._arrays, self._in_loop, self._start = arrays.values, in_loop, []
        if in_loop:
            blocks: Any = jax.eval_shape(fun, *arrays.values)
            self._start = [jnp.zeros(x.shape, x.dtype) for x in blocks]
            fun = _looped(fun, num_leaves)
        executable = jax.jit(fun).lower(*self._arguments(1)).compile()
        _check_memory(executable)
        self._executable = executable

    def _arguments(self, count: int) -> tuple:
        if not self._in_loop:
            return self._arrays
        return np.int32(count), np.float32(0.0), self._start, *self._arrays

    def __call__(self, count: int) -> Any:
        arguments, out = self._arguments(count), None
        for _ in range(1 if self._in_loop else count):
            out = None  # Frees a large result before the next one is computed.
            out = jax.block_until_ready(self._executable(*arguments))
        return out


def _check_memory(executable: Any) -> None:
    needs = executable.memory_analysis()
    if needs is not None:
        size = needs.temp_size_in_bytes + needs.output_size_in_bytes
        if 2 * size > memory():
            raise MemoryError


def _looped(fun: Callable, num_leaves: int) -> Callable:
    """A loop in which each Jacobian depends on all entries of the one before, so that
    XLA has to write all of them."""

    def run(count, zero, start, *arrays):
        def body(_, blocks):
            total = sum((jnp.sum(x).real.astype(zero.dtype) for x in blocks), zero)
            step = zero * jnp.where(jnp.isfinite(total), total, zero)
            leaves = [x + step.astype(x.dtype) for x in arrays[:num_leaves]]
            return fun(*leaves, *arrays[num_leaves:])

        return lax.fori_loop(0, count, body, start)

    return run


def _is_close(block: Any, expected: Any) -> bool:
    """True if blocks are equal to rounding, wherever the expected one is finite."""
    if block.shape != expected.shape or block.dtype != expected.dtype:
        return False
    a, b = (np.asarray(x).astype(_widest(x.dtype)) for x in (block, expected))
    is_finite = np.isfinite(b)
    scale = max(1.0, np.max(np.abs(b[is_finite]), initial=0.0))
    # What is not a number is not close to one.
    return bool(np.all(np.abs(a - b)[is_finite] <= _tolerance(block.dtype) * scale))


def _widest(dtype: Any) -> Any:
    return np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64


def _tolerance(dtype: Any) -> float:
    is_inexact = jnp.issubdtype(dtype, jnp.inexact)
    return float(np.sqrt(float(jnp.finfo(dtype).eps))) if is_inexact else 0.0


#
# Timing in turns
#


def timed(runs: Mapping[str, Callable[[int], None]]) -> dict[str, float]:
    """The median seconds of each of `runs`, functions of the number of repetitions that
    wait for the last one.

    The runs take turns, so that a change of the machine's speed concerns all of them.
    """
    counts = {name: _count(run) for name, run in runs.items()}
    samples: dict[str, list[float]] = {name: [] for name in runs}
    spent = dict.fromkeys(runs, 0.0)
    remaining = list(runs)
    while remaining:
        for name in remaining:
            seconds = _seconds(runs[name], counts[name])
            samples[name].append(seconds / counts[name])
            spent[name] += seconds
        least = min(map(statistics.median, samples.values()))
        remaining = [
            name
            for name in remaining
            if statistics.median(samples[name]) < _HOPELESS * least
            and (spent[name] < _ENOUGH or len(samples[name]) <= _MIN_SAMPLES)
        ]
    return {name: statistics.median(times) for name, times in samples.items()}


def _count(run: Callable[[int], None]) -> int:
    """The repetitions for one sample, enough that starting a run counts for little."""
    count, seconds = 1, min(_seconds(run, 1), _seconds(run, 1))
    while seconds < _SAMPLE / 4 and count < _MAX_RUNS:
        count *= 8
        seconds = _seconds(run, count)
    return max(1, round(count * _SAMPLE / max(seconds, 1e-9)))


def _seconds(run: Callable[[int], None], count: int) -> float:
    started = time.perf_counter()
    run(count)
    return time.perf_counter() - started
