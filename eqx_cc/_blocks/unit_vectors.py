"""Dense blocks of linear maps, by applying these to unit vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._jaxpr.avals import is_complex
from .arrays import complex_type, Values


def unit_vectors(arrays: Sequence[Any]) -> list[jax.Array]:
    """The unit vectors of a space of arrays of one dtype, along a new first axis.

    Those of two scalars are `[[1, 0], [0, 1]]`.
    """
    sizes = [math.prod(array.shape) for array in arrays]
    identity = jnp.eye(sum(sizes), dtype=arrays[0].dtype)
    parts = [identity]
    if len(arrays) > 1:
        parts = jnp.split(identity, np.cumsum(sizes)[:-1], 1)
    return [x.reshape(sum(sizes), *a.shape) for x, a in zip(parts, arrays)]


def by_columns(fun: Callable, inputs: Sequence[Any]) -> list[list[Values]]:
    """The dense blocks `[input][output]` of a linear function, column by column.

    `inputs` are the abstract values of its arguments. It is called as `fun(*arrays)`.
    """
    return [_columns(fun, inputs, position) for position in range(len(inputs))]


def _columns(fun: Callable, inputs: Sequence[Any], position: int) -> list[Values]:
    aval = inputs[position]
    [vectors] = unit_vectors([aval])
    images = _images(fun, inputs, position, vectors)
    if not is_complex(aval):
        return [column_values(image, aval.shape) for image in images]
    turned = _images(fun, inputs, position, vectors * 1j)
    return [
        column_values(p, aval.shape) + column_values(q, aval.shape)
        for p, q in map(_wirtinger, images, turned)
    ]


def by_rows(
    pullback: Callable, outputs: Sequence[Any], num_inputs: int
) -> list[list[Values]]:
    """The dense blocks `[input][output]` of a linear function, row by row.

    `outputs` are the abstract values of its results. Its transpose is called as
    `pullback(cotangents)`.
    """
    blocks: list[list[Values]] = [[] for _ in range(num_inputs)]
    for position, aval in enumerate(outputs):
        [vectors] = unit_vectors([aval])
        transposed = lambda *cotangents: pullback(list(cotangents))  # noqa: E731
        images = _images(transposed, outputs, position, vectors)
        turned: Sequence[jax.Array | None] = [None] * num_inputs
        if is_complex(aval):
            turned = _images(transposed, outputs, position, vectors * 1j)
        for block, image, other in zip(blocks, images, turned):
            block.append(_rows(image, other, aval.shape))
    return blocks


def _rows(image: jax.Array, turned: jax.Array | None, shape: tuple[int, ...]) -> Values:
    """The values of a block from the images of 1, and of i where its output is complex.

    The image c of a cotangent is the map `t -> Re(c t)`: here from tangents t of an
    input to the real part of each output, and to minus its imaginary part.
    """
    if not jnp.iscomplexobj(image):
        parts = [image if turned is None else lax.complex(image, -turned)]
    elif turned is None:
        parts = [image / 2, jnp.conj(image) / 2]
    else:
        parts = [(image - 1j * turned) / 2, (image + 1j * turned).conj() / 2]
    return sum((row_values(part, shape) for part in parts), ())


def _images(
    fun: Callable, avals: Sequence[Any], position: int, vectors: jax.Array
) -> Sequence[jax.Array]:
    """The values of a function at vectors in one argument, zeros in the others."""

    def image(vector):
        arguments = [lax.full(aval.shape, 0, aval.dtype) for aval in avals]
        arguments[position] = vector
        return fun(*arguments)

    return jax.vmap(image)(vectors)


def _wirtinger(along: jax.Array, across: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The coefficients of t and conj(t), from the images of 1 and i."""
    if not jnp.iscomplexobj(along):
        dtype = complex_type(along.dtype)
        along, across = along.astype(dtype), across.astype(dtype)
    return (along - 1j * across) / 2, (along + 1j * across) / 2


def column_values(columns: jax.Array, in_shape: tuple[int, ...]) -> Values:
    """The values of a dense block from its columns, along the first axis."""
    columns = jnp.moveaxis(columns, 0, -1)
    return dense_value(columns, (*columns.shape[:-1], *in_shape))


def row_values(rows: jax.Array, out_shape: tuple[int, ...]) -> Values:
    """The values of a dense block from its rows, along the first axis."""
    return dense_value(rows, (*out_shape, *rows.shape[1:]))


def dense_value(array: jax.Array, shape: tuple[int, ...]) -> Values:
    """The one value of a dense block of `shape`: axes of size 1 are not stored."""
    stored = tuple(n for n in shape if n != 1)
    return () if 0 in shape else (lax.reshape(array, stored),)
