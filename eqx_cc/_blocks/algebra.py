"""Products and multiples of blocks, as `Partial` has them.

A `block` is a `Partial`. Results are made with `dataclasses.replace`, as that class is
in a file that imports this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._sparsity.entries import listed
from .._sparsity.pattern import dense_pattern, identity, Pattern, update
from .._sparsity.term import Term
from .add import run_update, written
from .arrays import complex_type, gathered
from .convert import flat_entries, sorted_entries
from .coordinates import coordinates


def numeric(block: Any) -> Any:
    """The block without its factors, all coefficients written out as numbers."""
    pattern, dtype = block.pattern, block.dtype
    values = tuple(written(v, t, dtype) for v, t in zip(block.values, pattern.terms))
    terms = tuple(
        replace(t, value=t.value or (), scale=1, kind="value", conj=False)
        for t in pattern.terms
    )
    pattern = Pattern(pattern.out_shape, pattern.in_shape, terms)
    return replace(block, pattern=pattern, values=values, factors=())


def times(block: Any, number: Any, dtype: np.dtype, scale: Callable = lax.mul) -> Any:
    """The block with each number replaced by `scale` of it and `number`."""
    # Patterns say where numbers are complex: a product of factors is real.
    is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
    block = block.expand() if is_complex else block
    number = jnp.asarray(number).astype(dtype)
    factors = tuple((times(a, number, dtype, scale), b) for a, b in block.factors)
    block = numeric(block)
    values = tuple(
        scale(v.astype(dtype), jnp.broadcast_to(number, v.shape)) for v in block.values
    )
    return replace(block, values=values, dtype=dtype, factors=factors)


def is_complex(block: Any) -> bool:
    """True if entries or coefficients are complex: they may act on conjugates."""
    scales = [term.scale for term in block.pattern.terms]
    has_complex = any(isinstance(scale, complex) for scale in scales)
    return has_complex or bool(jnp.issubdtype(block.dtype, jnp.complexfloating))


def entrywise(block: Any) -> Any:
    """The block as a matrix of its entries, none of which acts on conjugates."""
    return numeric(block.expand()) if is_complex(block) else block


def parts(block: Any) -> tuple[Any, Any]:
    """The real and the imaginary part."""
    entries = entrywise(block)
    if not jnp.issubdtype(block.dtype, jnp.complexfloating):
        pattern = Pattern(block.out_shape, block.in_shape, ())
        return entries, replace(block, pattern=pattern, values=(), factors=())
    dtype = np.dtype(jnp.finfo(block.dtype).dtype)
    return tuple(
        replace(entries, values=tuple(map(part, entries.values)), dtype=dtype)
        for part in (lax.real, lax.imag)
    )


def applied(block: Any, array: jax.Array) -> jax.Array:
    """The product with an array whose first axes are those of the input."""
    pattern = dense_pattern(block.in_shape, array.shape[len(block.in_shape) :])
    values = tuple(lax.reshape(array, t.value_shape) for t in pattern.terms)
    columns = replace(
        block,
        pattern=pattern,
        values=values,
        dtype=array.dtype,
        factors=(),
        entries=None,
    )
    return composed(block, columns).materialise()


def composed(left: Any, right: Any) -> Any:
    """The product of two blocks; factors stay factors."""
    if left.in_shape != right.out_shape:
        raise ValueError(
            f"The input of the first block, {left.in_shape}, must have the shape "
            f"of the output of the second, {right.out_shape}, for their product."
        )
    left._check_unbatched()
    right._check_unbatched()
    if is_complex(left) or is_complex(right):
        (a, b), (c, d) = parts(left), parts(right)
        real, imaginary = a @ c - b @ d, a @ d + b @ c
        dtype = complex_type(real.dtype)
        return times(real, 1, dtype) + times(imaginary, 1j, dtype)
    dtype = np.dtype(jnp.result_type(left.dtype, right.dtype))
    recipe = update(None, left.pattern, right.pattern)
    left._check_fits(recipe.pattern.num_values, "product of a block with")
    values = run_update(recipe, (), left.values, right.values, dtype)
    rest = replace(left, factors=())
    factors = [(a, (b @ right).expand()) for a, b in left.factors]
    factors += [((rest @ a).expand(), b) for a, b in right.factors]
    return replace(
        left,
        pattern=recipe.pattern,
        values=values,
        dtype=dtype,
        factors=tuple(factors),
        entries=None,
    )


def conjugate(block: Any) -> Any:
    """The complex conjugate of each entry."""
    if not is_complex(block):
        return block
    block = entrywise(block)
    return replace(block, values=tuple(map(jnp.conj, block.values)))


def trace(block: Any) -> jax.Array:
    """The trace of a real block whose output has the shape of its input. Nothing is
    computed of the products of factors but the sum of their diagonals.

    That of `D + L R` is the sum of the diagonal of `D` and of all `L[o, k] R[k, o]`.
    """
    direct = replace(block, factors=())
    unit = identity(block.in_shape)
    ones = replace(direct, pattern=unit, values=(None,) * len(unit.terms))
    total = _contracted(ones, direct)
    for left, right in block.factors:
        total = total + _contracted(left, right)
    return total


def _contracted(left: Any, right: Any) -> jax.Array:
    """The trace of `left @ right`, as a row of all entries times a column of them."""
    return composed(_row(left), _row(right.T).T).materialise()


def _row(block: Any) -> Any:
    """All entries as the derivative of one number: `out (i,) inp (j,)` becomes
    `out () inp (i, j)`."""
    pattern = block.pattern
    terms = tuple(replace(t, out=(), inp=t.axes) for t in pattern.terms)
    return replace(block, pattern=Pattern((), pattern.shape, terms), entries=None)


def one_triangle(block: Any, sign: int) -> Any:
    """The entries of a symmetric block on the diagonal and on one side of it: with
    `sign * (row - column) >= 0`. The last axes of the output are those of the input.

    A band stays a band; what crosses the diagonal becomes a list of its entries.
    Factors are multiplied.
    """
    block = entrywise(block.expand())
    pairs = [
        _term_of_triangle(block, term, value, sign)
        for term, value in zip(block.pattern.terms, block.values)
    ]
    pairs = [pair for pair in pairs if pair is not None]
    pattern = replace(block.pattern, terms=tuple(term for term, _ in pairs))
    values = tuple(value for _, value in pairs)
    return replace(block, pattern=pattern, values=values, entries=None)


def _term_of_triangle(
    block: Any, term: Term, value: Any, sign: int
) -> tuple[Term, Any] | None:
    rows, columns = coordinates(term, block.out_shape, block.in_shape)
    width = math.prod(block.in_shape)
    kept = sign * (rows % width - columns) >= 0
    if block.entries is not None:
        kept &= np.isin(rows * width + columns, block.entries.flat)
    if kept.all():
        return term, value
    if not kept.any():
        return None
    positions = sorted_entries(rows[kept], columns[kept], width)
    entries = gathered(flat_entries(term, value, block.dtype), np.flatnonzero(kept))
    flat = positions.rows * width + positions.columns
    new = listed(flat, block.out_shape, block.in_shape)
    return new, lax.reshape(positions.arranged(entries), new.value_shape)


def zero(block: Any) -> Any:
    """A block of zeros of the same shape: nothing is stored."""
    pattern = replace(block.pattern, terms=())
    return replace(block, pattern=pattern, values=(), factors=())
