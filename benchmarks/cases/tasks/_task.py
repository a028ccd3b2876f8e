from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import eqx_cc
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

    @property
    def by_argument(self) -> Callable[[tuple[jax.Array, ...]], Any]:
        """`fun` of the tuple of those arguments that it is differentiated by."""

        def fun(chosen):
            args = dict(enumerate(self.args)) | dict(zip(self.argnums, chosen))
            return self.fun(*args.values())

        return fun

    @property
    def inputs(self) -> tuple[jax.Array, ...]:
        """The arguments that `fun` is differentiated by."""
        return tuple(self.args[i] for i in self.argnums)

    @property
    def graph(self) -> eqx_cc.ComputationalGraph:
        """The computational graph at the point."""
        return eqx_cc.trace(self.by_argument, self.inputs).graph
