"""Arrays of entries: variables of scalars, or constants known while tracing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jax import lax
from jax.core import ShapedArray, Tracer

from .._jaxpr.program import Atom, Constant


# An array of dtype object, of atoms.
Atoms: TypeAlias = np.ndarray


def scalar_aval(aval: Any) -> ShapedArray:
    """The abstract value of one entry of an array."""
    return ShapedArray((), aval.dtype, weak_type=getattr(aval, "weak_type", False))


def constant(value: Any, aval: Any) -> Constant:
    """A constant entry of an array."""
    return Constant(np.asarray(value, aval.dtype)[()], scalar_aval(aval))


def as_entries(entries: Sequence[Atom], shape: tuple[int, ...]) -> Atoms:
    """Entries, in the order of rows, as an array of a shape."""
    array = np.empty(len(entries), object)
    array[:] = entries
    return array.reshape(shape)


def constants(array: Any, aval: Any) -> Atoms:
    """The entries of a constant array."""
    array = np.asarray(array)
    return as_entries([constant(x, aval) for x in array.flat], array.shape)


def is_concrete(operand: Atom) -> bool:
    """True if the value of an operand is known while tracing."""
    return isinstance(operand, Constant) and not isinstance(operand.value, Tracer)


def constant_array(entries: Atoms, aval: Any) -> np.ndarray | None:
    """The array of the entries, if all of them are constants."""
    if not all(isinstance(entry, Constant) for entry in entries.flat):
        return None
    values = [entry.value for entry in entries.flat]
    return np.asarray(values, aval.dtype).reshape(entries.shape)


def is_number(entry: Atom, number: int) -> bool:
    """True if an entry is a constant of this value."""
    return isinstance(entry, Constant) and bool(entry.value == number)


def entry(array: Any, index: tuple[int, ...]) -> Any:
    """An entry of an array, by slicing."""
    stops = tuple(i + 1 for i in index)
    return lax.squeeze(lax.slice(array, index, stops), tuple(range(len(index))))
