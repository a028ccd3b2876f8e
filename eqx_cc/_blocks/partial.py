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

from .._sparsity.pattern import add, dense_pattern, Pattern, update
from .._sparsity.sum import densify
from .._sparsity.term import Term
from .add import run_sum, run_update, written
from .arrays import check_fits, complex_type, Masked, take, Values
from .coordinates import coordinates, unravelled


# A structure with a longer name is shown as sparse.
_LONGEST_NAME = 40


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
        block @ jnp.ones(3), jnp.ones(3) @ block, 2 * block + block.T
        ```
    """

    pattern: Pattern = eqx.field(static=True)
    values: Values
    dtype: np.dtype = eqx.field(static=True)
    factors: tuple[tuple[Partial, Partial], ...] = ()

    __array_ufunc__ = None  # NumPy's arrays leave products with blocks to these.

    def __repr__(self) -> str:
        dense, structure = jax.ShapeDtypeStruct(self.shape, self.dtype), self.structure
        array = eqx.tree_pformat(dense, struct_as_array=True)
        structure = structure if len(structure) <= _LONGEST_NAME else "sparse"
        return f"Partial({array}, {structure}, {self.num_values} stored)"

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

    @property
    def num_values(self) -> int:
        """The number of stored values."""
        factors = sum(a.num_values + b.num_values for a, b in self.factors)
        return self.pattern.num_values + factors

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
            lefts.append(left._matrix((height, rank), self.dtype))
            rights.append(right._matrix((rank, width), self.dtype))
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
        block = self._numeric()
        terms = block.pattern.terms
        recipe = densify(terms, pattern.shape, len(pattern.out_shape))
        (dense,) = run_sum(recipe, block.values, self.dtype)
        return lax.reshape(dense, pattern.shape)

    def _matrix(self, shape: tuple[int, int], dtype: np.dtype) -> jax.Array:
        return lax.convert_element_type(self.materialise(), dtype).reshape(shape)

    def todense(self) -> Num[Array, ...]:
        """The same as `materialise`: the name that sparse arrays have for it."""
        return self.materialise()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.materialise(), dtype)

    @property
    def T(self) -> Partial:
        """The transposed block, from the space of outputs to that of inputs: axes keep
        their order in each of these."""
        self._check_unbatched()
        block = self._entrywise()
        pattern, takes = block.pattern.transpose
        values = tuple(
            None if v is None else take(v, t) for v, t in zip(block.values, takes)
        )
        factors = tuple((right.T, left.T) for left, right in block.factors)
        return Partial(pattern, values, self.dtype, factors)

    def __matmul__(self, other: Any) -> Any:
        """The product with an array whose first axes are those of the input, or with a
        block whose output has the shape of the input."""
        if isinstance(other, Partial):
            return self._composed(other)
        if not eqx.is_array_like(other):
            return NotImplemented
        array, rank = jnp.asarray(other), len(self.in_shape)
        if array.shape[:rank] != self.in_shape:
            raise ValueError(
                f"A block of shape {self.shape} acts on arrays whose first axes have "
                f"the shape {self.in_shape} of its input, but got {array.shape}."
            )
        return self._applied(array)

    def __rmatmul__(self, other: Any) -> Any:
        if not eqx.is_array_like(other):
            return NotImplemented
        array, rank = jnp.asarray(other), len(self.out_shape)
        rest = array.ndim - rank
        if rest < 0 or array.shape[rest:] != self.out_shape:
            raise ValueError(
                f"A block of shape {self.shape} is acted on by arrays whose last axes "
                f"have the shape {self.out_shape} of its output, but got {array.shape}."
            )
        moved = jnp.moveaxis(array, range(rest), range(rank, array.ndim))
        rows = self.T @ moved
        return jnp.moveaxis(rows, range(-rest, 0), range(rest)) if rest else rows

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Partial):
            return NotImplemented
        shapes = self.out_shape, self.in_shape
        if shapes != (other.out_shape, other.in_shape):
            raise ValueError(
                "Blocks that are added must have the same shapes of output and input, "
                f"but got {shapes} and {(other.out_shape, other.in_shape)}."
            )
        self._check_unbatched()
        other._check_unbatched()
        a, b = self._entrywise(), other._entrywise()
        dtype = np.dtype(jnp.result_type(self.dtype, other.dtype))
        pattern, recipe = add(a.pattern, b.pattern)
        self._check_fits(pattern.num_values, "sum of blocks in")
        values = run_sum(recipe, (*a.values, *b.values), dtype)
        return Partial(pattern, values, dtype, (*a.factors, *b.factors))

    def __mul__(self, other: Any) -> Any:
        """The block times a number."""
        if not eqx.is_array_like(other) or np.ndim(other) > 0:
            return NotImplemented
        self._check_unbatched()
        return self._times(other, np.dtype(jnp.result_type(self.dtype, other)))

    __rmul__ = __mul__

    def __neg__(self) -> Partial:
        return self * -1

    def __sub__(self, other: Any) -> Any:
        return self + other * -1 if isinstance(other, Partial) else NotImplemented

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
        `out_shape + in_shape`, its entries sorted and each of them once."""
        values, rows, columns = self.to_coo()
        flat = rows * math.prod(self.in_shape) + columns
        unique, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
        if len(unique) < len(flat):
            values = jnp.zeros(len(unique), self.dtype).at[inverse].add(values)
        elif not np.array_equal(unique, flat):
            values = values[first]
        return BCOO(
            (values, jnp.asarray(unravelled(unique, self.shape))),
            shape=self.shape,
            indices_sorted=True,
            unique_indices=True,
        )

    def _numeric(self) -> Partial:
        """The block without its factors, all coefficients written out as numbers."""
        pattern = self.pattern
        values = tuple(
            written(v, t, self.dtype) for v, t in zip(self.values, pattern.terms)
        )
        terms = tuple(
            replace(t, value=t.value or (), scale=1, kind="value", conj=False)
            for t in pattern.terms
        )
        pattern = Pattern(pattern.out_shape, pattern.in_shape, terms)
        return Partial(pattern, values, self.dtype)

    def _times(self, number: Any, dtype: np.dtype) -> Partial:
        # Patterns say where numbers are complex: a product of factors is real.
        is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
        block, number = self.expand() if is_complex else self, jnp.asarray(number)
        number = number.astype(dtype)
        factors = tuple((a._times(number, dtype), b) for a, b in block.factors)
        block = block._numeric()
        values = tuple(number * value.astype(dtype) for value in block.values)
        return Partial(block.pattern, values, dtype, factors)

    @property
    def _is_complex(self) -> bool:
        """True if entries or coefficients are complex: they may act on conjugates."""
        scales = [term.scale for term in self.pattern.terms]
        is_complex = jnp.issubdtype(self.dtype, jnp.complexfloating)
        return is_complex or any(isinstance(scale, complex) for scale in scales)

    def _entrywise(self) -> Partial:
        """The block as a matrix of its entries, none of which acts on conjugates."""
        return self.expand()._numeric() if self._is_complex else self

    def _parts(self) -> tuple[Partial, Partial]:
        """The real and the imaginary part."""
        block = self._entrywise()
        if not jnp.issubdtype(self.dtype, jnp.complexfloating):
            pattern = Pattern(self.out_shape, self.in_shape, ())
            return block, Partial(pattern, (), self.dtype)
        dtype = np.dtype(jnp.finfo(self.dtype).dtype)
        real = Partial(block.pattern, tuple(map(lax.real, block.values)), dtype)
        return real, replace(real, values=tuple(map(lax.imag, block.values)))

    def _applied(self, array: jax.Array) -> jax.Array:
        """The product with an array whose first axes are those of the input."""
        pattern = dense_pattern(self.in_shape, array.shape[len(self.in_shape) :])
        values = tuple(lax.reshape(array, t.value_shape) for t in pattern.terms)
        return self._composed(Partial(pattern, values, array.dtype)).materialise()

    def _composed(self, other: Partial) -> Partial:
        """The product of two blocks; factors stay factors."""
        if self.in_shape != other.out_shape:
            raise ValueError(
                f"The input of the first block, {self.in_shape}, must have the shape "
                f"of the output of the second, {other.out_shape}, for their product."
            )
        self._check_unbatched()
        other._check_unbatched()
        if self._is_complex or other._is_complex:
            (a, b), (c, d) = self._parts(), other._parts()
            real, imaginary = a @ c - b @ d, a @ d + b @ c
            dtype = complex_type(real.dtype)
            return real._times(1, dtype) + imaginary._times(1j, dtype)
        dtype = np.dtype(jnp.result_type(self.dtype, other.dtype))
        recipe = update(None, self.pattern, other.pattern)
        self._check_fits(recipe.pattern.num_values, "product of a block with")
        values = run_update(recipe, (), self.values, other.values, dtype)
        rest = replace(self, factors=())
        factors = [(left, (right @ other).expand()) for left, right in self.factors]
        factors += [((rest @ left).expand(), right) for left, right in other.factors]
        return Partial(recipe.pattern, values, dtype, tuple(factors))

    def _check_fits(self, size: int, subject: str) -> None:
        check_fits(
            size,
            self.dtype,
            f"The {subject} the Jacobian of an output of shape {self.out_shape} with "
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

    def _entries(self, term: Term, value: Any):
        value = lax.broadcast_in_dim(
            written(value, term, self.dtype), term.sizes, term.value or ()
        )
        flat = lax.reshape(value, (math.prod(term.sizes),))
        return flat, *coordinates(term, self.out_shape, self.in_shape)
