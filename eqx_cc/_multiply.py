"""The value of a product of two terms."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ._arrays import as_numbers, common, Masked, on_numbers, scaled, take, transposed
from ._product import Product
from ._term import Scalar, Take


def multiplied(recipe: Product, a, b, dtype: np.dtype) -> Any:
    if recipe.term.value is None:
        return None
    a, a_labels = _operand(recipe, recipe.a, recipe.b, a, dtype)
    b, b_labels = _operand(recipe, recipe.b, recipe.a, b, dtype)
    if recipe.conj_b:
        b = on_numbers(lax.conj, b)
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
    return transposed(value, labels)
