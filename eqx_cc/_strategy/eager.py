"""Functions that need values: those that branch on an array in Python, say.

They cannot be traced, so that they have no graph. JAX's forward mode differentiates
them at arrays that are no tracers, because it carries the values along. It also
differentiates functions of arrays that are split over a mesh, whose equations need the
mesh around them.
"""

from __future__ import annotations

import functools as ft
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array

from .._jaxpr.avals import is_inexact
from .methods import dense_rows, JacobianBlocks
from .sweep import forward_blocks, NotDifferentiable


# Raised by JAX where Python asks a tracer for its value.
NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


class NotTraceable(TypeError):
    """A function needs values while it is being traced."""


def not_traceable(fun: Callable) -> NotTraceable:
    """The error that names the user's function and says what to do."""
    return NotTraceable(
        f"`{_name(fun)}` needs the values of its arguments: it branches on them in "
        "Python, or converts them to Python numbers or NumPy arrays (`if x > 0`, "
        "`bool`, `float`, `int`, `x.item()`, `numpy.asarray`, `a_list[i]`). This "
        "transform traces the function, as `jax.jit` does. Write `jnp.where`, "
        "`jax.lax.cond` or `jax.lax.switch` for branches, `jax.numpy` for NumPy, and "
        "index arrays rather than lists; or pass the value as an argument that is not "
        "an array. Outside of `jax.jit`, `jax.jacfwd` differentiates branches as they "
        'are, and so does this transform with `order="auto"` and dense results.'
    )


def _name(fun: Callable) -> str:
    """The name of a function in the user's code."""
    fun = getattr(fun, "__wrapped__", fun)
    while isinstance(fun, ft.partial):
        fun = fun.func
    return getattr(fun, "__name__", type(fun).__name__)


def eager_jacobian(
    fun: Callable, leaves: Sequence[Array]
) -> tuple[JacobianBlocks, Any]:
    """The Jacobian of a function as `jax.jacfwd` has it, and its auxiliary PyTree.

    Raises `NotTraceable` if forward mode cannot give the function its values either.
    """
    static, rows = [], []

    def primal(leaves):
        outputs, aux = fun(leaves)
        dynamic, rest = eqx.partition(aux, eqx.is_array)
        static[:] = [rest]
        rows[:] = [i for i, x in enumerate(outputs) if is_inexact(jax.typeof(x))]
        return [outputs[i] for i in rows], (outputs, dynamic)

    try:
        (outputs, dynamic), blocks = forward_blocks(primal, list(leaves))
    except NotDifferentiable as e:
        if isinstance(e.__cause__, NEEDS_VALUES):
            raise not_traceable(fun) from e.__cause__
        assert e.__cause__ is not None
        raise e.__cause__ from None  # As `jax.jacfwd` raises it.
    blocks = {(rows[i], j): block for (i, j), block in blocks.items()}
    jacobian = JacobianBlocks(outputs, [], dense_rows(outputs, leaves, blocks))
    return jacobian, eqx.combine(dynamic, static[0])
