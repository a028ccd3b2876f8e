"""Functions of a few numbers, evaluated in one native call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import PyTree

from .._granularity import scalar_program
from .._program import flatten, VALUES
from .._scalars import scalar_values
from .._traced import captured, replaced, Traced


def natively(fun: Callable, *args: PyTree) -> Any:
    """What `fun(*args)` returns, from one native call of scalars if they are few: where
    there are many small operations, it takes longer to start them than to run them.

    Derivatives are those of `fun`, rules of its own among them.
    """
    leaves, tree = jtu.tree_flatten(args)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    traced = Traced(lambda leaves: fun(*jtu.tree_unflatten(tree, leaves)), leaves)
    closed = traced.closed
    program = flatten(closed.jaxpr, closed.consts, VALUES)
    avals = [jax.typeof(leaf) for leaf in leaves]
    made = scalar_program(program, avals, len(closed.out_avals))
    if made is None or not made.is_strict:
        return traced(leaves)
    outside = captured(program)

    @jax.custom_jvp
    def native(new, leaves):
        own = replace(made, program=replaced(made.program, outside, new))
        return scalar_values(own, leaves, closed.out_avals)

    @native.defjvp
    def _(primals, tangents):
        return jax.jvp(lambda *own: _with(closed, outside, *own), primals, tangents)

    return traced.result(native(outside, leaves))


def _with(closed: jex.ClosedJaxpr, old: list[Any], new: list[Any], leaves) -> Any:
    """The function with other values for what it captures."""
    values = {id(a): b for a, b in zip(old, new)}
    consts = [values.get(id(c), c) for c in closed.consts]
    return jex.jaxpr_as_fun(jex.ClosedJaxpr(closed.jaxpr, consts))(*leaves)
