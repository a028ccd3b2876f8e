from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Task:
    """A function to differentiate and a canonical point to do so at.

    **Arguments:**

    - `fun`: the function.
    - `point`: one entry (a number or an array) for every argument of `fun`.
    - `argnums`: the arguments to differentiate with respect to; all by default.
    """

    fun: Callable[..., Any]
    point: tuple[Any, ...]
    argnums: tuple[int, ...] = ()

    def __post_init__(self):
        if not self.argnums:
            object.__setattr__(self, "argnums", tuple(range(len(self.point))))

    @property
    def args(self) -> tuple[jax.Array, ...]:
        """The point as JAX arrays of the default floating dtype."""
        return tuple(jnp.asarray(x, dtype=float) for x in self.point)
