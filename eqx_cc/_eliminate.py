"""From a function of arrays to the structured blocks of its Jacobian."""

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

from ._arrays import DoesNotFit
from ._automatic import Automatic, Cheapest, Measured
from ._cache import default_cache, OrderCache
from ._choice import by_default
from ._cost import Flops, Traffic
from ._granularity import Granularity, scalars_of
from ._measured import by_measurement, by_memory, measured, Way, Ways
from ._ordering import AbstractOrdering, Reverse
from ._partial import Partial
from ._program import flatten, has_collectives, has_split, Program
from ._sweep import Direction, directions
from ._varying import varies
from ._ways import by_arrays, by_scalars, by_sweep, Found, Problem


def jacobian_blocks(
    fun: Callable,
    leaves: Sequence[Array],
    order: AbstractOrdering,
    granularity: Granularity,
    structured: bool = False,
    with_value: bool = True,
    low_rank: bool = True,
) -> tuple[list[Any], Any, list[list[Partial]]]:
    """The value of a function of arrays, and its Jacobian by vertex elimination.

    **Arguments:**

    - `fun`: takes the list of arrays, returns `(list of arrays, auxiliary PyTree)`; it
        is called once.
    - `leaves`: real floating-point arrays.
    - `order`: chooses the elimination order.
    - `granularity`: whether vertices are arrays or scalars; structured blocks are those
        of arrays.
    - `structured`: whether blocks keep their patterns.
    - `with_value`: whether `outputs` are wanted. If not then they are
        `jax.ShapeDtypeStruct`s.
    - `low_rank`: whether structured blocks of low rank keep their factors.

    **Returns:** `(outputs, aux, blocks)` with `blocks[i][j]` the `Partial` of
    `outputs[i]` with respect to `leaves[j]`.
    """
    program, count, auxiliary = trace_function(fun, leaves)
    problem = Problem(program, count, with_value)
    if structured:
        _check_whole(program, leaves)
        found = by_arrays(problem, leaves, order, low_rank)
    else:
        found = _dense(problem, leaves, order, granularity)
    outputs = found.outputs if with_value else list(map(_struct, problem.avals))
    return outputs, auxiliary(found.auxiliary), found.blocks


def _struct(aval: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def _dense(
    problem: Problem,
    leaves: Sequence[Array],
    order: AbstractOrdering,
    granularity: Granularity,
) -> Found:
    program = problem.program
    if any(map(varies, leaves)) and has_collectives(program):
        return by_sweep(problem, leaves, "forward")
    if has_split(program, leaves):
        return _as_split(problem, leaves, order)
    if isinstance(order, Automatic | Measured):
        is_new = isinstance(order, Measured)
        if is_new and granularity == "scalar":  # Which may be refused.
            scalars_of(program, leaves, problem.count, order, granularity)
        taken = by_measurement if is_new else by_memory
        found = taken(program, leaves, _ways(problem, granularity), default_cache())
        if found is not None:
            return found
        order = Automatic()
    scalars = scalars_of(program, leaves, problem.count, order, granularity)
    if scalars is not None:
        return by_scalars(problem, scalars, leaves, order)
    if not isinstance(order, Automatic):
        return by_arrays(problem, leaves, order)
    return by_default(
        program,
        leaves,
        problem.count,
        lambda leaves: by_arrays(problem, leaves, order),
        lambda leaves, direction: by_sweep(problem, leaves, direction),
    )


def _check_whole(program: Program, leaves: Sequence[Array]) -> None:
    if has_split(program, leaves):
        raise ValueError(
            "`structured=True` needs arrays that are whole, but an array in the "
            "function is split over the axes of a mesh of type `Explicit`. Without it, "
            "the Jacobian is dense, and split as that of `jax.jacfwd`. Or pass whole "
            "arrays (`jax.sharding.reshard(x, jax.sharding.PartitionSpec())`), or make "
            "the mesh with `axis_types=(jax.sharding.AxisType.Auto, ...)`."
        )


def _as_split(
    problem: Problem, leaves: Sequence[Array], order: AbstractOrdering
) -> Found:
    """What is split over a mesh of type `Explicit` is differentiated as JAX does it,
    which leaves the blocks of the Jacobian split: single entries, and the places of
    blocks in others, have types only where nothing is split."""
    ways: list[Direction] = ["forward", "reverse"]
    first, second = reversed(ways) if isinstance(order, Reverse) else ways
    if first in (possible := directions(problem.program, problem.count)):
        return by_sweep(problem, leaves, first)
    return by_sweep(problem, leaves, second if second in possible else first)


def way_taken(
    program: Program, count: int, leaves: Sequence[Array], order: AbstractOrdering
) -> str:
    """How the dense Jacobian of a program is found when it is compiled, as which it is
    being traced; nothing is measured for that."""
    problem = Problem(program, count, with_value=False)
    order = Automatic() if isinstance(order, Measured) else order
    with contextlib.suppress(DoesNotFit):
        _dense(problem, leaves, order, "auto")
        return problem.tried[-1]
    return "nothing, as the dense Jacobian does not fit into memory"


def measure(
    fun: Callable, leaves: Sequence[Array], granularity: Granularity, cache: OrderCache
) -> str | None:
    """Finds and keeps the fastest way to a Jacobian; returns its name, or None if it
    cannot be measured."""
    program, count, _ = trace_function(fun, leaves)
    ways = _ways(Problem(program, count, with_value=False), granularity)
    return measured(program, leaves, ways, cache)


def _ways(problem: Problem, granularity: Granularity) -> Ways[Found]:
    """What is measured."""

    def swept(direction: Direction) -> Way[Found]:
        return lambda program, leaves: by_sweep(
            replace(problem, program=program), leaves, direction
        )

    def arrays(order: AbstractOrdering) -> Way[Found]:
        return lambda program, leaves: by_arrays(
            replace(problem, program=program), leaves, order
        )

    def scalars(order: AbstractOrdering) -> Way[Found]:
        def way(program, leaves):
            made = scalars_of(program, leaves, problem.count, order, granularity)
            if made is None:
                raise TypeError("The function is not expanded into scalars.")
            return by_scalars(replace(problem, program=program), made, leaves, order)

        return way

    ways = {"forward": swept("forward"), "reverse": swept("reverse")}
    if granularity != "scalar":
        ways["arrays, multiplications"] = arrays(Automatic())
        ways["arrays, traffic"] = arrays(Cheapest(Traffic()))
    if granularity != "array":
        ways["scalars, multiplications"] = scalars(Automatic())
        ways["scalars, flops"] = scalars(Cheapest(Flops()))
    return Ways(ways, _arrays)


def _arrays(found: Found) -> list[Array]:
    """The dense blocks."""
    return [block.materialise() for row in found.blocks for block in row]


def trace_function(
    fun: Callable, leaves: Sequence[Array]
) -> tuple[Program, int, Callable[[list[Array]], Any]]:
    """The program of a function that returns `(list of arrays, auxiliary PyTree)`.

    Returns it with the number of its proper outputs, which auxiliary arrays follow, and
    a function from these to the auxiliary PyTree.
    """
    box = []

    def traced(*arrays):
        outs, aux = fun(list(arrays))
        dynamic, static = eqx.partition(aux, eqx.is_array)
        dynamic, tree = jtu.tree_flatten(dynamic)
        box.append((len(outs), tree, static))
        return [*outs, *dynamic]

    closed = jax.make_jaxpr(traced)(*leaves)
    _check_sizes([*leaves, *closed.consts])
    num_outputs, tree, static = box[0]

    def auxiliary(arrays):
        return eqx.combine(jtu.tree_unflatten(tree, arrays), static)

    return flatten(closed.jaxpr, closed.consts), num_outputs, auxiliary


def _check_sizes(arrays: Sequence[Any]) -> None:
    """Refuses sizes that are symbols (those of `jax.export`)."""
    for shape in map(jnp.shape, arrays):
        if not all(isinstance(size, int) for size in shape):
            raise ValueError(
                "What structure a Jacobian has is read from sizes that are known when "
                f"tracing, but an array has the shape {shape}. With `jax.export`, only "
                "the size of a batch can be symbolic: that of `jax.vmap` of a Jacobian."
            )
