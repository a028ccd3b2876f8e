"""A block of a Jacobian: a pattern and the values that it stores."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.sparse import BCOO
from jaxtyping import Array, Int, Num

from ._arrays import as_numbers, check_fits, Masked, scaled, Values
from ._combine import densify
from ._numeric import run_sum
from ._pattern import Pattern
from ._term import Term


class Partial(eqx.Module):
    """One block of a Jacobian, stored by its structure.

    Structure is what is affine in the indices: diagonals, windows, bands, broadcasts.
    A permutation by an array of indices, a sort, a chain of reshapes and transposes, a
    batch of linear solves and whatever no rule is registered for are dense, though many
    entries may be zero.

    The arrays in it are those that are stored, so that what `jax.vmap` returns is a
    batch of blocks, to be used under `jax.vmap` again. (Where all coefficients are
    known there is no array, and all blocks of the batch are this one.)

    **Attributes:**

    - `pattern`: the [`eqx_cc.Pattern`][]: which entries can be non-zero, which equal.
    - `values`: one array for each term of the pattern; `None` where the coefficients
        are known.
    - `dtype`: the type of the entries.
    """

    pattern: Pattern = eqx.field(static=True)
    values: Values
    dtype: np.dtype = eqx.field(static=True)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The shape of the output."""
        return self.pattern.out_shape

    @property
    def in_shape(self) -> tuple[int, ...]:
        """The shape of the input."""
        return self.pattern.in_shape

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the dense block: `out_shape + in_shape`."""
        return self.pattern.shape

    @property
    def structure(self) -> str:
        """A readable name of the structure, as `"diagonal"`."""
        return self.pattern.name

    def materialise(self) -> Num[Array, ...]:
        """The dense block, of shape `out_shape + in_shape`."""
        self._check_unbatched()
        pattern = self.pattern
        check_fits(
            math.prod(pattern.shape),
            self.dtype,
            f"The dense Jacobian of an output of shape {self.out_shape} with respect "
            f"to an input of shape {self.in_shape}",
            "Keep its structure, with `eqx_cc.cc_jacobian(..., structured=True)`.",
        )
        if pattern.is_zero:
            return jnp.zeros(pattern.shape, self.dtype)
        recipe = densify(pattern.terms, pattern.shape, len(pattern.out_shape))
        values = run_sum(recipe, self.values, self._value_dtype)
        blocks = [self._converted(v, g.target) for v, g in zip(values, recipe.groups)]
        return lax.reshape(sum(blocks[1:], start=blocks[0]), pattern.shape)

    def to_coo(
        self,
    ) -> tuple[Num[Array, " nse"], Int[np.ndarray, " nse"], Int[np.ndarray, " nse"]]:
        """The stored entries, as a matrix from ravelled input to ravelled output.

        **Returns:** `(values, rows, columns)`, arrays of one length; entries that occur
        several times add up. The positions are NumPy arrays: they are static.
        """
        self._check_unbatched()
        entries = [self._entries(t, v) for t, v in zip(self.pattern.terms, self.values)]
        if not entries:
            none = np.zeros((0,), np.int64)
            return jnp.zeros((0,), self.dtype), none, none
        values, rows, columns = zip(*entries)
        return jnp.concatenate(values), np.concatenate(rows), np.concatenate(columns)

    def to_bcoo(self) -> BCOO:
        """The block as a `jax.experimental.sparse.BCOO` of shape
        `out_shape + in_shape`, in which entries that occur several times add up."""
        values, rows, columns = self.to_coo()
        unravelled = (
            *(np.unravel_index(rows, self.out_shape) if self.out_shape else ()),
            *(np.unravel_index(columns, self.in_shape) if self.in_shape else ()),
        )
        indices = np.stack(unravelled, -1) if unravelled else np.zeros((len(rows), 0))
        return BCOO((values, jnp.asarray(indices.astype(np.int32))), shape=self.shape)

    def _check_unbatched(self) -> None:
        """Refuses what `jax.vmap` or `jax.lax.scan` returned: a batch of blocks."""
        for term, value in zip(self.pattern.terms, self.values):
            stored = value.number if isinstance(value, Masked) else value
            if stored is not None and np.shape(stored) != term.value_shape:
                raise ValueError(
                    f"This `Partial` stores an array of shape {np.shape(stored)} where "
                    f"its pattern has {term.value_shape}: it is a batch of blocks, as "
                    "`jax.vmap` and `jax.lax.scan` return. Use it under `jax.vmap`, as "
                    "in `jax.vmap(lambda block: block.materialise())(blocks)`."
                )

    @property
    def _value_dtype(self) -> np.dtype:
        """The type in which known coefficients are written out."""
        if any(isinstance(term.scale, complex) for term in self.pattern.terms):
            return np.promote_types(self.dtype, np.complex64)
        return self.dtype

    def _converted(self, value: Any, term: Term) -> jax.Array:
        """A term's value with its coefficient, in the type of the block."""
        if value is None:
            value = jnp.ones(term.value_shape, self._value_dtype)
        value = scaled(as_numbers(value, self.dtype), term.scale)
        if not jnp.issubdtype(self.dtype, jnp.complexfloating):
            value = value.real if jnp.iscomplexobj(value) else value
        return lax.convert_element_type(value, self.dtype)

    def _entries(self, term: Term, value: jax.Array | None):
        grid = np.indices(term.sizes, sparse=True)
        sides = []
        for forms, shape in ((term.out, self.out_shape), (term.inp, self.in_shape)):
            flat = np.zeros(term.sizes, np.int64)
            for form, size in zip(forms, shape):
                flat = (
                    flat * size
                    + form.offset
                    + sum(s * grid[i] for i, s in form.strides)
                )
            sides.append(flat.reshape(-1))
        value = self._converted(value, term)
        axes = term.value or ()
        value = lax.broadcast_in_dim(value, term.sizes, axes)
        return lax.reshape(value, (math.prod(term.sizes),)), *sides
