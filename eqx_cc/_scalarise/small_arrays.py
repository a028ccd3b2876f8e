"""Programs of small arrays as one native call.

XLA starts each fused operation by itself, which takes about a microsecond. A program of
arrays of a few dozen entries spends most of its time on that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.lax import GatherScatterMode

from .._jaxpr.avals import as_arrays, aval_of, is_numeric
from .._jaxpr.closed import is_traced, lift_constants, TracedFunction
from .._jaxpr.primitives import is_elementwise
from .._jaxpr.program import bind, flatten, reader
from .._jaxpr.releases import ClosedJaxpr
from .._jaxpr.shard_map import is_split, varies
from .native.function import behind_barrier
from .native.loops import get, loop, put
from .native.lowering import (
    AbstractNativeFunction,
    MAX_BYTES,
    native_p,
    NativeCall,
)


# Fewer operations are hardly slower one by one.
_MIN_OPERATIONS = 6
# The entries that a program may compute. With more, XLA has work for several threads,
# and a native call has one (`python -m benchmarks.runtime --group everyday`).
_MAX_ENTRIES = 1 << 14
# What XLA compiles inside of a native call, besides elementwise operations.
_SUPPORTED = frozenset(
    "broadcast_in_dim concatenate expand_dims gather iota pad reduce_max reduce_min "
    "reduce_sum reshape rev slice split squeeze stack transpose".split()
)
# XLA computes nothing for these: it reads their operands in place.
_FREE = frozenset("broadcast_in_dim expand_dims iota reshape squeeze".split())
_IN_BOUNDS = GatherScatterMode.PROMISE_IN_BOUNDS


def evaluated_natively(traced: TracedFunction, leaves: Sequence[jax.Array]) -> Any:
    """The result of a traced function: by one native call if its arrays are small, it
    has many operations, and a native call may have all of them."""
    outside, closed = lift_constants(traced.closed, is_traced)
    operands = [*outside, *leaves]
    is_whole = not any(varies(x) or is_split(x) for x in operands)
    if not (operands and is_whole and is_small(closed.jaxpr)):
        return traced(leaves)
    call = NativeCall(_ArrayFunction(closed))
    return traced.result(native_p.bind(*operands, call=call))


@dataclass(frozen=True, eq=False)
class _ArrayFunction(AbstractNativeFunction):
    """A closed jaxpr of operations that a native call may have. Its constants are known
    while tracing."""

    closed: ClosedJaxpr
    is_inlined = True

    @property
    def in_avals(self) -> Sequence[Any]:
        return self.closed.in_avals

    @property
    def out_avals(self) -> Sequence[Any]:
        return self.closed.out_avals

    def by_operations(self, *arrays) -> list[jax.Array]:
        return jex.jaxpr_as_fun(self.closed)(*arrays)

    def natively(self, call: NativeCall, arrays: Sequence[jax.Array]) -> list[Any]:
        return behind_barrier(self._in_call)(*arrays)

    def prefers_native(self, sizes: tuple[Any, ...]) -> bool:
        return not sizes

    def _in_call(self, *arrays) -> list[jax.Array]:
        """The results, from a call inside of the native one. XLA, which stops the
        process if a native function has an argument without a use, cannot remove an
        operand of a call."""
        with set_xla_metadata(inlineable="false"):
            return jax.jit(self._evaluated)(*arrays)

    def _evaluated(self, *arrays) -> list[jax.Array]:
        program = flatten(self.closed.jaxpr, self.closed.consts)
        env = dict(enumerate(arrays))
        read = reader(env)
        for equation in program.equations:
            operands = [read(o) for o in equation.operands]
            if equation.primitive.name == "scatter-add":
                results = [_accumulated(*operands)]
            else:
                results = bind(equation.eqn, operands)
            env.update(zip(equation.results, results))
        return as_arrays([read(o) for o in program.outputs], program.output_avals)


def _accumulated(total: Any, places: Any, values: jax.Array) -> jax.Array:
    """An array with values added at places, in a loop: XLA does not compile a scatter
    inside of a native call, and outside of one it takes far longer to."""
    places = jnp.asarray(places).astype(np.int32)  # Their type may be too narrow.
    flat_places = lax.full(values.shape, 0, np.int32)
    for axis, size in enumerate(total.shape):
        along = lax.index_in_dim(places, axis, 1, keepdims=False)
        flat_places = flat_places * size + along

    def step(i, total):
        place = get(flat_places, i)
        return put(total, lax.add(get(total, place), get(values, i)), place)

    flat = lax.reshape(total, (total.size,))
    return lax.reshape(loop(0, len(values), step, flat), total.shape)


def is_small(jaxpr: jex.Jaxpr) -> bool:
    """True if a jaxpr is one of small arrays that a native call may evaluate."""
    equations = [equation.eqn for equation in flatten(jaxpr).equations]
    if jaxpr.effects or not all(map(_is_supported, equations)):
        return False
    computed = [e for e in equations if e.primitive.name not in _FREE]
    if len(computed) < _MIN_OPERATIONS:
        return False
    avals = [aval_of(v) for e in equations for v in e.outvars]
    largest = max(aval.size * aval.dtype.itemsize for aval in avals)
    entries = sum(map(_num_entries, computed))
    return entries <= _MAX_ENTRIES and largest <= 2 * MAX_BYTES


def _num_entries(eqn: jex.JaxprEqn) -> int:
    """The entries that an equation computes."""
    written = eqn.invars[2:] if eqn.primitive.name == "scatter-add" else eqn.outvars
    return sum(aval_of(v).size for v in written)


def _is_supported(eqn: jex.JaxprEqn) -> bool:
    name = eqn.primitive.name
    has_code = is_elementwise(name) or name in _SUPPORTED
    has_code |= name == "scatter-add" and _is_accumulation(eqn)
    return has_code and all(map(_is_plain, map(aval_of, [*eqn.invars, *eqn.outvars])))


def _is_accumulation(eqn: jex.JaxprEqn) -> bool:
    """True for a list of numbers that are added to entries of an array."""
    numbers, mode = eqn.params["dimension_numbers"], eqn.params["mode"]
    axes = tuple(range(aval_of(eqn.invars[0]).ndim))
    places = numbers.inserted_window_dims, numbers.scatter_dims_to_operand_dims
    is_within = GatherScatterMode.from_any(mode) == _IN_BOUNDS
    is_of_entries = all(tuple(each) == axes for each in places)
    return is_of_entries and is_within and aval_of(eqn.invars[2]).ndim == 1


def _is_plain(aval: Any) -> bool:
    """True for arrays of integers, Booleans, and floats of 32 or 64 bits."""
    if not is_numeric(aval):
        return False
    kind, size = aval.dtype.kind, aval.dtype.itemsize
    return kind in "biu" or (kind == "f" and size >= 4)
