"""A block of a Jacobian: a pattern and the values that it stores."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.sparse import BCOO, BCSR
from jaxtyping import Array, Int, Num

from .._sparsity.pattern import add, Pattern, update
from .._sparsity.sum import densify
from . import convert
from .add import run_sum, run_update
from .algebra import applied, composed, entrywise, numeric, times
from .arrays import check_fits, Masked, taken, Values
from .coordinates import Entries
from .spy import spy


# A structure with a longer name is shown as sparse.
_LONGEST_NAME = 40


class Partial(eqx.Module):
    r"""One block of a Jacobian, stored by its structure.

    The structure consists of positions that are affine in the indices (diagonals,
    windows, bands, broadcasts), of lists of entries, and of low rank. Paths through an
    intermediate that is far narrower than input and output (a mean, a norm, the
    bottleneck of a network) are kept as two factors:

    $$J = D + \sum_k L_k R_k$$

    with $R_k$ the derivative of the intermediate and $L_k$ that of the output with
    respect to it, both of them `Partial`s, and $D$ of the structure `pattern`.

    A permutation by indices that are computed at run time, a sort, a batch of linear
    solves, and all operations without a registered rule have dense blocks.

    A block is a PyTree of the stored arrays. `jax.vmap` returns a batch of blocks, to
    be used under `jax.vmap` again. (A block whose coefficients are all known has no
    array, and is the same for the whole batch.)

    **Attributes:**

    - `pattern`: the [`eqx_cc.Pattern`][]: which entries may be nonzero, and which are
        equal.
    - `values`: one array for each term of the pattern; `None` where the coefficients
        are known.
    - `dtype`: the type of the entries.
    - `factors`: the pairs $(L_k, R_k)$; products are contracted along all axes of the
        intermediate. Their sum is not in `pattern` and `values`.
    - `entries`: the positions that `data`, `rows`, `cols` and conversions have, where
        some of what is stored is known to be zero.

    !!! Example

        ```python
        unit = lambda x: x / jnp.linalg.norm(x)
        block = eqx_cc.cc_jacobian(unit, structured=True)(jnp.ones(100))
        left, right = block.low_rank()
        print(block.structure, left.shape, right.shape)
        block @ jnp.ones(100), jnp.ones(100) @ block, sum([2 * block, block.T / 3])
        block.data, block.rows, block.cols  # Row by row, each position once.
        block.to_bcoo(), block.to_bcsr(), block.to_scipy(), block.todense()
        operator = (block + 1 * block.T).as_operator()  # For lineax.
        ```

        ```text
        diagonal + rank 1 (100, 1) (1, 100)
        ```
    """

    pattern: Pattern = eqx.field(static=True)
    values: Values
    dtype: np.dtype = eqx.field(static=True)
    factors: tuple[tuple[Partial, Partial], ...] = ()
    entries: Entries | None = eqx.field(static=True, default=None)

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
        if self.factors:
            self._check_unbatched()
        pattern, values = self.pattern, self.values
        for left, right in self.factors:
            recipe = update(pattern, left.pattern, right.pattern)
            self._check_fits(recipe.pattern.num_values, "product of factors in")
            values = run_update(recipe, values, left.values, right.values, self.dtype)
            pattern = recipe.pattern
        return Partial(pattern, values, self.dtype, entries=self.entries)

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
        block = numeric(self)
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
        block = entrywise(self)
        pattern, takes = block.pattern.transpose
        values = taken(block.values, takes)
        factors = tuple((right.T, left.T) for left, right in block.factors)
        entries = self.entries and self.entries.transposed(
            math.prod(self.in_shape), math.prod(self.out_shape)
        )
        return Partial(pattern, values, self.dtype, factors, entries)

    def __matmul__(self, other: Any) -> Any:
        """The product with an array whose first axes are those of the input, or with a
        block whose output has the shape of the input."""
        if isinstance(other, Partial):
            return composed(self, other)
        if not eqx.is_array_like(other):
            return NotImplemented
        array, rank = jnp.asarray(other), len(self.in_shape)
        if array.shape[:rank] != self.in_shape:
            raise ValueError(
                f"A block of shape {self.shape} acts on arrays whose first axes have "
                f"the shape {self.in_shape} of its input, but got {array.shape}."
            )
        return applied(self, array)

    def __rmatmul__(self, other: Any) -> Any:
        if not eqx.is_array_like(other):
            return NotImplemented
        array, rank = jnp.asarray(other), len(self.out_shape)
        rest = array.ndim - rank
        if rest < 0 or array.shape[rest:] != self.out_shape:
            raise ValueError(
                f"An array times a block of shape {self.shape} must have last axes of "
                f"the shape {self.out_shape} of its output, but got {array.shape}."
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
        a, b = entrywise(self), entrywise(other)
        dtype = np.dtype(jnp.result_type(self.dtype, other.dtype))
        pattern, recipe = add(a.pattern, b.pattern)
        self._check_fits(pattern.num_values, "sum of blocks in")
        values = run_sum(recipe, (*a.values, *b.values), dtype)
        factors, entries = (*a.factors, *b.factors), convert.either(self, other)
        return Partial(pattern, values, dtype, factors, entries)

    def __mul__(self, other: Any) -> Any:
        """The block times a number."""
        if not eqx.is_array_like(other) or np.ndim(other) > 0:
            return NotImplemented
        self._check_unbatched()
        return times(self, other, np.dtype(jnp.result_type(self.dtype, other)))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        """The block divided by a number."""
        if not eqx.is_array_like(other) or np.ndim(other) > 0:
            return NotImplemented
        self._check_unbatched()
        quotient = jax.eval_shape(jnp.true_divide, jnp.zeros((), self.dtype), other)
        return times(self, other, np.dtype(quotient.dtype), lax.div)

    def __neg__(self) -> Partial:
        return self * -1

    def __radd__(self, other: Any) -> Any:
        # `sum(blocks)` begins with 0.
        is_zero = isinstance(other, int) and other == 0
        return self if is_zero else NotImplemented

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
        block = self._listed()
        values = convert.entries(block.pattern, block.values, self.dtype)
        if self.entries is None:
            return values, *convert.entry_positions(block.pattern)
        return self._positions.arranged(values), self.rows, self.cols

    @property
    def data(self) -> Num[Array, " nse"]:
        """The stored entries, row by row, each position once: that of `data[k]` is
        `(rows[k], cols[k])`. Factors are multiplied."""
        block = self._listed()
        values = convert.entries(block.pattern, block.values, self.dtype)
        return self._positions.arranged(values)

    @property
    def rows(self) -> Int[np.ndarray, " nse"]:
        """The row of each entry of `data`, in the ravelled output; NumPy: it is static.
        It does not decrease."""
        return self._positions.rows

    @property
    def cols(self) -> Int[np.ndarray, " nse"]:
        """The column of each entry of `data`, in the ravelled input; NumPy: it is
        static. It increases within each row."""
        return self._positions.columns

    @property
    def _positions(self) -> convert.SortedPositions:
        return convert.sorted_positions(self._expanded_pattern(), self.entries)

    def to_bcoo(self) -> BCOO:
        """The block as a `jax.experimental.sparse.BCOO` of shape
        `out_shape + in_shape`, its entries sorted and each of them once."""
        return convert.to_bcoo(self.data, self._positions, self.pattern)

    def to_bcsr(self) -> BCSR:
        """The block as a `jax.experimental.sparse.BCSR`, a matrix from the ravelled
        input to the ravelled output, its entries sorted and each of them once."""
        return convert.to_bcsr(self.data, self._positions, self.pattern)

    def to_scipy(self) -> Any:
        """The same matrix as a `scipy.sparse.csr_array`. Raises a `ValueError` where
        values are traced, as in `jax.jit`. Numbers of 16 bits become float32.

        `numpy.dot` takes no sparse matrix: write `matrix @ vector`, and for the methods
        of `scipy.optimize` that call it, pass that as `hessp`.
        """
        return convert.to_scipy(self.data, self._positions, self.pattern)

    def as_operator(self, *, tags: Any = ()) -> Any:
        """The block as a `lineax.AbstractLinearOperator`, on arrays of the shape of the
        input and of the type of the block.

        It keeps the structure, which [`eqx_cc.EliminationSolver`][] and the solvers for
        one structure read; the tags that the pattern shows are set. `tags` are a tag of
        lineax, or several, that hold as well, such as `lx.symmetric_tag`. These are not
        checked.
        """
        self._check_unbatched()
        is_several = isinstance(tags, list | tuple | set | frozenset)
        return convert.as_operator(self, frozenset(tags if is_several else (tags,)))

    def spy(self, axes: Any = None) -> Any:
        """Draws the stored entries, with matplotlib (`eqx_cc[plot]`). Numbers are not
        looked at, so that it works where they are traced.

        **Returns:** `axes`, or those of a new `matplotlib.figure.Figure`, which is
        `block.spy().figure`.
        """
        factors = [(left.pattern, right.pattern) for left, right in self.factors]
        return spy(self.pattern, factors, self.entries, axes)

    def _expanded_pattern(self) -> Pattern:
        """The pattern of the block without factors."""
        pattern = self.pattern
        for left, right in self.factors:
            pattern = update(pattern, left.pattern, right.pattern).pattern
        self._check_fits(pattern.num_nonzeros, "list of the entries of")
        return pattern

    def _listed(self) -> Partial:
        """The block without factors, if its entries fit into memory."""
        self._check_unbatched()
        self._expanded_pattern()
        return self.expand()

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
        for factor in (factor for pair in self.factors for factor in pair):
            factor._check_unbatched()
