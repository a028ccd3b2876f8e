"""The array operations that symbolic recipes stand for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._affine import Affine
from ._combine import Embedding, Group, Sum
from ._pattern import Composition, Update
from ._product import Product
from ._term import Scalar, Take


# The values of a pattern's terms, in their order; None where they are known, booleans
# where they are a mask, `Masked` where a mask chooses among numbers.
Values = tuple[Any, ...]


class Masked(NamedTuple):
    """Numbers where the mask is true, zero elsewhere; arrays of the same shape."""

    mask: jax.Array
    number: jax.Array


def run_update(
    recipe: Update, old: Values, left: Values, right: Values, dtype: np.dtype
) -> Values:
    """The values of `old + left @ right`."""
    products = run_composition(recipe.composition, left, right, dtype)
    return run_sum(recipe.sum, (*old, *products), dtype)


def run_composition(
    recipe: Composition, left: Values, right: Values, dtype: np.dtype
) -> Values:
    """The values of the terms of `left @ right`."""
    if recipe.densify_left is not None:
        left = run_sum(recipe.densify_left, left, dtype)
    if recipe.densify_right is not None:
        right = run_sum(recipe.densify_right, right, dtype)
    return tuple(_product(p, left[i], right[j], dtype) for i, j, p in recipe.products)


def run_sum(recipe: Sum, values: Values, dtype: np.dtype) -> Values:
    """The values of a sum of terms."""
    return tuple(_group(group, values, dtype) for group in recipe.groups)


# Sums


def _group(group: Group, values: Values, dtype: np.dtype) -> Any:
    if group.target.value is None:
        return None
    if not group.members:
        return lax.full(group.target.value_shape, 0, dtype)
    (first, scale, embedding), *rest = group.members
    if not rest and embedding is None and scale == 1:
        value = values[first]
        return as_numbers(value, dtype) if group.target.kind == "value" else value
    total, scattered = None, []
    for index, scale, embedding in group.members:
        value = _valued(values[index], dtype)
        if embedding is not None and not _is_window(embedding):
            scattered.append((embedding, scaled(value, scale)))
            continue
        if embedding is not None:
            if scale != -1:  # subtracting is free; anything else is cheaper unspread
                value, scale = scaled(value, scale), 1
            value = _window(embedding, value)
        total = _accumulated(total, value, scale)
    if scattered:
        return _scatter(group.target.value_shape, total, scattered)
    return total


def _accumulated(total, value, scale: Scalar):
    if total is None:
        return scaled(value, scale)
    if scale == -1:
        return lax.sub(*common(total, value))
    return lax.add(*common(total, scaled(value, scale)))


def _valued(value, dtype: np.dtype):
    """A value as numbers: ones where it is known, 0 and 1 where it is a mask."""
    if value is None:
        return np.ones((), dtype)
    return as_numbers(value, dtype)


def as_numbers(value, dtype: np.dtype):
    """A mask as zeros and ones, masked numbers with their zeros; others as they are."""
    if isinstance(value, Masked):
        return lax.select(*value, lax.full_like(value.number, 0))
    return lax.convert_element_type(value, dtype) if value.dtype == bool else value


def _on_numbers(function: Callable, value):
    """Applies a function that maps zero to zero."""
    if isinstance(value, Masked):
        return value._replace(number=_on_numbers(function, value.number))
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
    return (
        lax.neg(value) if scale == -1 else lax.mul(value, lax.full_like(value, scale))
    )


def complex_type(dtype) -> np.dtype:
    return np.dtype(np.complex128 if dtype == np.float64 else np.complex64)


def common(a, b):
    """Two arrays in the type that both promote to."""
    if a.dtype == b.dtype:
        return a, b
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.promote_types(a.dtype, b.dtype)
    return lax.convert_element_type(a, dtype), lax.convert_element_type(b, dtype)


def _is_window(embedding: Embedding) -> bool:
    """Whether no index of the source runs along two axes of the target."""
    indices = [i for form in embedding.forms for i in form.indices]
    single = all(len(form.strides) <= 1 for form in embedding.forms)
    return single and len(set(indices)) == len(indices)


def _axes(embedding: Embedding, value) -> jax.Array:
    """A value with one axis for each of the target, of the source's sizes or 1."""
    where = {i: a for a, form in enumerate(embedding.forms) for i in form.indices}
    shape = [1] * len(embedding.forms)
    for form, axis in ((form, a) for a, form in enumerate(embedding.forms)):
        for index in form.indices:
            shape[axis] = embedding.sizes[index]
    own = embedding.value if value.ndim else ()
    axes = tuple(where[index] for index in own or ())
    return lax.broadcast_in_dim(value, shape, axes)


def _window(embedding: Embedding, value) -> jax.Array:
    value = _axes(embedding, value)
    padding, flipped = [], []
    for axis, (form, size) in enumerate(zip(embedding.forms, embedding.shape)):
        low, high = form.range(embedding.sizes.__getitem__)
        stride = form.strides[0][1] if form.strides else 1
        padding.append((low, size - 1 - high, abs(stride) - 1))
        if stride < 0:
            flipped.append(axis)
    if flipped:
        value = lax.rev(value, flipped)
    if any(p != (0, 0, 0) for p in padding):
        value = lax.pad(value, np.zeros((), value.dtype), padding)
    return value


def _scatter(shape: tuple[int, ...], total, scattered) -> jax.Array:
    """Adds values at static positions, all in one scatter."""
    flat = [_flat_entries(shape, embedding, value) for embedding, value in scattered]
    values = [value for _, value in flat]
    while any(value.dtype != values[0].dtype for value in values):
        values = [common(value, values[0])[0] for value in values]
    values = lax.concatenate(values, 0) if len(values) > 1 else values[0]
    where = np.concatenate([positions for positions, _ in flat])
    unique = len(np.unique(where)) == len(where)
    if total is None:
        total = lax.full((math.prod(shape),), 0, values.dtype)
    else:
        total, values = common(lax.reshape(total, (math.prod(shape),)), values)
    at = total.at[where]
    total = at.add(values, unique_indices=unique, mode="promise_in_bounds")
    return lax.reshape(total, shape)


def _flat_entries(shape, embedding: Embedding, value):
    """Flat positions in the target's value, and the value at each of them."""
    used = sorted({i for form in embedding.forms for i in form.indices})
    sizes = tuple(embedding.sizes[i] for i in used)
    grid = dict(zip(used, np.indices(sizes, sparse=True)))
    flat = np.zeros(sizes, np.int64)
    for form, size in zip(embedding.forms, shape):
        flat = flat * size + form.offset + sum(s * grid[i] for i, s in form.strides)
    own = (embedding.value or ()) if value.ndim else ()
    value = lax.broadcast_in_dim(value, sizes, tuple(used.index(i) for i in own))
    index_type = np.int32 if math.prod(shape) < 2**31 else np.int64
    flat = flat.reshape(-1).astype(index_type)
    return flat, lax.reshape(value, (flat.size,))


# Products


def _product(recipe: Product, a, b, dtype: np.dtype) -> Any:
    if recipe.term.value is None:
        return None
    a, a_labels = _operand(recipe, recipe.a, recipe.b, a, dtype)
    b, b_labels = _operand(recipe, recipe.b, recipe.a, b, dtype)
    if recipe.conj_b:
        b = _on_numbers(lax.conj, b)
    if a is None or b is None:
        value = b if a is None else a
    elif any(label in recipe.contracted for label in a_labels):
        a, b = common(_factor(a, dtype), _factor(b, dtype))
        value = _dot(a, b, a_labels, b_labels, recipe)
    else:
        value = _elementwise(recipe, a, b, a_labels, b_labels, dtype)
    return _real_part(value, recipe.factor) if recipe.real else value


def _real_part(value, factor: Scalar):
    """The real part of `factor * value`; a mask has no factor."""
    if isinstance(value, Masked):
        return value._replace(number=_real_part(value.number, factor))
    value = scaled(value, factor)
    return lax.real(value) if jnp.iscomplexobj(value) else value


def _operand(recipe: Product, own: Take | None, other: Take | None, value, dtype):
    """An operand read as the product needs it, summed over what it alone has."""
    if own is None:
        return None, ()
    value, labels = take(value, own), own.labels
    others = other.labels if other is not None else ()
    lone = [i for i in labels if i in recipe.contracted and i not in others]
    if lone:
        value = lax.reduce_sum_p.bind(
            as_numbers(value, dtype),
            axes=tuple(labels.index(i) for i in lone),
            out_sharding=None,
        )
        labels = tuple(i for i in labels if i not in lone)
    return value, labels


def _elementwise(recipe: Product, a, b, a_labels, b_labels, dtype):
    labels = recipe.term.value
    assert labels is not None
    sizes = tuple(recipe.term.sizes[i] for i in labels)
    a = _broadcast(a, a_labels, labels, sizes)
    b = _broadcast(b, b_labels, labels, sizes)
    if recipe.term.kind == "mask":
        return lax.bitwise_and(a, b)
    if recipe.term.kind == "masked":
        return _chosen(a, _factor(b, dtype))
    return lax.mul(*common(_factor(a, dtype), _factor(b, dtype)))


def _factor(value, dtype: np.dtype):
    """A value as numbers, in no less precision than what the product is for."""
    value = as_numbers(value, dtype)
    if value.dtype != dtype and jnp.issubdtype(dtype, jnp.floating):
        return common(value, np.zeros((), dtype))[0]
    return value


def _chosen(a, number) -> Masked:
    """The product of a mask, or masked numbers, with numbers."""
    if isinstance(a, Masked):
        return Masked(a.mask, lax.mul(*common(a.number, number)))
    return Masked(a, number)


def _broadcast(
    value: Any, own: tuple[int, ...], labels: tuple[int, ...], sizes: tuple[int, ...]
) -> Any:
    if own == labels:
        return value
    if isinstance(value, Masked):
        return Masked(*(_broadcast(part, own, labels, sizes) for part in value))
    return lax.broadcast_in_dim(value, sizes, tuple(labels.index(i) for i in own))


def _dot(a, b, a_labels, b_labels, recipe: Product):
    """A batched matrix product; labels of the result ascending."""
    contract = [i for i in a_labels if i in recipe.contracted]
    batch = [i for i in a_labels if i in b_labels and i not in contract]
    sides: Any = [
        [own.index(i) for i in which]
        for which in (contract, batch)
        for own in (a_labels, b_labels)
    ]
    dims = (sides[0], sides[1]), (sides[2], sides[3])
    value = lax.dot_general(a, b, dims, precision=lax.Precision.HIGHEST)
    free = [i for i in (*a_labels, *b_labels) if i not in contract and i not in batch]
    labels = batch + free
    return _transposed(value, labels)


def _transposed(value, labels: Sequence[int]):
    """Axes in ascending order of their labels."""
    order = sorted(range(len(labels)), key=labels.__getitem__)
    return value if order == list(range(len(labels))) else lax.transpose(value, order)


# Reading at affine positions


def take(value: Any, recipe: Take) -> Any:
    """`result[labels] = value[forms(labels)]`."""
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
    return _transposed(_sliced(value, recipe.forms, sizes), indices)


def _is_compact(form: Affine, sizes: dict[int, int]) -> bool:
    """Whether a form is one strided index, or a row-major flattening of several."""
    if len(form.strides) <= 1:
        return True
    expected = 1
    for index, stride in reversed(form.strides):
        if stride != expected:
            return False
        expected *= sizes[index]
    return True


def _sliced(value, forms: Sequence[Affine], sizes: dict[int, int]):
    """Axes are windows of the value; one for each index, in the forms' order."""
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
    grid = dict(zip(recipe.labels, np.indices(recipe.sizes, sparse=True)))
    where = tuple(
        np.broadcast_to(
            np.asarray(f.offset + sum(s * grid[i] for i, s in f.strides)), recipe.sizes
        ).astype(np.int32)
        for f in recipe.forms
    )
    return jnp.asarray(value).at[where].get(mode="promise_in_bounds")
