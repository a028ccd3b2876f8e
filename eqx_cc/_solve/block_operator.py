"""A structured block as a linear operator of lineax."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Num

from .._blocks.algebra import conjugate
from .._blocks.convert import as_operator
from .._blocks.partial import Partial
from .matrix.assemble import assemble, Matrix
from .matrix.structure import Structure
from .matrix.tags import tags_by_bands, turned


class BlockOperator(lx.AbstractLinearOperator):
    """The linear operator that a `Partial` is, with its structure.

    It is made by `eqx_cc.Partial.as_operator`.
    """

    block: Partial
    tags: frozenset[object] = eqx.field(static=True)

    def __repr__(self) -> str:
        return f"BlockOperator({self.block!r})"

    def mv(self, vector):
        """A product with the block."""
        return self.block @ vector

    def as_matrix(self) -> Num[Array, "out in"]:
        """The dense block, over the ravelled input and output."""
        return self.block.materialise().reshape(self.out_size(), self.in_size())

    def transpose(self) -> BlockOperator:
        """The transposed operator."""
        if lx.is_symmetric(self):
            return self
        return BlockOperator(self.block.T, turned(self.tags))

    def in_structure(self):
        """The structure of the input."""
        return jax.ShapeDtypeStruct(self.block.in_shape, self.block.dtype)

    def out_structure(self):
        """The structure of the output."""
        return jax.ShapeDtypeStruct(self.block.out_shape, self.block.dtype)

    @property
    def conjugate(self) -> BlockOperator:
        """The complex conjugate."""
        return BlockOperator(conjugate(self.block), self.tags)

    def matrix(self, is_sparse=lambda count: True, *, low_rank=True) -> Matrix | None:
        """The entries at their positions; None if so many are not `is_sparse`.
        Factors are multiplied without `low_rank`."""
        return assemble([[self.block if low_rank else self.block.expand()]], is_sparse)


@as_operator.register
def _(block: Partial, tags) -> BlockOperator:
    if not jnp.issubdtype(block.dtype, jnp.inexact):
        raise TypeError(
            "An operator of lineax has real or complex entries, but got a block of "
            f"type {block.dtype}: the derivative of integers."
        )
    return BlockOperator(block, tags | _tags_by_pattern(block))


def _tags_by_pattern(block: Partial) -> frozenset[object]:
    """The tags that the pattern of a block shows."""
    operator = BlockOperator(block, frozenset())
    if block.factors or operator.in_size() != operator.out_size():
        return frozenset()
    matrix = jax.eval_shape(operator.matrix)
    tags = tags_by_bands(*Structure.of(matrix.positions).bandwidths())
    return tags | {lx.symmetric_tag} if lx.diagonal_tag in tags else tags
