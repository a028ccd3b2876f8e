"""Functions of a few numbers, evaluated in one native call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import PyTree

from .._jaxpr.closed import is_traced, lift_constants, TracedFunction
from .._jaxpr.program import EVALUATING, flatten
from .._jaxpr.shard_map import is_split
from .._scalarise.jacobian import scalar_values
from .._strategy.granularity import scalar_program


# With fewer numbers the parts of an iteration are no native calls: XLA makes one
# function of the whole loop.
MIN_NATIVE = 8


def natively(fun: Callable, *args: PyTree) -> Any:
    """Returns `fun(*args)`, from one native call of scalars if they are few: many small
    operations take longer to start than to run.

    Derivatives are those of `fun`, rules of its own among them.
    """
    leaves, tree = jtu.tree_flatten(args)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    traced = TracedFunction(
        lambda leaves: fun(*jtu.tree_unflatten(tree, leaves)), leaves
    )
    outside, closed = lift_constants(traced.closed, is_traced)
    arrays, outputs = [*outside, *leaves], closed.out_avals
    if any(map(is_split, arrays)):
        return traced(leaves)
    program = flatten(closed.jaxpr, closed.consts, EVALUATING)
    scalars = scalar_program(program, closed.in_avals, len(outputs))
    if scalars is None or not scalars.is_strict:
        return traced(leaves)

    @jax.custom_jvp
    def native(*arrays):
        return scalar_values(scalars, arrays, outputs)

    @native.defjvp
    def _(primals, tangents):
        return jax.jvp(jex.jaxpr_as_fun(closed), primals, tangents)

    return traced.result(native(*arrays))
