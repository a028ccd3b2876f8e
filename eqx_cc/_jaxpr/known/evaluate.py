"""The results of an equation of known operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.extend.core as jex
import numpy as np

from ..outside_trace import computed_while_tracing
from ..program import bind
from .gathers import gathered
from .moves import moved


def evaluated(eqn: jex.JaxprEqn, arrays: Sequence[Any]) -> list[np.ndarray]:
    """The results of an equation of constants."""
    results = evaluated_by_numpy(eqn, arrays)
    if results is not None:
        return results
    with computed_while_tracing():
        return [np.asarray(result) for result in bind(eqn, arrays)]


def evaluated_by_numpy(
    eqn: jex.JaxprEqn, arrays: Sequence[Any]
) -> list[np.ndarray] | None:
    """The results of an equation of constants; None where NumPy has not the same for
    certain."""
    with computed_while_tracing():
        operands = [_as_numpy(a, v.aval) for a, v in zip(arrays, eqn.invars)]
    results = _by_numpy(eqn, operands)
    return None if results is None else [np.asarray(result) for result in results]


def _as_numpy(array: Any, aval: Any) -> np.ndarray:
    """The array; the dtype of a number of Python is that of its abstract value."""
    if hasattr(array, "dtype"):
        return np.asarray(array)
    return np.asarray(array, aval.dtype)


def _by_numpy(eqn: jex.JaxprEqn, arrays: list[np.ndarray]) -> Sequence[Any] | None:
    """The results, or None where NumPy has not the same for certain."""
    name = eqn.primitive.name
    if not all(array.dtype.kind in "biuf" for array in arrays):
        return None
    results = moved(eqn, arrays)
    if results is not None:
        return results
    has_floats = any(array.dtype.kind == "f" for array in arrays)
    others = _OF_FLOATS if has_floats else _OF_INTEGERS
    fun = _OF_NUMBERS.get(name) or others.get(name)
    if fun is None:
        return None
    with np.errstate(all="ignore"):
        results = fun(arrays, eqn.params)
    return results if results is None or isinstance(results, list) else [results]


def _of(fun: Callable) -> Callable:
    """A function of arrays in the form of the tables below."""
    return lambda arrays, params: fun(*arrays)


#
# Exact on floating-point numbers too
#


def _convert(arrays, params):
    dtype = np.dtype(params["new_dtype"])
    from_float, [array] = arrays[0].dtype.kind == "f", arrays
    is_index = from_float and dtype.kind == "i" and dtype.itemsize >= 4
    if dtype.kind not in ("f" if from_float else "biuf"):
        if not (is_index and _is_small(array)):
            return None
    return array != 0 if dtype.kind == "b" else array.astype(dtype)


def _is_small(array: np.ndarray) -> bool:
    """True if numbers become integers of 32 bits in one way: not those beyond them."""
    return bool((abs(array) < 2**31).all())


def _select_n(arrays, params):
    which, *cases = arrays
    if which.dtype.kind != "b" or len(cases) != 2:
        return None
    return np.where(which, cases[1], cases[0])


def _integer_pow(arrays, params):
    [array], exponent = arrays, params["y"]
    if exponent == -1 and array.dtype.kind == "f":
        result = np.divide(array.dtype.type(1), array)
        tiny = (abs(result) < np.finfo(result.dtype).tiny) & np.isfinite(array)
        return None if np.any(tiny) else result  # XLA may have zeros.
    return np.square(array) if exponent == 2 else None


def _iota(arrays, params):
    shape, axis = params["shape"], params["dimension"]
    sizes = [-1 if i == axis else 1 for i in range(len(shape))]
    line = np.arange(shape[axis]).astype(params["dtype"]).reshape(sizes)
    return None if arrays else np.broadcast_to(line, shape)


def _remainder(arrays, params):
    top, bottom = arrays
    is_integer = top.dtype.kind != "f"
    if is_integer and (np.any(bottom == 0) or np.any(bottom == -1)):
        return None  # Undefined, or it may overflow.
    return np.fmod(top, bottom)


def _clamped_starts(array, widths, starts):
    pairs = zip(starts, array.shape, widths)
    return [min(max(int(start), 0), size - width) for start, size, width in pairs]


def _dynamic_slice(arrays, params):
    array, *starts = arrays
    widths = params["slice_sizes"]
    begins = _clamped_starts(array, widths, starts)
    return array[(*(slice(b, b + w) for b, w in zip(begins, widths)), ...)]


def _dynamic_update_slice(arrays, params):
    array, update, *starts = arrays
    begins = _clamped_starts(array, update.shape, starts)
    result = array.copy()
    pairs = zip(begins, update.shape)
    result[(*(slice(b, b + w) for b, w in pairs), ...)] = update
    return result


def _pad(arrays, params):
    array, fill = arrays
    places, shape = [], []
    for size, (low, high, inside) in zip(array.shape, params["padding_config"]):
        shape.append(max(0, low + high + size + max(0, size - 1) * inside))
        places.append(low + np.arange(size) * (inside + 1))
    kept = [(p >= 0) & (p < size) for p, size in zip(places, shape)]
    result = np.full(shape, fill, array.dtype)
    if array.ndim == 0:
        return array
    targets = np.ix_(*(p[k] for p, k in zip(places, kept)))
    result[targets] = array[np.ix_(*kept)]
    return result


def _split(arrays, params):
    stops = np.cumsum(params["sizes"])[:-1]
    return np.split(arrays[0], stops, params["axis"])


_OF_NUMBERS: dict[str, Callable] = {
    "abs": _of(np.abs),
    "add": _of(np.add),
    "mul": _of(np.multiply),
    "neg": _of(np.negative),
    "sub": _of(np.subtract),
    "eq": _of(np.equal),
    "ge": _of(np.greater_equal),
    "gt": _of(np.greater),
    "le": _of(np.less_equal),
    "lt": _of(np.less),
    "ne": _of(np.not_equal),
    "convert_element_type": _convert,
    "copy": lambda arrays, _: arrays[0],
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": gathered,
    "integer_pow": _integer_pow,
    "iota": _iota,
    "pad": _pad,
    "rem": _remainder,
    "select_n": _select_n,
    "split": _split,
    "square": _of(np.square),
}


#
# Rounded correctly, or not at all
#


def _larger(fun: Callable) -> Callable:
    """`np.maximum` or `np.minimum`, where the sign of a zero is not in doubt."""

    def larger(arrays, params):
        first, second = arrays
        return None if np.any((first == 0) & (second == 0)) else fun(first, second)

    return larger


_OF_FLOATS: dict[str, Callable] = {
    "ceil": _of(np.ceil),
    "div": _of(np.divide),
    "floor": _of(np.floor),
    "max": _larger(np.maximum),
    "min": _larger(np.minimum),
    "sqrt": _of(np.sqrt),
}


#
# Exact on integers and Booleans
#


def _quotient(arrays, params):
    """Division rounds towards zero, NumPy's down."""
    top, bottom = arrays
    if np.any(bottom == 0) or np.any(bottom == -1):  # Undefined, or it may overflow.
        return None
    quotient = top // bottom
    is_below = (top % bottom != 0) & ((top < 0) != (bottom < 0))
    return (quotient + is_below).astype(top.dtype)


def _reduction(ufunc: Any) -> Callable:
    def reduce(arrays, params):
        [array], axes = arrays, tuple(params["axes"])
        if array.size == 0:  # NumPy's have no identity.
            return None
        return ufunc.reduce(array, axes, dtype=array.dtype)

    return reduce


def _cumsum(arrays, params):
    [array], axis = arrays, params["axis"]
    if params["reverse"]:
        flipped = np.flip(array, axis)
        return np.flip(np.cumsum(flipped, axis, dtype=array.dtype), axis)
    return np.cumsum(array, axis, dtype=array.dtype)


def _argument(fun: Callable) -> Callable:
    def reduce(arrays, params):
        [array], [axis] = arrays, params["axes"]
        return fun(array, axis).astype(params["index_dtype"]) if array.size else None

    return reduce


def _sort(arrays, params):
    if params["num_keys"] != 1:
        return None
    axis = params["dimension"]
    order = np.argsort(arrays[0], axis, kind="stable")
    return [np.take_along_axis(array, order, axis) for array in arrays]


_OF_INTEGERS: dict[str, Callable] = {
    "and": _of(np.bitwise_and),
    "argmax": _argument(np.argmax),
    "argmin": _argument(np.argmin),
    "clamp": _of(lambda low, x, high: np.minimum(np.maximum(x, low), high)),
    "cumsum": _cumsum,
    "div": _quotient,
    "max": _of(np.maximum),
    "min": _of(np.minimum),
    "not": _of(np.invert),
    "or": _of(np.bitwise_or),
    "reduce_and": _reduction(np.bitwise_and),
    "reduce_max": _reduction(np.maximum),
    "reduce_min": _reduction(np.minimum),
    "reduce_or": _reduction(np.bitwise_or),
    "reduce_sum": _reduction(np.add),
    "sign": _of(np.sign),
    "sort": _sort,
    "xor": _of(np.bitwise_xor),
}
