"""Rules that expand equations of arrays into equations of scalars, by class."""

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
from .._jaxpr.known.evaluate import evaluated
from .._jaxpr.known.moves import moved
from .._jaxpr.program import Atom
from .._rules.selection import transposed
from .entries import as_entries, Atoms, constant, scalar_aval


# Makes one equation of scalars, and returns its result.
Emit: TypeAlias = Callable[[jex.JaxprEqn, Sequence[Atom]], Atom]
# A rule is called as `rule(emit, eqn, arrays, values)`: `values[i]` is operand `i` if
# all of its entries are constants, else None. It returns the entries of the results, or
# None where it does not apply.
ExpansionRule: TypeAlias = Callable[
    [Emit, jex.JaxprEqn, list[Atoms], list[np.ndarray | None]],
    list[Atoms] | None,
]


#
# Entries that move
#


def _moved(
    emit: Emit,
    eqn: jex.JaxprEqn,
    arrays: list[Atoms],
    values: list[np.ndarray | None],
) -> list[Atoms] | None:
    """Applies the primitive to the numbers of entries, to find where each entry goes.

    `x[i]` of `x = [a, b, c]` and known `i = [2, 0]` is `[0, 1, 2][i] = [2, 0]`, which
    stands for `[c, a]`.
    """
    results = moved(eqn, arrays)
    if results is not None:
        return results
    num_values = NUM_VALUES.get(eqn.primitive.name, len(arrays))
    if any(value is None for value in values[num_values:]):
        return None
    table: list[Atom] = []
    numbers: list[Any] = []
    for array in arrays[:num_values]:
        first = len(table)
        table += array.flat
        numbers.append(
            np.arange(first, len(table), dtype=np.int32).reshape(array.shape)
        )
    results = evaluated(on_integers(eqn), numbers + values[num_values:])
    # `gather` fills what is out of bounds with a number of its own.
    size, fill = len(table), constant(fill_value(eqn), eqn.outvars[0].aval)
    return [
        as_entries([table[k] if 0 <= k < size else fill for k in n.flat], n.shape)
        for n in results
    ]


def _set(
    emit: Emit,
    eqn: jex.JaxprEqn,
    arrays: list[Atoms],
    values: list[np.ndarray | None],
) -> list[Atoms] | None:
    """Replaces entries at known places, if no two updates go to the same one.

    `zeros(3).at[[2, 0]].set([a, b])` is `[b, 0, a]`.
    """
    base, _, updates = arrays
    if values[1] is None:
        return None
    numbers = np.arange(base.size + updates.size, dtype=np.int32)
    old = numbers[: base.size].reshape(base.shape)
    new = numbers[base.size :].reshape(updates.shape)
    [places] = evaluated(eqn, [old, values[1], new])
    num_placed = np.count_nonzero(places >= base.size)
    if not is_unique(eqn, updates) and num_placed < updates.size:
        return None  # Two go to the same place, or one is out of bounds.
    table = [*base.flat, *updates.flat]
    return [as_entries([table[k] for k in places.flat], places.shape)]


def _added(emit, eqn, arrays, values) -> list[Atoms] | None:
    """Adds entries at known places, one update after the other.

    `zeros(3).at[[2, 0, 2]].add([a, b, c])` is `[b, 0, a + c]`.
    """
    base, _, updates = arrays
    if values[1] is None:
        return None
    gather = transposed(base.shape, updates.shape, eqn.params)
    entries, add = list(base.flat), binary(lax.add, eqn)
    for place, update in zip(gather.positions(values[1]).flat, updates.flat):
        if place >= 0:  # What is out of bounds is dropped.
            entries[place] = emit(add, (entries[place], update))
    return [as_entries(entries, base.shape)]


def is_unique(eqn: jex.JaxprEqn, updates: np.ndarray) -> bool:
    """True if a scatter is known to update no entry twice."""
    return updates.size == 1 or eqn.params["unique_indices"]


def on_integers(eqn: jex.JaxprEqn) -> jex.JaxprEqn:
    if eqn.params.get("fill_value") is None:
        return eqn
    return eqn.replace(params=eqn.params | {"fill_value": np.iinfo(np.int32).min})


def fill_value(eqn: jex.JaxprEqn) -> Any:
    """The number with which `gather` fills entries that are out of bounds."""
    value = eqn.params.get("fill_value")
    dtype = aval_of(eqn.outvars[0]).dtype
    if value is not None:
        return value
    if dtype.kind not in "iub":
        return math.nan
    if dtype.kind == "b":
        return True
    info = np.iinfo(dtype)
    return info.max if dtype.kind == "u" else info.min


# The number of operands whose entries move; the others are indices.
NUM_VALUES = {"gather": 1, "dynamic_slice": 1, "dynamic_update_slice": 2}


#
# Sums of products
#


def _dot_general(emit, eqn, arrays, values) -> list[Atoms] | None:
    """out[k, i, j] = sum_c a[k, i, c] * b[k, j, c]"""
    a, b = arrays
    out = eqn.outvars[0].aval
    if out.dtype == bool or any(v.aval.dtype != out.dtype for v in eqn.invars):
        return None
    (a_contract, b_contract), (a_batch, b_batch) = eqn.params["dimension_numbers"]
    a_free = _others(a.ndim, a_contract, a_batch)
    b_free = _others(b.ndim, b_contract, b_batch)
    a = _regrouped(a, a_batch, a_free, a_contract)
    b = _regrouped(b, b_batch, b_free, b_contract)
    entries = [
        inner_product(emit, eqn, a[k, i], b[k, j])
        for k, i, j in np.ndindex(*a.shape[:2], b.shape[1])
    ]
    return [as_entries(entries, out.shape)]


def _regrouped(array: Atoms, *groups: Sequence[Any]) -> Atoms:
    """The array with one axis for each group of its axes."""
    sizes = [math.prod(array.shape[i] for i in group) for group in groups]
    return array.transpose([i for group in groups for i in group]).reshape(sizes)


def _others(ndim: int, *taken: Sequence[Any]) -> tuple[int, ...]:
    return tuple(i for i in range(ndim) if not any(i in axes for axes in taken))


def inner_product(emit: Emit, eqn: jex.JaxprEqn, a: Atoms, b: Atoms) -> Atom:
    """The sum of products of entries, of the type of the result of `eqn`."""
    mul, zero = binary(lax.mul, eqn), constant(0, scalar_aval(eqn.outvars[0].aval))
    return _total(emit, binary(lax.add, eqn), [emit(mul, p) for p in zip(a, b)], zero)


def _total(emit: Emit, eqn: jex.JaxprEqn, entries, empty: Atom) -> Atom:
    if len(entries) == 0:
        return empty
    return ft.reduce(lambda x, y: emit(eqn, (x, y)), entries)


def binary(operation: Callable, eqn: jex.JaxprEqn) -> jex.JaxprEqn:
    """The equation of an operation on two scalars, in the place of `eqn`."""
    aval = aval_of(eqn.outvars[0])
    template = _traced(operation, aval.dtype, getattr(aval, "weak_type", False))
    return template.replace(source_info=eqn.source_info, ctx=eqn.ctx)


@ft.lru_cache
def _traced(operation, dtype: np.dtype, weak_type: bool) -> jex.JaxprEqn:
    one = jax.ShapeDtypeStruct((), dtype, weak_type=weak_type)
    [eqn] = jax.make_jaxpr(operation)(one, one).jaxpr.eqns
    return eqn


def _reduction(operation: Callable, empty: int) -> ExpansionRule:
    """out[i] = operation(in[i, 0], in[i, 1], ...)"""

    def rule(emit, eqn, arrays, values):
        [array], aval = arrays, eqn.outvars[0].aval
        if eqn.invars[0].aval.dtype != aval.dtype:
            return None
        axes = tuple(eqn.params["axes"])
        rows = _regrouped(array, _others(array.ndim, axes), axes)
        template, neutral = binary(operation, eqn), constant(empty, aval)
        totals = [_total(emit, template, list(row), neutral) for row in rows]
        return [as_entries(totals, aval.shape)]

    return rule


def _logical(operation: Callable, empty: int) -> ExpansionRule:
    """The same of Booleans."""
    reduction = _reduction(operation, empty)

    def rule(emit, eqn, arrays, values):
        is_boolean = aval_of(eqn.outvars[0]).dtype == bool
        return reduction(emit, eqn, arrays, values) if is_boolean else None

    return rule


def _cumsum(emit, eqn, arrays, values) -> list[Atoms]:
    """out[k] = out[k - 1] + in[k]"""
    array, add = arrays[0].copy(), binary(lax.add, eqn)
    along = np.moveaxis(array, eqn.params["axis"], 0)
    along = along[::-1] if eqn.params["reverse"] else along
    for k, *index in np.ndindex(along.shape):
        if k > 0:
            pair = along[(k - 1, *index)], along[(k, *index)]
            along[(k, *index)] = emit(add, pair)
    return [array]


_MOVING = (
    "broadcast_in_dim concatenate dynamic_slice dynamic_update_slice expand_dims "
    "gather pad reshape rev slice split squeeze stack tile transpose unstack"
).split()
RULES: dict[str, ExpansionRule] = dict.fromkeys(_MOVING, _moved)
RULES |= {
    "dot_general": _dot_general,
    "reduce_sum": _reduction(lax.add, 0),
    "reduce_prod": _reduction(lax.mul, 1),
    "reduce_and": _logical(lax.bitwise_and, True),
    "reduce_or": _logical(lax.bitwise_or, False),
    "scatter": _set,
    "scatter-add": _added,
    "cumsum": _cumsum,
}
