from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np


@dataclass(frozen=True)
class Case:
    """A function of one PyTree to differentiate, and where.

    **Arguments:**

    - `build`: called when the test runs, returns the function and the point. NumPy
        arrays in the point become JAX arrays.
    - `rtol`: the relative error allowed, by default that of the dtype; then `reason`
        says why it has to be larger.
    - `reference`: `jax.jacfwd`, or `jax.jacrev` for what has no forward mode.
    """

    build: Callable[[], tuple[Callable, Any]]
    rtol: float | None = None
    reason: str = ""
    reference: Callable = jax.jacfwd

    def __post_init__(self):
        assert (self.rtol is None) == (self.reason == "")


def case(fun: Callable, x: Any, **options: Any) -> Case:
    """A case with nothing to build."""
    return Case(lambda: (fun, x), **options)


def uniform(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 0):
    """A float64 array in `[low, high)`, the same one every time."""
    return np.random.default_rng(seed).uniform(low, high, shape)


def positive(*shape: int, seed: int = 0):
    return uniform(*shape, low=0.5, high=1.5, seed=seed)


def spd(n: int, seed: int = 0):
    """A well-conditioned symmetric positive definite matrix."""
    a = uniform(n, n, seed=seed)
    return a @ a.T + n * np.eye(n)


def well_conditioned(n: int, seed: int = 0):
    """A square matrix far from singular, with distinct singular values."""
    return uniform(n, n, seed=seed) + np.diag(np.arange(2.0, 2.0 + n))
