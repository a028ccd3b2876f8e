"""PyTrees of arrays as one vector, and back."""

from __future__ import annotations

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Num, PyTree


class Flat(eqx.Module):
    """The input and output structure of an operator, which may be PyTrees."""

    taken: tuple = eqx.field(static=True)
    returned: tuple = eqx.field(static=True)

    @classmethod
    def of(cls, taken: PyTree, returned: PyTree) -> Flat:
        flat = (jtu.tree_flatten(structure_of(x)) for x in (taken, returned))
        taken, returned = ((tuple(leaves), tree) for leaves, tree in flat)
        return cls(taken, returned)

    @property
    def transpose(self) -> Flat:
        return Flat(self.returned, self.taken)

    @property
    def dtype(self) -> np.dtype:
        leaves = *self.taken[0], *self.returned[0]
        return np.result_type(*[x.dtype for x in leaves]) if leaves else np.dtype(float)

    def ravel(self, vector: PyTree) -> Num[Array, " out"]:
        """An output of the operator as one vector."""
        leaves = [jnp.ravel(x).astype(self.dtype) for x in jtu.tree_leaves(vector)]
        if len(leaves) == 1:
            return leaves[0]
        return jnp.concatenate(leaves) if leaves else jnp.zeros(0, self.dtype)

    def unravel(self, vector: Num[Array, " in"]) -> PyTree:
        """A vector as an input of the operator."""
        structs, tree = self.taken
        ends = np.cumsum([0, *(s.size for s in structs)])
        parts = [vector[a:b] for a, b in itertools.pairwise(ends)]
        leaves = [x.reshape(s.shape).astype(s.dtype) for x, s in zip(parts, structs)]
        return jtu.tree_unflatten(tree, leaves)


def size_of(structure: PyTree) -> int:
    """The number of entries of all arrays."""
    return sum(math.prod(leaf.shape) for leaf in jtu.tree_leaves(structure))


def is_real(*structures: PyTree) -> bool:
    """True if all leaves are real and floating."""
    leaves = jtu.tree_leaves(structures)
    return all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)


def structure_of(tree: PyTree) -> PyTree:
    """The shapes and dtypes of arrays."""
    return jtu.tree_map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
