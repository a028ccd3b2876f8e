"""A case in one setting and one floating-point type, ready for all contestants."""

import functools as ft
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..cases import batch_size, Case


class Prepared:
    """The function and the points, as they are and as vectors.

    **Attributes:**

    - `fun`, `x`: the function of one PyTree, and the case's own point.
    - `flat`, `points`: the function of a vector, and its points as rows: the case's
        own, and, in a batch, others near it.
    - `unravel`: from a vector to the PyTree.
    - `sampled`: the numbers of those points at which Jacobians are compared.
    """

    def __init__(self, case: Case, setting: str, dtype: str):
        self.case, self.setting, self.dtype = case, setting, dtype
        self.fun, self.x = case.at(dtype)
        self.flat, vector = case.flat(dtype)
        self.unravel: Callable[[jax.Array], Any] = ravel_pytree(self.x)[1]
        self.batch = batch_size(setting)
        noise = np.random.default_rng(0).normal(size=(self.batch, vector.size))
        noise[0] = 0.0
        self.points = vector[None] * jnp.asarray(1.0 + 1e-3 * noise, dtype)
        self.sampled = sorted({0, self.batch // 2, self.batch - 1})
        self._jacobian = jax.jit(jax.jacfwd(self.flat))

    @ft.cache
    def reference(self, point: int) -> np.ndarray:
        """The Jacobian that `jax.jacfwd` finds at a point, as a matrix."""
        return np.asarray(self._jacobian(self.points[point]))
