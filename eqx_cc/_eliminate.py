"""From a function of arrays to the structured blocks of its Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.tree_util as jtu
from jaxtyping import Array

from ._accumulate import accumulate
from ._linearise import linearise, Linearised
from ._ordering import AbstractOrdering, check_order
from ._partial import Partial
from ._pattern import Pattern
from ._plan import plan, Plan
from ._program import flatten


def jacobian_blocks(
    fun: Callable, leaves: Sequence[Array], order: AbstractOrdering
) -> tuple[list[Array], Any, list[list[Partial]]]:
    """The value of a function of arrays, and its Jacobian by vertex elimination.

    **Arguments:**

    - `fun`: takes the list of arrays, returns `(list of arrays, auxiliary PyTree)`; it
        is called once.
    - `leaves`: real floating-point arrays.
    - `order`: chooses the elimination order.

    **Returns:** `(outputs, aux, blocks)` with `blocks[i][j]` the `Partial` of
    `outputs[i]` with respect to `leaves[j]`.
    """
    linearised, aux = trace_function(fun, leaves, order)
    chosen = make_plan(linearised, order)
    values = accumulate(chosen, linearised.values, linearised.dtypes)
    num_outputs = len(linearised.dependents)
    outputs = linearised.outputs[:num_outputs]
    blocks = [
        [_block(chosen, values, out, leaf, j, vertex) for j, leaf in enumerate(leaves)]
        for out, vertex in zip(outputs, linearised.dependents)
    ]
    return outputs, aux(linearised.outputs[num_outputs:]), blocks


def trace_function(
    fun: Callable, leaves: Sequence[Array], order: AbstractOrdering
) -> tuple[Linearised, Callable[[list[Array]], Any]]:
    """Traces and linearises; also a function from auxiliary arrays to the auxiliary
    PyTree. The arrays follow the differentiated outputs."""
    static, count = [], []

    def traced(*arrays):
        outs, aux = fun(list(arrays))
        dynamic, rest = eqx.partition(aux, eqx.is_array)
        dynamic, tree = jtu.tree_flatten(dynamic)
        static.append((tree, rest))
        count.append(len(outs))
        return [*outs, *dynamic]

    closed = jax.make_jaxpr(traced)(*leaves)
    program = flatten(closed.jaxpr, closed.consts)
    linearised = linearise(program, leaves, range(len(leaves)), order, count[0])

    def auxiliary(arrays):
        tree, rest = static[0]
        return eqx.combine(jtu.tree_unflatten(tree, arrays), rest)

    return linearised, auxiliary


def make_plan(linearised: Linearised, order: AbstractOrdering) -> Plan:
    """The plan of an ordering, whose answer is checked."""
    graph = linearised.graph
    chosen = tuple(order(graph))
    check_order(graph, chosen)
    return plan(graph, chosen)


def _block(chosen: Plan, values, out, leaf, j: int, vertex: int | None) -> Partial:
    pattern = None if vertex is None else chosen.blocks.get((j, vertex))
    if pattern is None:
        return Partial(Pattern(out.shape, leaf.shape, ()), (), out.dtype)
    return Partial(pattern, values[j, vertex], out.dtype)
