"""The arrays that a block stores: numbers, masks or both, and reading them.

Masks keep infinities out. A coefficient that chooses (of `where`, of a traced index, of
a branch) is stored as a mask, and not as the numbers 0 and 1. A mask that is applied
after an infinite partial selects zero in its place, as the tangents of `jax.jacfwd` do:

    where(x > 0, log(x), 0) at x = 0: the mask is False, the partial of log is inf,
    and their product is 0; with the numbers it would be 0 * inf, which is NaN.

Masks are lost where a block of numbers is multiplied by a mask from the left, or added
to one. There `0 * inf` is NaN, as it is in reverse mode. The same holds for `cumprod`
and `reduce_window`, whose blocks are numbers with zeros among them, for the carry of a
scan, and for sums of more than a few thousand masked numbers. The entries that are NaN
depend on the order; "forward" has the fewest. To be exact in all of them, every
multiplication would need a comparison.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._sparsity.positions.affine import Affine
from .._sparsity.positions.table import Form, ravelled
from .._sparsity.term import Scalar, Take


# The values of a pattern's terms, in their order; None where they are known, booleans
# where they are a mask, `Masked` where a mask chooses among numbers.
Values = tuple[Any, ...]

# Where Linux says what a container may take: control groups, versions 2 and 1.
_GROUP_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


class Masked(NamedTuple):
    """Numbers where the mask is true, zero elsewhere; arrays of the same shape."""

    mask: jax.Array
    number: jax.Array


def memory() -> int | float:
    """The bytes that the default device has, or that this process may take if that is
    less; infinite where nobody says."""
    return min(_device_memory(), _address_space())


@lru_cache(maxsize=1)
def _device_memory() -> int | float:
    try:
        stats = jax.local_devices()[0].memory_stats()
    except (NotImplementedError, RuntimeError):  # A platform that does not say.
        stats = None
    if stats is not None and "bytes_limit" in stats:
        return stats["bytes_limit"]
    try:
        pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Not a Unix.
        return math.inf
    return min(pages, _container())


def _container() -> int | float:
    """The limit of the control group that this process is in, as containers have."""
    for file in _GROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number.
            return int(Path(file).read_text())
    return math.inf


def _address_space() -> int | float:
    try:
        import resource
    except ImportError:  # Not a Unix.
        return math.inf
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return math.inf if limit == resource.RLIM_INFINITY else limit


class DoesNotFit(ValueError):
    """An array would be larger than all memory."""


def check_fits(size: int, dtype: np.dtype, name: str, advice: str) -> None:
    """Refuses to create an array that is larger than all memory."""
    size *= dtype.itemsize
    if size > memory():
        raise DoesNotFit(
            f"{name} would take {size / 2**30:.1f} GiB, but the device has "
            f"{memory() / 2**30:.1f} GiB. {advice}"
        )


def as_numbers(value, dtype: np.dtype):
    """A mask as zeros and ones, masked numbers with their zeros; others as they are."""
    if isinstance(value, Masked):
        return lax.select(*value, lax.full_like(value.number, 0))
    return lax.convert_element_type(value, dtype) if value.dtype == bool else value


def of_type(value, dtype: np.dtype):
    """Numbers of a type; a mask as it is."""
    if isinstance(value, Masked):
        return value._replace(number=of_type(value.number, dtype))
    return value if value.dtype == bool else lax.convert_element_type(value, dtype)


def on_numbers(function: Callable, value):
    """Applies a function that maps zero to zero."""
    if isinstance(value, Masked):
        return value._replace(number=on_numbers(function, value.number))
    is_complex = jnp.issubdtype(value.dtype, jnp.complexfloating)
    return function(value) if is_complex else value


def scaled(value: Any, scale: Scalar) -> Any:
    """`scale * value`, at no cost where the coefficient is 1 or -1."""
    if scale == 1:
        return value
    if isinstance(scale, complex) and not jnp.issubdtype(
        value.dtype, jnp.complexfloating
    ):
        value = lax.convert_element_type(value, complex_type(value.dtype))
    if isinstance(value, np.ndarray | np.generic):
        return np.multiply(value, np.asarray(scale, value.dtype))
    return lax.neg(value) if scale == -1 else lax.mul(value, filled_like(value, scale))


def filled_like(value, number: Scalar) -> Any:
    """An array of one number, of the shape and type of another. A scalar is NumPy's:
    JAX takes longer to fill it than to multiply by it."""
    if value.ndim == 0:
        return np.asarray(number, value.dtype)
    return lax.full_like(value, number)


def complex_type(dtype) -> np.dtype:
    """The complex type of the precision of a real one."""
    return np.dtype(np.complex128 if dtype == np.float64 else np.complex64)


def common(a, b):
    """Two arrays in the type that both promote to."""
    if a.dtype == b.dtype:
        return a, b
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.promote_types(a.dtype, b.dtype)
    return lax.convert_element_type(a, dtype), lax.convert_element_type(b, dtype)


#
# Reading at known positions
#


def take(value: Any, recipe: Take) -> Any:
    """`result[labels] = value[forms(labels)]`.

    Of a matrix with the forms `(i, i)`, its diagonal; of a vector with the form
    `2 * i + 1`, every other entry, from the second on.
    """
    if isinstance(value, Masked):
        return Masked(take(value.mask, recipe), take(value.number, recipe))
    if recipe.is_identity and value.shape == recipe.sizes:
        return value
    sizes = dict(zip(recipe.labels, recipe.sizes))
    indices = [i for form in recipe.forms for i in form.indices]
    if len(set(indices)) < len(indices) or not all(
        _is_compact(form, sizes) for form in recipe.forms
    ):
        return _gather(value, recipe, sizes)
    return transposed(_sliced(value, recipe.forms, sizes), indices)


def taken(values: Values, recipes: Sequence[Take]) -> Values:
    """Each of the values of a block, read by its recipe."""
    pairs = zip(values, recipes)
    return tuple(v if v is None else take(v, recipe) for v, recipe in pairs)


def _is_compact(form: Form, sizes: dict[int, int]) -> bool:
    """True if a form is one strided index, or a row-major flattening of several."""
    if not isinstance(form, Affine):
        return False
    return len(form.strides) <= 1 or is_row_major(form.strides, sizes.__getitem__)


def is_row_major(
    strides: Sequence[tuple[int, int]], size: Callable[[int], int]
) -> bool:
    """True if `(index, stride)` flatten an array in row-major order.

    `3 * i + j` does if `j` is below 3: the strides of `(i, j)` are `(3, 1)`.
    """
    expected = 1
    for index, stride in reversed(strides):
        if stride != expected:
            return False
        expected *= size(index)
    return True


def _sliced(value, forms: Sequence[Any], sizes: dict[int, int]):
    """A window of the value, with an axis for each index in the order of the forms."""
    starts, limits, steps, flipped = [], [], [], []
    for axis, form in enumerate(forms):
        low, high = form.range(sizes.__getitem__)
        stride = form.strides[0][1] if len(form.strides) == 1 else 1
        starts.append(low)
        limits.append(high + 1)
        steps.append(abs(stride))
        if stride < 0:
            flipped.append(axis)
    whole = starts == [0] * len(forms) and limits == list(value.shape)
    if not whole or any(step != 1 for step in steps):
        value = lax.slice(value, starts, limits, steps)
    if flipped:
        value = lax.rev(value, flipped)
    shape = tuple(sizes[i] for form in forms for i in form.indices)
    return value if value.shape == shape else lax.reshape(value, shape)


def _gather(value, recipe: Take, sizes: dict[int, int]):
    flat = ravelled(recipe.forms, value.shape, sizes)
    return lax.reshape(gathered(value, flat), recipe.sizes)


def gathered(value, flat: np.ndarray) -> jax.Array:
    """The entries of an array at flat positions, which are known."""
    vector = lax.reshape(jnp.asarray(value), (math.prod(value.shape),))
    dtype = np.int32 if vector.size < 2**31 else np.int64
    return lax.gather(
        vector,
        flat[:, None].astype(dtype),
        lax.GatherDimensionNumbers((), (0,), (0,)),
        (1,),
        indices_are_sorted=bool((np.diff(flat) >= 0).all()),
        mode=lax.GatherScatterMode.PROMISE_IN_BOUNDS,
    )


def transposed(value, labels: Sequence[int]):
    """Axes in ascending order of their labels."""
    order = sorted(range(len(labels)), key=labels.__getitem__)
    return value if order == list(range(len(labels))) else lax.transpose(value, order)
