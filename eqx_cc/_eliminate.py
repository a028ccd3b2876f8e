"""From a function of arrays to the structured blocks of its Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array

from ._arrays import as_numbers
from ._body import Block
from ._granularity import Granularity, scalars_of
from ._linearise import differentiate
from ._ordering import AbstractOrdering
from ._partial import Partial
from ._pattern import dense_pattern, Pattern
from ._program import evaluate, flatten, Program
from ._scalars import scalar_jacobian


def jacobian_blocks(
    fun: Callable,
    leaves: Sequence[Array],
    order: AbstractOrdering,
    granularity: Granularity,
) -> tuple[list[Array], Any, list[list[Partial]]]:
    """The value of a function of arrays, and its Jacobian by vertex elimination.

    **Arguments:**

    - `fun`: takes the list of arrays, returns `(list of arrays, auxiliary PyTree)`; it
        is called once.
    - `leaves`: real floating-point arrays.
    - `order`: chooses the elimination order.
    - `granularity`: whether vertices are arrays or scalars.

    **Returns:** `(outputs, aux, blocks)` with `blocks[i][j]` the `Partial` of
    `outputs[i]` with respect to `leaves[j]`.
    """
    program, num_outputs, auxiliary = trace_function(fun, leaves)
    made = scalars_of(program, leaves, num_outputs, order, granularity)
    if made is not None:
        return _of_scalars(program, made, leaves, num_outputs, auxiliary, order)
    active = range(len(leaves))
    outputs, blocks, _ = differentiate(program, leaves, active, order, num_outputs)
    arrays, aux = outputs[:num_outputs], auxiliary(outputs[num_outputs:])
    rows = [
        [_partial(blocks.get((i, j)), out, leaf) for j, leaf in enumerate(leaves)]
        for i, out in enumerate(arrays)
    ]
    return arrays, aux, rows


def _of_scalars(program, made, leaves, num_outputs, auxiliary, order):
    """The same in scalars, where what elimination does not need is left as it is."""
    avals = program.output_avals[:num_outputs]
    arrays, rows = scalar_jacobian(made, leaves, avals, order)
    if not made.is_strict or len(program.outputs) > num_outputs:
        outputs = evaluate(program, leaves)
        aux = auxiliary(outputs[num_outputs:])
        arrays = arrays if made.is_strict else outputs[:num_outputs]
    else:
        aux = auxiliary([])
    blocks = [
        [_dense(block, out, leaf) for block, leaf in zip(row, leaves)]
        for out, row in zip(arrays, rows)
    ]
    return arrays, aux, blocks


def _dense(block: Array, out: Array, leaf: Array) -> Partial:
    pattern = dense_pattern(out.shape, leaf.shape)
    values = tuple(lax.reshape(block, term.value_shape) for term in pattern.terms)
    return Partial(pattern, values, block.dtype)


def _partial(block: Block | None, out: Array, leaf: Array) -> Partial:
    if block is None:
        return Partial(Pattern(out.shape, leaf.shape, ()), (), out.dtype)
    values = (v if v is None else as_numbers(v, block.dtype) for v in block.values)
    terms = tuple(replace(term, kind="value") for term in block.pattern.terms)
    return Partial(replace(block.pattern, terms=terms), tuple(values), block.dtype)


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
    num_outputs, tree, static = box[0]

    def auxiliary(arrays):
        return eqx.combine(jtu.tree_unflatten(tree, arrays), static)

    return flatten(closed.jaxpr, closed.consts), num_outputs, auxiliary
