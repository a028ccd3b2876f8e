"""From a function of arrays to the structured blocks of its Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.tree_util as jtu
from jaxtyping import Array

from ._arrays import as_numbers
from ._body import Block
from ._linearise import accumulated, Factorised, factorised, linearise
from ._ordering import AbstractOrdering
from ._partial import Partial
from ._pattern import Pattern
from ._program import flatten, Program


def jacobian_blocks(
    fun: Callable,
    leaves: Sequence[Array],
    order: AbstractOrdering,
    structured: bool = False,
) -> tuple[list[Array], Any, list[list[Partial]]]:
    """The value of a function of arrays, and its Jacobian by vertex elimination.

    **Arguments:**

    - `fun`: takes the list of arrays, returns `(list of arrays, auxiliary PyTree)`; it
        is called once.
    - `leaves`: real floating-point arrays.
    - `order`: chooses the elimination order.
    - `structured`: whether blocks of low rank keep their factors.

    **Returns:** `(outputs, aux, blocks)` with `blocks[i][j]` the `Partial` of
    `outputs[i]` with respect to `leaves[j]`.
    """
    program, num_outputs, auxiliary = trace_function(fun, leaves)
    made = linearise(program, leaves, range(len(leaves)), order, num_outputs)
    if structured:
        blocks = factorised(made, order)
    else:
        blocks = {e: Factorised(b, []) for e, b in accumulated(made, order).items()}
    arrays, aux = made.outputs[:num_outputs], auxiliary(made.outputs[num_outputs:])
    rows = [
        [_partial(blocks.get((i, j)), out, leaf) for j, leaf in enumerate(leaves)]
        for i, out in enumerate(arrays)
    ]
    return arrays, aux, rows


def _partial(found: Factorised | None, out: Array, leaf: Array) -> Partial:
    rest, factors = found or (None, [])
    if rest is None:
        rest = Block(Pattern(out.shape, leaf.shape, ()), (), out.dtype)
    sides = tuple((_stored(left), _stored(right)) for left, right in factors)
    return replace(_stored(rest), factors=sides)


def _stored(block: Block) -> Partial:
    """A block whose masks are numbers."""
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
