"""A block of a Jacobian: a pattern and the values that it stores."""

from __future__ import annotations

import math
from dataclasses import replace
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
from ._numeric import run_sum, run_update
from ._pattern import Pattern, update
from ._term import Term


class Partial(eqx.Module):
    r"""One block of a Jacobian, stored by its structure.

    Structure is what is affine in the indices: diagonals, windows, bands, broadcasts;
    and low rank. What leads through an intermediate that is far narrower than input and
    output (a mean, a norm, the bottleneck of a network) is kept as two factors:

    $$J = D + \sum_k L_k R_k$$

    with $R_k$ the derivative of the intermediate and $L_k$ that of the output with
    respect to it, both of them `Partial`s, and $D$ of the structure `pattern`.

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
    - `factors`: the pairs $(L_k, R_k)$; products are contracted along all axes of the
        intermediate. Their sum is not in `pattern` and `values`.

    !!! Example

        ```python
        block = eqx_cc.cc_jacobian(fun, structured=True)(x)
        block.structure  # "diagonal + rank 1"
        left, right = block.low_rank()
        values, rows, columns = block.to_coo()
        block.materialise().shape  # (3, 3)
        ```
    """

    pattern: Pattern = eqx.field(static=True)
    values: Values
    dtype: np.dtype = eqx.field(static=True)
    factors: tuple[tuple[Partial, Partial], ...] = ()

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
        """A readable name of the structure, as `"diagonal + rank 1"`."""
        if not self.factors:
            return self.pattern.name
        low = f"rank {self.rank}"
        return low if self.pattern.is_zero else f"{self.pattern.name} + {low}"

    @property
    def rank(self) -> int:
        """The number of columns of all left factors: a bound of the rank of the block
        without `pattern`."""
        return sum(math.prod(left.in_shape) for left, _ in self.factors)

    def expand(self) -> Partial:
        """The same block without factors: these are multiplied."""
        pattern, values = self.pattern, self.values
        for left, right in self.factors:
            left._check_unbatched()
            right._check_unbatched()
            recipe = update(pattern, left.pattern, right.pattern)
            self._check_fits(recipe.pattern.num_values, "product of factors in")
            values = run_update(recipe, values, left.values, right.values, self.dtype)
            pattern = recipe.pattern
        return Partial(pattern, values, self.dtype)

    def low_rank(self) -> tuple[Num[Array, "out rank"], Num[Array, "rank in"]]:
        """All factors in two matrices, over the ravelled output and input.

        **Returns:** `(left, right)`, whose product is the block but for what `pattern`
        and `values` say. Without factors they have no columns and no rows.
        """
        height, width = math.prod(self.out_shape), math.prod(self.in_shape)
        lefts = [jnp.zeros((height, 0), self.dtype)]
        rights = [jnp.zeros((0, width), self.dtype)]
        for left, right in self.factors:
            rank = math.prod(left.in_shape)
            for sides, own, shape in (
                (lefts, left, (height, rank)),
                (rights, right, (rank, width)),
            ):
                dense = lax.convert_element_type(own.materialise(), self.dtype)
                sides.append(lax.reshape(dense, shape))
        return jnp.concatenate(lefts, 1), jnp.concatenate(rights, 0)

    def materialise(self) -> Num[Array, ...]:
        """The dense block, of shape `out_shape + in_shape`."""
        self._check_unbatched()
        check_fits(
            math.prod(self.shape),
            self.dtype,
            f"The dense Jacobian of an output of shape {self.out_shape} with respect "
            f"to an input of shape {self.in_shape}",
            "Keep its structure, with `eqx_cc.cc_jacobian(..., structured=True)`.",
        )
        if self.factors:
            return self.expand().materialise()
        pattern = self.pattern
        if pattern.is_zero:
            return jnp.zeros(pattern.shape, self.dtype)
        # Coefficients first: what is multiplied then are the values, not the block.
        values = [self._converted(v, t) for v, t in zip(self.values, pattern.terms)]
        terms = [
            replace(t, value=t.value or (), scale=1, kind="value", conj=False)
            for t in pattern.terms
        ]
        recipe = densify(terms, pattern.shape, len(pattern.out_shape))
        (block,) = run_sum(recipe, tuple(values), self.dtype)
        return lax.reshape(block, pattern.shape)

    def to_coo(
        self,
    ) -> tuple[Num[Array, " nse"], Int[np.ndarray, " nse"], Int[np.ndarray, " nse"]]:
        """The stored entries, as a matrix from ravelled input to ravelled output.

        **Returns:** `(values, rows, columns)`, arrays of one length; entries that occur
        several times add up. The positions are NumPy arrays: they are static. Factors
        are multiplied, which makes a full block of most.
        """
        self._check_unbatched()
        if self.factors:
            return self.expand().to_coo()
        self._check_fits(self.pattern.num_nonzeros, "list of the entries of")
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

    def _check_fits(self, size: int, what: str) -> None:
        check_fits(
            size,
            self.dtype,
            f"The {what} the Jacobian of an output of shape {self.out_shape} with "
            f"respect to an input of shape {self.in_shape}, {self.structure},",
            "What it stores is in its `values` and `factors`.",
        )

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
