"""The Jacobian of a function of arrays, as blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array

from .._blocks.arrays import DoesNotFit
from .._blocks.partial import Partial
from .._jaxpr.avals import struct
from .._jaxpr.closed import is_traced
from .._jaxpr.known.captured import known_constants
from .._jaxpr.known.uniform import without_uniform_factors
from .._jaxpr.program import flatten, has_split, Program
from .._orders.cache import OrderCache
from .._orders.lookup import Automatic, Measured
from .._orders.orderings import AbstractOrdering
from .autotune import measure
from .compile_once import compiled_jacobian
from .eager import eager_jacobian, NEEDS_VALUES, not_traceable, NotTraceable
from .granularity import Granularity, is_compiled
from .methods import ArrayElimination, ForwardMode, Problem
from .select import select_method, select_trace


def jacobian_blocks(
    fun: Callable,
    leaves: Sequence[Array],
    order: AbstractOrdering,
    granularity: Granularity,
    *,
    structured: bool = False,
    with_value: bool = True,
    low_rank: bool = True,
    chunk_size: int | None = None,
) -> tuple[list[Any], Any, list[list[Partial]]]:
    """Computes the value of a function of arrays, and its Jacobian.

    **Arguments:**

    - `fun`: takes the list of arrays, returns `(list of arrays, auxiliary PyTree)`; it
        is called once, or again if it cannot be traced or has arrays that are split
        over a mesh. `fun.__wrapped__` is the function that the user wrote, if there is
        one.
    - `leaves`: real floating-point arrays.
    - `order`: chooses the elimination order.
    - `granularity`: the vertices, arrays or scalars. Structured blocks are those of
        arrays.
    - `structured`: if `True` then blocks keep their patterns.
    - `with_value`: if `False` then `outputs` are `jax.ShapeDtypeStruct`s.
    - `low_rank`: if `True` then structured blocks of low rank keep their factors.
    - `chunk_size`: the rows or columns of a dense Jacobian to compute at a time.

    **Returns:** `(outputs, aux, blocks)` with `blocks[i][j]` the `Partial` of
    `outputs[i]` with respect to `leaves[j]`.
    """
    try:
        program, num_outputs, auxiliary = trace_function(fun, leaves)
    except NotTraceable:
        if structured or granularity != "auto" or not isinstance(order, Automatic):
            raise
        return _blocks_of_function(fun, leaves, chunk_size)
    options = granularity, with_value, chunk_size
    problem = Problem(program, num_outputs, leaves, *options)
    if structured:
        _check_whole(problem)
        method = ArrayElimination(order, structured=True, low_rank=low_rank)
        jacobian = method(problem)
    elif (compiled := compiled_jacobian(problem, order, fun)) is not None:
        jacobian = compiled
    else:
        is_one_call = not is_compiled() and not any(map(is_traced, leaves))
        prepared = select_method(problem, order, is_one_call=is_one_call)
        if isinstance(prepared.method, ForwardMode) and has_split(program, leaves):
            # Outside of `jax.set_mesh`, JAX may refuse the equations of a function that
            # it differentiates.
            return _blocks_of_function(fun, leaves, chunk_size)
        jacobian = prepared()
    outputs = jacobian.outputs if with_value else list(map(struct, problem.avals))
    return outputs, auxiliary(jacobian.auxiliary), jacobian.blocks


def _blocks_of_function(fun: Callable, leaves: Sequence[Array], chunk_size: int | None):
    """What `jacobian_blocks` returns, by JAX's forward mode of the function itself."""
    if chunk_size is not None:
        raise ValueError(
            "`chunk_size` is for functions that can be traced, which this one cannot: "
            "it needs the values of its arguments. Leave it out."
        )
    jacobian, aux = eager_jacobian(fun, leaves)
    return jacobian.outputs, aux, jacobian.blocks


def jacobian_trace(
    fun: Callable, leaves: Sequence[Array], order: AbstractOrdering
) -> tuple[Array, Any]:
    """The trace of the Jacobian of a function whose outputs have the shapes of the
    leaves, and its auxiliary PyTree. `fun` and `leaves` as in `jacobian_blocks`."""
    program, num_outputs, auxiliary = trace_function(fun, leaves)
    result = select_trace(Problem(program, num_outputs, leaves), order)()
    return result.trace, auxiliary(result.auxiliary)


def _check_whole(problem: Problem) -> None:
    if has_split(problem.program, problem.leaves):
        raise ValueError(
            "`structured=True` needs arrays that are not split, but an array in the "
            "function is split over the axes of a mesh of type `Explicit`. Without it, "
            "the Jacobian is dense, and split as that of `jax.jacfwd`. Or pass whole "
            "arrays (`jax.sharding.reshard(x, jax.sharding.PartitionSpec())`), or make "
            "the mesh with `axis_types=(jax.sharding.AxisType.Auto, ...)`."
        )


def method_name(problem: Problem, order: AbstractOrdering) -> str:
    """The name of the method for the dense Jacobian with `granularity="auto"`. Nothing
    is timed: with `order="measured"` it is the method of the default."""
    problem = replace(problem, granularity="auto")
    order = Automatic() if isinstance(order, Measured) else order
    with contextlib.suppress(DoesNotFit):
        prepared = select_method(problem, order)
        prepared().materialise()
        return prepared.method.description
    return "nothing, as the dense Jacobian does not fit into memory"


def measure_methods(
    fun: Callable, leaves: Sequence[Array], cache: OrderCache
) -> str | None:
    """Times the methods for a Jacobian, keeps the fastest, and returns its name, or
    None if it cannot be timed."""
    program, num_outputs, _ = trace_function(fun, leaves)
    return measure(Problem(program, num_outputs, leaves), cache)


def trace_function(
    fun: Callable, leaves: Sequence[Array]
) -> tuple[Program, int, Callable[[list[Array]], Any]]:
    """Traces a function that returns `(list of arrays, auxiliary PyTree)`.

    Returns the program, the number of its outputs that are differentiated, which the
    auxiliary arrays follow, and a function from these to the auxiliary PyTree. Raises
    `NotTraceable` if the function needs values.
    """
    returned = []

    def traced(*arrays):
        outs, aux = fun(list(arrays))
        dynamic, static = eqx.partition(aux, eqx.is_array)
        dynamic, tree = jtu.tree_flatten(dynamic)
        returned.append((len(outs), tree, static))
        return [*outs, *dynamic]

    traced.__wrapped__ = getattr(fun, "__wrapped__", fun)  # For errors of JAX.
    try:
        closed = jax.make_jaxpr(traced)(*leaves)
    except NEEDS_VALUES as e:
        raise not_traceable(fun) from e
    _check_sizes([*leaves, *closed.consts])
    num_outputs, tree, static = returned[0]

    def auxiliary(arrays):
        return eqx.combine(jtu.tree_unflatten(tree, arrays), static)

    program = flatten(closed.jaxpr, known_constants(closed))
    return without_uniform_factors(program), num_outputs, auxiliary


def _check_sizes(arrays: Sequence[Any]) -> None:
    """Checks that no size is symbolic, as those of `jax.export` may be."""
    for shape in map(jnp.shape, arrays):
        if not all(isinstance(size, int) for size in shape):
            raise ValueError(
                "The structure of a Jacobian needs sizes that are known when tracing, "
                f"but an array has the shape {shape}. With `jax.export`, only "
                "the size of a batch can be symbolic: that of `jax.vmap` of a Jacobian."
            )
