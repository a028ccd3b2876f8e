"""A function to time the Jacobian of, and where that makes sense."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree


# The settings; `benchmarks.harness.timing` says what each of them is.
SETTINGS = "call", "loop", "batch 512", "batch 65536"

# Dense Jacobians in entries: of one evaluation, those of 2,048 states at most; of a
# batch, half a gigabyte (in 64 bits) in all.
MAX_DENSE = 2048**2
MAX_BATCHED = 1 << 26

# What a module holds until a case casts it: it must not depend on when it is imported.
Constant: TypeAlias = np.ndarray | jax.Array


@dataclass(frozen=True)
class Case:
    """A function, or an Equinox module, and a point to take its Jacobian at.

    **Arguments:**

    - `name`, `group`: what it is called, and what it is listed with.
    - `fun`: a function of one PyTree of arrays that returns a PyTree of arrays. If it
        is a module then its arrays are cast with the point.
    - `point`: the PyTree, of NumPy arrays or numbers.
    - `settings`: those that make sense; what would be too large is left out anyhow.
    - `structured`: whether it is big and sparse (or of low rank), so that the Jacobian
        in its structure, without a dense matrix, is worth having.
    """

    name: str
    group: str
    fun: Callable[[Any], Any]
    point: Any
    settings: tuple[str, ...] = SETTINGS
    structured: bool = False

    def at(self, dtype: str) -> tuple[Callable[[Any], Any], Any]:
        """The function and the point in a floating-point type. What a module holds is
        constant, as it is where a trained or an identified model is used."""
        fun = _cast(self.fun, dtype)
        # A new function: modules that hold arrays cannot be hashed, as
        # `jax.jit` wishes to.
        return lambda x: fun(x), _cast(self.point, dtype, numbers=True)

    @property
    def num_inputs(self) -> int:
        """Number of scalar inputs."""
        return sum(np.size(leaf) for leaf in jax.tree.leaves(self.point))

    @property
    def num_outputs(self) -> int:
        """Number of scalar outputs."""
        out = jax.eval_shape(*self.at(jnp.result_type(float).name))
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(out))

    @property
    def num_entries(self) -> int:
        """Number of entries of the dense Jacobian."""
        return self.num_inputs * self.num_outputs

    @property
    def is_dense(self) -> bool:
        """True if a dense Jacobian is of a reasonable size."""
        return self.num_entries <= MAX_DENSE

    def fits(self, setting: str) -> bool:
        """True if the setting makes sense, and a batch of dense Jacobians fits."""
        fits = batch_size(setting) * self.num_entries <= MAX_BATCHED
        return setting in self.settings and (fits or batch_size(setting) == 1)

    def flat(self, dtype: str) -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
        """The function from one vector to one vector, for those who need it so."""
        fun, point = self.at(dtype)
        x, unravel = ravel_pytree(point)

        def flat(x):
            leaves = jax.tree.leaves(fun(unravel(x)))
            return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])

        return flat, x


def batch_size(setting: str) -> int:
    """Number of points that a setting evaluates at once."""
    return int(setting.removeprefix("batch ")) if setting.startswith("batch") else 1


def _cast(tree: Any, dtype: str, *, numbers: bool = False) -> Any:
    chosen = eqx.is_inexact_array_like if numbers else _is_floating

    def cast(leaf):
        return jnp.asarray(leaf, dtype) if chosen(leaf) else leaf

    return jax.tree.map(cast, tree)


def _is_floating(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array) and eqx.is_inexact_array_like(leaf)
