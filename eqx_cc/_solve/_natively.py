"""Functions of a few numbers, evaluated in one native call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.core import Tracer
from jaxtyping import PyTree

from .._granularity import scalar_program
from .._program import flatten, VALUES
from .._scalars import scalar_values
from .._traced import Traced
from .._varying import is_split


def natively(fun: Callable, *args: PyTree) -> Any:
    """What `fun(*args)` returns, from one native call of scalars if they are few: where
    there are many small operations, it takes longer to start them than to run them.

    Derivatives are those of `fun`, rules of its own among them.
    """
    leaves, tree = jtu.tree_flatten(args)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    traced = Traced(lambda leaves: fun(*jtu.tree_unflatten(tree, leaves)), leaves)
    closed, outside = _opened(traced.closed)
    arrays, outputs = [*outside, *leaves], closed.out_avals
    if any(map(is_split, arrays)):
        return traced(leaves)
    program = flatten(closed.jaxpr, closed.consts, VALUES)
    made = scalar_program(program, closed.in_avals, len(outputs))
    if made is None or not made.is_strict:
        return traced(leaves)

    @jax.custom_jvp
    def native(*arrays):
        return scalar_values(made, arrays, outputs)

    @native.defjvp
    def _(primals, tangents):
        return jax.jvp(jex.jaxpr_as_fun(closed), primals, tangents)

    return traced.result(native(*arrays))


def _opened(closed: jex.ClosedJaxpr) -> tuple[jex.ClosedJaxpr, list[Any]]:
    """The function with the tracers that it captures for its first arguments."""
    jaxpr = closed.jaxpr
    pairs = list(zip(jaxpr.constvars, closed.consts))
    outside = [(v, c) for v, c in pairs if isinstance(c, Tracer)]
    known = [(v, c) for v, c in pairs if not isinstance(c, Tracer)]
    invars = [*(v for v, _ in outside), *jaxpr.invars]
    jaxpr = jaxpr.replace(constvars=[v for v, _ in known], invars=invars)
    return jex.ClosedJaxpr(jaxpr, [c for _, c in known]), [c for _, c in outside]
