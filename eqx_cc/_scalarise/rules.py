"""How the equations of arrays become equations of scalars, by class."""

from __future__ import annotations

import functools as ft
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.extend.core as jex
import numpy as np
from jax import lax

from .._jaxpr.avals import aval_of
from .entries import constant, Entries, Entry, evaluated, scalar_aval
from .moves import moved


# Makes one equation of scalars, and returns its result.
Emit: TypeAlias = Callable[[jex.JaxprEqn, Sequence[Entry]], Entry]
# A rule returns the entries of the results, or None where it does not apply. `known`
# has the operands of which all entries are constants, as arrays.
Rule: TypeAlias = Callable[
    [Emit, jex.JaxprEqn, list[Entries], list[np.ndarray | None]], list[Entries] | None
]


#
# Entries that move
#


def _moved(
    emit: Emit,
    eqn: jex.JaxprEqn,
    arrays: list[Entries],
    known: list[np.ndarray | None],
) -> list[Entries] | None:
    """Finds out where each entry goes by letting the primitive move their numbers."""
    results = moved(eqn, arrays)
    if results is not None:
        return results
    num_values = _NUM_VALUES.get(eqn.primitive.name, len(arrays))
    if any(k is None for k in known[num_values:]):
        return None
    table: list[Entry] = []
    numbers: list[Any] = []
    for array in arrays[:num_values]:
        first = len(table)
        table += array.flat
        numbers.append(
            np.arange(first, len(table), dtype=np.int32).reshape(array.shape)
        )
    results = evaluated(_on_integers(eqn), numbers + known[num_values:])
    # `gather` fills what is out of bounds with a number of its own.
    fill = constant(_fill_value(eqn), eqn.outvars[0].aval)
    table.append(fill)
    return [_looked_up(table, result) for result in results]


def _looked_up(table: list[Entry], numbers: np.ndarray) -> Entries:
    entries = np.empty(numbers.shape, object)
    for index in np.ndindex(numbers.shape):
        number = int(numbers[index])
        entries[index] = table[number if 0 <= number < len(table) else -1]
    return entries


def _on_integers(eqn: jex.JaxprEqn) -> jex.JaxprEqn:
    if eqn.params.get("fill_value") is None:
        return eqn
    return eqn.replace(params=eqn.params | {"fill_value": np.iinfo(np.int32).min})


def _fill_value(eqn: jex.JaxprEqn) -> Any:
    value = eqn.params.get("fill_value")
    dtype = aval_of(eqn.outvars[0]).dtype
    if value is not None:
        return value
    if np.issubdtype(dtype, np.inexact) or dtype.kind not in "iub":
        return math.nan
    return dtype.kind == "b" or _extreme(dtype)


def _extreme(dtype: np.dtype) -> int:
    """What `gather` fills integers with: the least, or the greatest of unsigned."""
    info = np.iinfo(dtype)
    return info.max if dtype.kind == "u" else info.min


# How many of the operands are values that move; the others are indices.
_NUM_VALUES = {"gather": 1, "dynamic_slice": 1, "dynamic_update_slice": 2}


#
# Sums of products
#


def _dot_general(emit, eqn, arrays, known) -> list[Entries] | None:
    a, b = arrays
    out = eqn.outvars[0].aval
    if out.dtype == bool or any(v.aval.dtype != out.dtype for v in eqn.invars):
        return None
    (a_contract, b_contract), (a_batch, b_batch) = eqn.params["dimension_numbers"]
    a_free = _others(a.ndim, a_contract, a_batch)
    b_free = _others(b.ndim, b_contract, b_batch)
    a = _regrouped(a, a_batch, a_free, a_contract)
    b = _regrouped(b, b_batch, b_free, b_contract)
    result = np.empty((*a.shape[:2], b.shape[1]), object)
    for k, i, j in np.ndindex(result.shape):
        result[k, i, j] = inner_product(emit, eqn, a[k, i], b[k, j])
    return [result.reshape(out.shape)]


def _regrouped(array: Entries, *groups: Sequence[Any]) -> Entries:
    """The array with one axis for each group of its axes."""
    sizes = [math.prod(array.shape[i] for i in group) for group in groups]
    return array.transpose([i for group in groups for i in group]).reshape(sizes)


def _others(ndim: int, *taken: Sequence[Any]) -> tuple[int, ...]:
    return tuple(i for i in range(ndim) if not any(i in axes for axes in taken))


def inner_product(emit: Emit, eqn: jex.JaxprEqn, a: Entries, b: Entries):
    mul, own = binary(lax.mul, eqn), scalar_aval(eqn.outvars[0].aval)
    products = [emit(mul, pair) for pair in zip(a, b)]
    return _total(emit, binary(lax.add, eqn), products, constant(0, own))


def _total(emit: Emit, eqn: jex.JaxprEqn, entries, empty: Entry) -> Entry:
    if len(entries) == 0:
        return empty
    return ft.reduce(lambda x, y: emit(eqn, (x, y)), entries)


def binary(operation: Callable, eqn: jex.JaxprEqn) -> jex.JaxprEqn:
    """An equation of two scalars, that stands where `eqn` stands."""
    aval = aval_of(eqn.outvars[0])
    own = _traced(operation, aval.dtype, getattr(aval, "weak_type", False))
    return own.replace(source_info=eqn.source_info, ctx=eqn.ctx)


@ft.lru_cache
def _traced(operation, dtype: np.dtype, weak_type: bool) -> jex.JaxprEqn:
    one = jax.ShapeDtypeStruct((), dtype, weak_type=weak_type)
    [eqn] = jax.make_jaxpr(operation)(one, one).jaxpr.eqns
    return eqn


def _reduction(operation: Callable, empty: int) -> Rule:
    def rule(emit, eqn, arrays, known):
        [array], aval = arrays, eqn.outvars[0].aval
        if eqn.invars[0].aval.dtype != aval.dtype:
            return None
        axes = tuple(eqn.params["axes"])
        kept = _others(array.ndim, axes)
        rows = _regrouped(array, kept, axes)
        own, nothing = binary(operation, eqn), constant(empty, aval)
        result = np.empty(aval.size, object)
        for i, row in enumerate(rows):
            result[i] = _total(emit, own, list(row), nothing)
        return [result.reshape(aval.shape)]

    return rule


def _cumsum(emit, eqn, arrays, known) -> list[Entries]:
    array = arrays[0].copy()
    own = binary(lax.add, eqn)
    along = np.moveaxis(array, eqn.params["axis"], 0)
    along = along[::-1] if eqn.params["reverse"] else along
    for k, *index in np.ndindex(along.shape):
        if k > 0:
            pair = along[(k - 1, *index)], along[(k, *index)]
            along[(k, *index)] = emit(own, pair)
    return [array]


_MOVING = (
    "broadcast_in_dim concatenate dynamic_slice dynamic_update_slice expand_dims "
    "gather pad reshape rev slice split squeeze stack tile transpose unstack"
).split()
RULES: dict[str, Rule] = dict.fromkeys(_MOVING, _moved)
RULES |= {
    "dot_general": _dot_general,
    "reduce_sum": _reduction(lax.add, 0),
    "reduce_prod": _reduction(lax.mul, 1),
    "cumsum": _cumsum,
}
