"""Calls outside of `jax.jit` that are made again: compiled once, then run.

The function is traced at every call, as JAX traces it in `jax.jacfwd`: it may have
changed, and so may what it captures. If the program is one that was seen before, with
inputs of the same shapes, only the compiled Jacobian runs. It takes the arrays that the
function captures as arguments, so that new weights are no reason to compile.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import jax
import jax.extend.core as jex
from jax.core import Tracer
from jaxtyping import Array

from .._jaxpr.closed import replace_constants
from .._jaxpr.fingerprint import signature
from .._jaxpr.outside_trace import transfers_allowed
from .._jaxpr.program import bodies
from .._orders.cache import default_cache
from .._orders.lookup import Automatic
from .._orders.orderings import AbstractOrdering
from .._orders.store import num_changes
from .._rules.registry import registry_version
from .granularity import is_compiled
from .methods import JacobianBlocks, Problem
from .select import select_method


# Programs of so many equations are compiled at the first call. A function of which so
# many programs were compiled and not called again (as Python numbers in it change, or
# shapes) has to be called twice with the same program.
_FEW_EQUATIONS, _MAX_UNREPEATED = 400, 2
# Longer programs take as long to compile as so many calls take, and seconds.
_CALLS, _MAX_EQUATIONS, _NEVER = 16, 4096, sys.maxsize
# Programs and functions that are remembered.
_MAX_ENTRIES = 256

_Value = TypeVar("_Value")


class _Recent(Generic[_Value]):
    """The values of the keys that were used last."""

    def __init__(self) -> None:
        self._values: dict[Hashable, _Value] = {}

    def get(self, key: Hashable, default: _Value) -> _Value:
        """The value of a key, which is kept as the last one used."""
        value = self._values.pop(key, default)
        self.put(key, value)
        return value

    def put(self, key: Hashable, value: _Value) -> None:
        self._values[key] = value
        if len(self._values) > _MAX_ENTRIES:
            self._values.pop(next(iter(self._values)), None)

    def clear(self) -> None:
        self._values.clear()


@dataclass
class _Entry:
    """The calls of a program, and its compiled Jacobian if there is one."""

    calls: int = 0
    jacobian: Callable[..., JacobianBlocks] | None = None


_ENTRIES: _Recent[_Entry] = _Recent()
# By the code of the user's function.
_UNREPEATED: _Recent[int] = _Recent()


def forget_compiled() -> None:
    """Drops all that is compiled."""
    _ENTRIES.clear()
    _UNREPEATED.clear()


def compiled_jacobian(
    problem: Problem, order: AbstractOrdering, fun: Callable
) -> JacobianBlocks | None:
    """The dense Jacobian of a problem, by compiled code. None if it is not worth it, or
    if it might have other effects than what runs one by one.

    `fun` is the function, as `jacobian_blocks` has it.
    """
    if not _is_eligible(problem, order):
        return None
    with transfers_allowed():
        identified = signature(problem.program)
    if identified is None or not all(map(_is_on_one_device, identified.captured)):
        return None
    entry, code = _ENTRIES.get(_key(problem, identified.key), _Entry()), _code(fun)
    entry.calls += 1
    unrepeated = _UNREPEATED.get(code, 0)
    if entry.jacobian is None:
        if entry.calls < _calls_needed(problem, unrepeated):
            return None
        entry.jacobian = _compiled(problem, order, identified.captured)
        unrepeated += entry.calls == 1
    elif entry.calls == 2:
        unrepeated = max(0, unrepeated - 1)
    _UNREPEATED.put(code, unrepeated)
    return entry.jacobian(problem.leaves, identified.captured)


def _is_eligible(problem: Problem, order: AbstractOrdering) -> bool:
    """True for a call with the default order, of arrays that are all there."""
    config: Any = jax.config
    steps = config.jax_disable_jit, config.jax_debug_nans, config.jax_debug_infs
    if is_compiled() or any(steps) or not isinstance(order, Automatic):
        return False
    if not jax.sharding.get_abstract_mesh().empty:
        return False
    return problem.granularity != "scalar" and all(
        map(_is_on_one_device, problem.leaves)
    )


def _is_on_one_device(array: Any) -> bool:
    return not isinstance(array, Tracer) and len(array.sharding.device_set) == 1


def _key(problem: Problem, program: Hashable) -> Hashable:
    options = problem.num_outputs, problem.granularity, problem.with_value
    cache = default_cache(), num_changes(), registry_version()
    avals = tuple(map(jax.typeof, problem.leaves))
    return program, avals, options, problem.chunk_size, cache


def _code(fun: Callable) -> Hashable:
    """The code that the user wrote, which functions made anew have in common."""
    fun = inspect.unwrap(fun)
    return getattr(fun, "__code__", type(fun))


def _calls_needed(problem: Problem, unrepeated: int) -> int:
    """The number of the call from which on a program is compiled."""
    count = _num_equations([e.eqn for e in problem.program.equations])
    if count <= _FEW_EQUATIONS:
        return 1 if unrepeated < _MAX_UNREPEATED else 2
    return _CALLS if count <= _MAX_EQUATIONS else _NEVER


def _num_equations(eqns: Sequence[jex.JaxprEqn]) -> int:
    """The equations of a program, with those of its bodies."""
    inner = (_num_equations(body.eqns) for eqn in eqns for body in bodies(eqn))
    return len(eqns) + sum(inner)


def _compiled(
    problem: Problem, order: AbstractOrdering, captured: Sequence[Array]
) -> Callable[[Sequence[Array], Sequence[Array]], JacobianBlocks]:
    """The Jacobian as a compiled function of the inputs and of captured arrays."""
    # What is kept has no arrays in it.
    placeholders = [object() for _ in captured]
    program = replace_constants(problem.program, captured, placeholders)
    kept = replace(problem, program=program, leaves=())

    @jax.jit
    def jacobian(leaves, captured):
        program = replace_constants(kept.program, placeholders, captured)
        at = replace(kept, program=program, leaves=leaves)
        return select_method(at, order, is_one_call=True)()

    return jacobian
