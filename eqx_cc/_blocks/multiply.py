"""The value of a product of two terms."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._sparsity.product import Product
from .._sparsity.term import Scalar, Take
from .arrays import as_numbers, common, Masked, on_numbers, scaled, take, transposed


def multiplied(recipe: Product, a, b, dtype: np.dtype) -> Any:
    """The value of the term of a product, from the values of its factors."""
    if recipe.term.value is None:
        return None
    a, a_labels = _operand(recipe, recipe.a, recipe.b, a, dtype)
    b, b_labels = _operand(recipe, recipe.b, recipe.a, b, dtype)
    if recipe.conj_b:
        b = on_numbers(lax.conj, b)
    if a is None or b is None:
        value = b if a is None else a
    elif recipe.how == "pick" and any(i in recipe.contracted for i in a_labels):
        value = _picked(a, b, a_labels, b_labels, recipe)
    elif recipe.how == "choose":
        value = _chosen_sum(a, b, a_labels, b_labels, recipe, dtype)
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


def _operand(recipe: Product, read: Take | None, other: Take | None, value, dtype):
    """An operand read as the product needs it, summed over what it alone has."""
    if read is None:
        return None, ()
    value, labels = take(value, read), read.labels
    others = other.labels if other is not None else ()
    lone = [i for i in labels if i in recipe.contracted and i not in others]
    if lone:
        axes = tuple(labels.index(i) for i in lone)
        if recipe.how == "pick" and read is recipe.a:
            value = lax.reduce_or(value, axes)
        else:
            value = _summed(as_numbers(value, dtype), axes)
        labels = tuple(i for i in labels if i not in lone)
    return value, labels


def _summed(value, axes: tuple[int, ...]):
    return lax.reduce_sum_p.bind(value, axes=axes, out_sharding=None)


def _elementwise(recipe: Product, a, b, a_labels, b_labels, dtype):
    labels = recipe.term.value
    assert labels is not None
    sizes = tuple(recipe.term.sizes[i] for i in labels)
    a = _broadcast(a, a_labels, labels, sizes)
    b = _broadcast(b, b_labels, labels, sizes)
    if recipe.term.kind in ("mask", "selection"):
        return lax.bitwise_and(a, b)
    if recipe.term.kind == "masked":
        return _masked(a, _factor(b, dtype))
    return lax.mul(*common(_factor(a, dtype), _factor(b, dtype)))


def _factor(value, dtype: np.dtype):
    """A value as numbers, in no less precision than what the product is for."""
    value = as_numbers(value, dtype)
    if value.dtype != dtype and jnp.issubdtype(dtype, jnp.floating):
        return common(value, np.zeros((), dtype))[0]
    return value


def _masked(a, number) -> Masked:
    """The product of a mask, or masked numbers, with numbers."""
    if isinstance(a, Masked):
        return Masked(a.mask, lax.mul(*common(a.number, number)))
    return Masked(a, number)


def _broadcast(
    value: Any, axes: tuple[int, ...], labels: tuple[int, ...], sizes: tuple[int, ...]
) -> Any:
    """A value whose axes have the labels `axes`, with axes for all `labels`."""
    if axes == labels:
        return value
    if isinstance(value, Masked):
        return Masked(*(_broadcast(part, axes, labels, sizes) for part in value))
    return lax.broadcast_in_dim(value, sizes, tuple(labels.index(i) for i in axes))


def _dot(a, b, a_labels, b_labels, recipe: Product):
    """A batched matrix product; labels of the result ascending.

    With labels `(0, 1)` and `(0, 1, 2)`, of which 1 is contracted, 0 is a batch axis
    and the result has the labels `(0, 2)`.
    """
    contract, batch = _shared(a_labels, b_labels, recipe)
    dims: Any = tuple(
        ([a_labels.index(i) for i in labels], [b_labels.index(i) for i in labels])
        for labels in (contract, batch)
    )
    value = lax.dot_general(a, b, dims, precision=lax.Precision.HIGHEST)
    free = [i for i in (*a_labels, *b_labels) if i not in contract and i not in batch]
    return transposed(value, batch + free)


def _shared(a_labels, b_labels, recipe: Product) -> tuple[list[int], list[int]]:
    """The labels that are contracted, and those of batch axes."""
    contract = [i for i in a_labels if i in recipe.contracted]
    return contract, [i for i in a_labels if i in b_labels and i not in contract]


def _chosen_sum(a, b, a_labels, b_labels, recipe: Product, dtype: np.dtype):
    """A product with a mask, or masked numbers, in which what is not chosen has no
    part, whatever it is: `0 * inf` is no number."""
    labels = tuple(sorted({*a_labels, *b_labels}))
    sizes = _label_sizes(recipe)
    shape = tuple(sizes[i] for i in labels)
    b = _broadcast(_factor(b, dtype), b_labels, labels, shape)
    chosen = _masked(_broadcast(a, a_labels, labels, shape), b)
    axes = tuple(n for n, i in enumerate(labels) if i in recipe.contracted)
    return _summed(as_numbers(chosen, dtype), axes)


def _picked(a, b, a_labels, b_labels, recipe: Product) -> Any:
    """The elements of b that a mask picks, one at most for each of its rows."""
    if isinstance(b, Masked):
        mask, number = (_picked(a, x, a_labels, b_labels, recipe) for x in b)
        return Masked(mask, number)  # pyright: ignore[reportArgumentType]
    sizes = _label_sizes(recipe)
    contract, batch = _shared(a_labels, b_labels, recipe)
    rows = [i for i in a_labels if i not in b_labels]
    columns = [i for i in b_labels if i not in a_labels]

    def matrices(value, labels, *sides):
        """Axes in the order of `sides`, one for each of these (batch apart)."""
        order = [labels.index(i) for side in sides for i in side]
        value = value if order == sorted(order) else lax.transpose(value, order)
        shape = (math.prod(sizes[i] for i in side) for side in sides[1:])
        return lax.reshape(value, (*(sizes[i] for i in batch), *shape))

    a = matrices(a, a_labels, batch, rows, contract)
    b = matrices(b, b_labels, batch, contract, columns)
    last = a.ndim - 1
    position = lax.broadcasted_iota(np.int32, a.shape, last)
    position = lax.select(a, position, lax.full_like(position, 0))
    position = lax.reduce_max(position, (last,))
    read = lambda b, position: b.at[position].get(mode="promise_in_bounds")  # noqa: E731
    for _ in batch:
        read = jax.vmap(read)
    value = read(b, position)
    is_picked = lax.reduce_or(a, (last,))
    is_picked = lax.broadcast_in_dim(is_picked, value.shape, tuple(range(last)))
    value = lax.select(is_picked, value, lax.full_like(value, 0))
    labels = [*batch, *rows, *columns]
    return transposed(lax.reshape(value, tuple(sizes[i] for i in labels)), labels)


def _label_sizes(recipe: Product) -> dict[int, int]:
    takes = [take for take in (recipe.a, recipe.b) if take is not None]
    return {i: n for take in takes for i, n in zip(take.labels, take.sizes)}
