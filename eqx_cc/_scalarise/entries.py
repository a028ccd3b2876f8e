"""The entries of an expanded array: variables, or constants known while tracing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax.extend.core as jex
import numpy as np
from jax import lax
from jax.core import ShapedArray, Tracer

from .._jaxpr.outside_trace import at_once
from .._jaxpr.program import bind, Constant


# Arrays of dtype object, of integers (the numbers of variables) and `Constant`s.
Entries: TypeAlias = np.ndarray
Entry: TypeAlias = int | Constant


def scalar_aval(aval: Any) -> ShapedArray:
    """The abstract value of one entry of an array."""
    return ShapedArray((), aval.dtype, weak_type=getattr(aval, "weak_type", False))


def constant(value: Any, aval: Any) -> Constant:
    """A constant entry of an array."""
    return Constant(np.asarray(value, aval.dtype)[()], scalar_aval(aval))


def constants(array: Any, aval: Any) -> Entries:
    """The entries of an array that is known while tracing."""
    array = np.asarray(array)
    entries = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        entries[index] = constant(array[index], aval)
    return entries


def is_concrete(operand: int | Constant) -> bool:
    """Whether an operand is known while tracing."""
    return isinstance(operand, Constant) and not isinstance(operand.value, Tracer)


def known_array(entries: Entries, aval: Any) -> np.ndarray | None:
    """The array that the entries are, if all of them are known."""
    if not all(isinstance(entry, Constant) for entry in entries.flat):
        return None
    values = [entry.value for entry in entries.flat]
    return np.asarray(values, aval.dtype).reshape(entries.shape)


def is_number(entry: Entry, number: int) -> bool:
    """Whether an entry is a constant of this value."""
    return isinstance(entry, Constant) and bool(entry.value == number)


def entry(array: Any, index: tuple[int, ...]) -> Any:
    """One entry of an array, by slicing."""
    stops = tuple(i + 1 for i in index)
    return lax.squeeze(lax.slice(array, index, stops), tuple(range(len(index))))


# What NumPy does as JAX does, without compiling it.
_ARITHMETIC = {
    "add": np.add,
    "mul": np.multiply,
    "neg": np.negative,
    "sub": np.subtract,
}


def evaluated(eqn: jex.JaxprEqn, arrays: Sequence[Any]) -> list[np.ndarray]:
    """The results of an equation of known operands."""
    arithmetic = _ARITHMETIC.get(eqn.primitive.name)
    if arithmetic is not None and all(a.dtype.kind in "fiu" for a in arrays):
        with np.errstate(all="ignore"):
            return [np.asarray(arithmetic(*arrays))]
    with at_once():
        return [np.asarray(result) for result in bind(eqn, arrays)]
