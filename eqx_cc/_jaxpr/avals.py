"""Abstract values: shapes and dtypes, known when tracing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core.primitives import convert_element_type_p


def avals_of(variables) -> list[Any]:
    """The abstract values of variables."""
    return [variable.aval for variable in variables]


def is_numeric(aval) -> bool:
    """True if an abstract value is an array of numbers: not of random keys, say."""
    return isinstance(getattr(aval, "dtype", None), np.dtype)


def is_inexact(aval) -> bool:
    """True if an abstract value is a floating or complex array."""
    return is_numeric(aval) and bool(jnp.issubdtype(aval.dtype, jnp.inexact))


def is_complex(aval) -> bool:
    """True if an abstract value is a complex array."""
    return bool(jnp.issubdtype(aval.dtype, jnp.complexfloating))


def struct(aval) -> jax.ShapeDtypeStruct:
    """An abstract array, for tracing."""
    return jax.ShapeDtypeStruct(
        aval.shape, aval.dtype, weak_type=getattr(aval, "weak_type", False)
    )


def aval_of(variable: Any) -> Any:
    """The abstract value of a variable or a literal of a jaxpr, which has a shape and a
    dtype."""
    return variable.aval


def as_arrays(values: Iterable[Any], avals: Sequence[Any]) -> list[Any]:
    """The values of outputs as arrays; literals are numbers of Python."""
    return [_as_array(value, aval) for value, aval in zip(values, avals)]


def _as_array(value: Any, aval: Any) -> Any:
    if isinstance(value, jax.Array):
        return value
    if getattr(aval, "weak_type", False):
        return jnp.asarray(np.asarray(value).item())
    return jnp.asarray(value, aval.dtype)


def retyped(array: Any, dtype: Any, weak_type: bool) -> Any:
    """The array with this dtype and weak type, which only the primitive can set."""
    if array.dtype == dtype and jax.typeof(array).weak_type == weak_type:
        return array
    return convert_element_type_p.bind(
        array, new_dtype=dtype, weak_type=weak_type, sharding=None
    )
