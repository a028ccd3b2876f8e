"""Reading from, and writing to, some entries of an array."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from ._case import Case, case, positive, uniform


_X = uniform(4, 3)
_INDICES = np.array([2, 0, 2])


def _where_mask(x):
    return x * (x > 0.0).astype(x.dtype)


def _dynamic_slice(x):
    start = jnp.argmax(x[:, 0])
    return lax.dynamic_slice(x, (start, 1), (2, 2)) * x[:2, :2]


def _dynamic_update_slice(v):
    x, update = v
    return lax.dynamic_update_slice(x**2, update, (1, jnp.argmin(x[0])))


def _gather(x):
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    return lax.gather(x, jnp.array([[3], [1]]), numbers, (1, 3)) ** 2


def _scatter_nd(v):
    x, update = v
    rows, columns = jnp.array([0, 3, 0]), jnp.array([1, 2, 1])
    return x.at[rows, columns].add(update)


_OF_A_MATRIX = {
    "argsort_take": lambda x: jnp.take_along_axis(x, jnp.argsort(x, 1), axis=1) * x,
    "at_add": lambda x: x.at[1].add(x[0] * x[2]),
    "at_add_repeated": lambda x: x.at[jnp.array([1, 1])].add(x[2:] ** 2),
    "at_divide": lambda x: (2.0 + x).at[1].divide(3.0 + x[0]),
    "at_get_fill": lambda x: x.at[jnp.array([1, 7])].get(mode="fill", fill_value=0.5),
    "at_max": lambda x: x.at[jnp.array([0, 2])].max(x[jnp.array([1, 3])]),
    "at_min": lambda x: x.at[1].min(0.1),
    "at_multiply": lambda x: x.at[:2].multiply(jnp.cos(x[2:])),
    "at_multiply_indexed": lambda x: x.at[jnp.array([3, 1])].multiply(
        jnp.cos(x[2:]), unique_indices=True
    ),
    "at_set": lambda x: x.at[1, :].set(x[0] ** 2),
    "at_set_column": lambda x: x.at[:, 0].set(1.0) * x,
    "at_set_drop": lambda x: x.at[jnp.array([1, 9])].set(x[:2] ** 2, mode="drop"),
    "boolean_where": _where_mask,
    "choose": lambda x: jnp.choose(jnp.array([0, 1, 0]), [x[0], x[1]], mode="clip"),
    "dynamic_index": lambda x: x[jnp.argmax(x[:, 0])] ** 2,
    "dynamic_slice": _dynamic_slice,
    "extract_static": lambda x: x[np.array([True, False, True, False])] ** 2,
    "fancy": lambda x: x[jnp.array([[0, 1], [3, 0]]), jnp.array([2, 0])[None]] ** 2,
    "gather": _gather,
    "index_negative": lambda x: x[-1, -2] * x[0, 0],
    "index_new_axis": lambda x: x[None, ::2, None, 1] ** 2,
    "index_reversed": lambda x: x[::-1] * x,
    "index_strided": lambda x: x[1::2, ::2] ** 3,
    "select_and_index": lambda x: jnp.where(x > 0.0, x, x[::-1])[1:3],
    "slice_empty": lambda x: x[2:2] * 2.0,
    "take": lambda x: jnp.take(x, _INDICES, axis=0) ** 2,
    "take_flat": lambda x: jnp.take(x, _INDICES) * x[0],
    "take_clip": lambda x: jnp.take(x, jnp.array([-7, 9]), axis=0, mode="clip"),
    "take_wrap": lambda x: jnp.take(x, jnp.array([-7, 9]), axis=0, mode="wrap"),
    "take_last": lambda x: jnp.take(x, -1, axis=1) ** 2,
    "triu_indices": lambda x: x[jnp.triu_indices(3)] ** 2,
}


def _interpolate(v):
    x, values = v
    return jnp.interp(x, jnp.array([0.0, 0.4, 0.7, 2.0]), values)


def _segment_sum(x):
    total = jnp.zeros(2, x.dtype).at[jnp.array([0, 1, 0, 1])].add(x[:, 0] ** 2)
    return total / (1.0 + total)


def _histogram(x):
    counts, _ = jnp.histogram(x, bins=3, weights=x**2)
    return counts


def _searchsorted(x):
    return x[jnp.searchsorted(jnp.array([-0.5, 0.0, 0.5]), x[:3, 0])] ** 2


def _integer_and_float(v):
    return v["table"][v["index"]] ** 2 * v["index"].astype(v["table"].dtype)[:, None]


CASES: dict[str, Case] = {name: case(f, _X) for name, f in _OF_A_MATRIX.items()} | {
    "dynamic_update_slice": case(_dynamic_update_slice, (_X, uniform(2, 2, seed=1))),
    "histogram": case(_histogram, uniform(5)),
    "index_by_integers": case(
        _integer_and_float, {"table": _X, "index": np.array([3, 1])}
    ),
    "interpolate": case(_interpolate, (positive(3), uniform(4))),
    "put_along_axis": case(
        lambda x: jnp.put_along_axis(
            x, jnp.array([[1], [0], [2], [2]]), x[:, :1] ** 2, axis=1, inplace=False
        ),
        _X,
    ),
    "scatter_nd": case(_scatter_nd, (_X, uniform(3))),
    "searchsorted": case(_searchsorted, _X),
    "segment_sum": case(_segment_sum, _X),
}
