"""From a function of arrays to the structured blocks of its Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array

from ._arrays import as_numbers
from ._automatic import Automatic, Cheapest, Measured
from ._body import Block
from ._cache import default_cache, OrderCache
from ._choice import by_default
from ._cost import Flops, Traffic
from ._granularity import Granularity, scalars_of
from ._linearise import accumulated, Factorised, factorised, linearise
from ._measured import by_measurement, by_memory, measured, Way, Ways
from ._ordering import AbstractOrdering
from ._partial import Partial
from ._pattern import dense_pattern, Pattern
from ._program import evaluate, flatten, Program
from ._scalarise import ScalarProgram
from ._scalars import scalar_jacobian
from ._sweep import Direction, sweep


# The outputs, those that are auxiliary among them, and the blocks of the Jacobian.
_Found: TypeAlias = tuple[list[Any], list[list[Partial]]]


def jacobian_blocks(
    fun: Callable,
    leaves: Sequence[Array],
    order: AbstractOrdering,
    granularity: Granularity,
    structured: bool = False,
) -> tuple[list[Array], Any, list[list[Partial]]]:
    """The value of a function of arrays, and its Jacobian by vertex elimination.

    **Arguments:**

    - `fun`: takes the list of arrays, returns `(list of arrays, auxiliary PyTree)`; it
        is called once.
    - `leaves`: real floating-point arrays.
    - `order`: chooses the elimination order.
    - `granularity`: whether vertices are arrays or scalars; structured blocks are those
        of arrays.
    - `structured`: whether blocks of low rank keep their factors.

    **Returns:** `(outputs, aux, blocks)` with `blocks[i][j]` the `Partial` of
    `outputs[i]` with respect to `leaves[j]`.
    """
    program, count, auxiliary = trace_function(fun, leaves)
    outputs, blocks = _found(program, leaves, count, order, granularity, structured)
    return outputs[:count], auxiliary(outputs[count:]), blocks


def _found(
    program: Program,
    leaves: Sequence[Array],
    count: int,
    order: AbstractOrdering,
    granularity: Granularity,
    structured: bool,
) -> _Found:
    if not structured and isinstance(order, Automatic | Measured):
        is_new = isinstance(order, Measured)
        if is_new and granularity == "scalar":  # Which may be refused.
            scalars_of(program, leaves, count, order, granularity)
        taken = by_measurement if is_new else by_memory
        found = taken(program, leaves, _ways(count, granularity), default_cache())
        if found is not None:
            return found
        order = Automatic()
    scalars = None
    if not structured:
        scalars = scalars_of(program, leaves, count, order, granularity)
    if scalars is not None:
        return _by_scalars(program, scalars, leaves, count, order)
    return _by_arrays(program, leaves, count, order, structured)


def measure(
    fun: Callable, leaves: Sequence[Array], granularity: Granularity, cache: OrderCache
) -> str | None:
    """Finds and keeps the fastest way to a Jacobian; returns its name, or None if it
    cannot be measured."""
    program, count, _ = trace_function(fun, leaves)
    return measured(program, leaves, _ways(count, granularity), cache)


def _ways(count: int, granularity: Granularity) -> Ways[_Found]:
    """What is measured."""

    def swept(direction: Direction) -> Way[_Found]:
        return lambda program, leaves: _by_sweep(program, leaves, count, direction)

    def arrays(order: AbstractOrdering) -> Way[_Found]:
        return lambda program, leaves: _eliminated(program, leaves, count, order, False)

    def scalars(order: AbstractOrdering) -> Way[_Found]:
        def way(program, leaves):
            made = scalars_of(program, leaves, count, order, granularity)
            if made is None:
                raise TypeError("The function is not expanded into scalars.")
            return _by_scalars(program, made, leaves, count, order)

        return way

    ways = {"forward": swept("forward"), "reverse": swept("reverse")}
    if granularity != "scalar":
        ways["arrays, multiplications"] = arrays(Automatic())
        ways["arrays, traffic"] = arrays(Cheapest(Traffic()))
    if granularity != "array":
        ways["scalars, multiplications"] = scalars(Automatic())
        ways["scalars, flops"] = scalars(Cheapest(Flops()))
    return Ways(ways, _arrays)


def _arrays(found: _Found) -> list[Array]:
    """The dense blocks."""
    return [block.materialise() for row in found[1] for block in row]


def _by_arrays(
    program: Program,
    leaves: Sequence[Array],
    count: int,
    order: AbstractOrdering,
    structured: bool,
) -> _Found:
    def eliminate(leaves):
        return _eliminated(program, leaves, count, order, structured)

    def swept(leaves, direction):
        return _by_sweep(program, leaves, count, direction)

    if structured or not isinstance(order, Automatic):
        return eliminate(leaves)
    return by_default(program, leaves, count, eliminate, swept)


def _eliminated(
    program: Program,
    leaves: Sequence[Array],
    count: int,
    order: AbstractOrdering,
    structured: bool,
) -> _Found:
    made = linearise(program, leaves, range(len(leaves)), order, count)
    if structured:
        blocks = factorised(made, order)
    else:
        blocks = {e: Factorised(b, []) for e, b in accumulated(made, order).items()}
    rows = [
        [_partial(blocks.get((i, j)), out, leaf) for j, leaf in enumerate(leaves)]
        for i, out in enumerate(made.outputs[:count])
    ]
    return made.outputs, rows


def _by_sweep(
    program: Program, leaves: Sequence[Array], count: int, direction: Direction
) -> _Found:
    outputs, blocks = sweep(program, leaves, count, direction)
    rows = [
        [
            _dense(blocks[i, j], out, leaf)
            if (i, j) in blocks
            else _partial(None, out, leaf)
            for j, leaf in enumerate(leaves)
        ]
        for i, out in enumerate(outputs[:count])
    ]
    return outputs, rows


def _by_scalars(
    program: Program,
    made: ScalarProgram,
    leaves: Sequence[Array],
    count: int,
    order: AbstractOrdering,
) -> _Found:
    outputs, rows = scalar_jacobian(made, leaves, program.output_avals[:count], order)
    if not made.is_strict or len(program.outputs) > count:
        every = evaluate(program, leaves)
        outputs = [*outputs, *every[count:]] if made.is_strict else every
    blocks = [
        [_dense(block, out, leaf) for block, leaf in zip(row, leaves)]
        for out, row in zip(outputs, rows)
    ]
    return outputs, blocks


def _dense(block: Array, out: Array, leaf: Array) -> Partial:
    pattern = dense_pattern(out.shape, leaf.shape)
    values = tuple(lax.reshape(block, term.value_shape) for term in pattern.terms)
    return Partial(pattern, values, block.dtype)


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
