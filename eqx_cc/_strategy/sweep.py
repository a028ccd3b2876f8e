"""The Jacobian of a program by one sweep of JAX, for all directions at once.

Where blocks are dense and large, elimination computes the products of forward or
reverse mode for fewer directions at a time. One sweep for all directions then has the
fewest and the largest matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._blocks.arrays import check_fits
from .._blocks.unit_vectors import unit_vectors
from .._graph.infinities import UNBOUNDED
from .._jaxpr.avals import as_arrays, is_complex, is_inexact
from .._jaxpr.primitives import facts
from .._jaxpr.program import bodies, evaluate, Program
from .._jaxpr.shard_map import split_as, vary_as


Result = TypeVar("Result")
Direction: TypeAlias = Literal["forward", "reverse"]

# DenseBlocks of the Jacobian, by the positions of their output and their input.
DenseBlocks: TypeAlias = dict[tuple[int, int], Array]

# Raised by JAX for a function that has no derivative in one direction.
NO_DERIVATIVE = TypeError, ValueError, RuntimeError


class NotDifferentiable(TypeError):
    """JAX does not differentiate a function in one direction."""


def _call_jax(direction: Direction, call: Callable[[], Result]) -> Result:
    """Calls JAX, and no code of ours. Raises `NotDifferentiable` for its errors."""
    try:
        return call()
    except NO_DERIVATIVE as e:
        raise NotDifferentiable(
            f"JAX does not differentiate the function in {direction} mode: {e}"
        ) from e


def sweep(
    program: Program,
    leaves: Sequence[Array],
    num_outputs: int,
    direction: Direction,
    chunk_size: int | None = None,
) -> tuple[list[Any], DenseBlocks]:
    """All outputs of a program, and the dense blocks of its Jacobian, as `jax.jacfwd`
    or `jax.jacrev` compute them. The rows are the inexact of the first `num_outputs`.
    Only `chunk_size` directions, if given, are computed at once.

    Raises `NotDifferentiable` where JAX does not differentiate in this direction.
    """
    rows = differentiable(program, num_outputs)
    _check_result(program, leaves, rows)
    if not rows:
        return as_arrays(evaluate(program, leaves), program.output_avals), {}

    def primal(leaves):
        outputs = as_arrays(evaluate(program, leaves), program.output_avals)
        return [outputs[i] for i in rows], outputs

    all_blocks = forward_blocks if direction == "forward" else _reverse_blocks
    outputs, blocks = all_blocks(primal, list(leaves), chunk_size)
    return outputs, {(rows[i], j): block for (i, j), block in blocks.items()}


def directions(program: Program, num_outputs: int) -> tuple[Direction, ...]:
    """The directions in which JAX may differentiate a program, from its equations. JAX
    may still refuse one of them."""
    avals = [program.output_avals[i] for i in differentiable(program, num_outputs)]
    possible: list[Direction] = []
    if not any(_has_no_jvp(equation.eqn) for equation in program.equations):
        possible.append("forward")
    if not any(map(is_complex, avals)):
        possible.append("reverse")
    return tuple(possible)


def differentiable(program: Program, num_outputs: int) -> list[int]:
    """The positions of the outputs that have derivatives: not integers."""
    return [i for i in range(num_outputs) if is_inexact(program.output_avals[i])]


def _check_result(program: Program, leaves: Sequence[Array], rows: list[int]) -> None:
    for aval in (program.output_avals[i] for i in rows):
        for leaf in leaves:
            check_fits(
                aval.size * jnp.size(leaf),
                np.dtype(aval.dtype),
                f"The block of the Jacobian from shape {jnp.shape(leaf)} to shape "
                f"{aval.shape}",
                "`structured=True` of `eqx_cc.cc_jacobian` may have it without its "
                "zeros; its products with vectors, as `jax.jvp` and `jax.vjp` take "
                "them, may fit.",
            )


def _has_no_jvp(eqn: jex.JaxprEqn) -> bool:
    """True if an equation, or one in its body, has a reverse rule alone."""
    if facts(eqn.primitive.name).kind == "custom_vjp":
        return True
    return any(_has_no_jvp(e) for body in bodies(eqn) for e in body.eqns)


#
# Forward: a direction for each element of the inputs
#


def forward_blocks(
    primal: Callable, leaves: list[Array], chunk_size: int | None = None
) -> tuple[Any, DenseBlocks]:
    """The auxiliary outputs, and the blocks of the others.

    `primal` returns the pair `(outputs to be differentiated, auxiliary outputs)`.
    """
    outputs: Any = []
    blocks: DenseBlocks = {}
    for positions in _by_dtype(leaves):
        outputs, columns = _columns(primal, leaves, positions, chunk_size)
        for i, column in enumerate(columns):
            parts = _split(column, [leaves[j] for j in positions], -1)
            for j, part in zip(positions, parts):
                shape = (*column.shape[:-1], *leaves[j].shape)
                blocks[i, j] = part.reshape(shape)
    return outputs, blocks


def _columns(
    primal: Callable,
    leaves: list[Array],
    positions: list[int],
    chunk_size: int | None,
):
    """The auxiliary outputs, and the tangents of the others. The last axis of a tangent
    runs over the elements of the leaves at `positions`."""

    def restricted(active):
        replaced = dict(enumerate(leaves)) | dict(zip(positions, active))
        return primal(list(replaced.values()))

    active = [leaves[j] for j in positions]
    if chunk_size is not None:
        return _columns_in_chunks(restricted, active, chunk_size)

    def push(tangents):
        tangents = vary_as(tangents, active)
        _, out, outputs = jax.jvp(restricted, (active,), (tangents,), has_aux=True)
        return outputs, out

    push_all = jax.vmap(push, out_axes=(None, -1))
    basis = _basis(active)
    return _call_jax("forward", lambda: push_all(basis))


def _columns_in_chunks(restricted: Callable, active: list[Array], chunk_size: int):
    """The same, some columns at a time."""
    _, push, outputs = _call_jax(
        "forward", lambda: jax.linearize(restricted, active, has_aux=True)
    )
    rows = _in_chunks(
        lambda tangents: push(vary_as(tangents, active)), active, chunk_size
    )
    return outputs, [jnp.moveaxis(row, 0, -1) for row in rows]


# The most columns that are computed at once where only their sum is kept.
_AT_ONCE = 16


def at_once(leaves: Sequence[Array]) -> int:
    """The number of columns that `diagonal_sums` computes at once."""
    return max(1, min(_AT_ONCE, sum(map(jnp.size, leaves))))


def diagonal_sums(
    program: Program, leaves: Sequence[Array], num_outputs: int
) -> tuple[list[Any], list[Array]]:
    """All outputs of a program, and the traces of the blocks `(i, i)` of its Jacobian,
    whose outputs have the shapes of the leaves. Some columns at a time are computed.

    Raises `NotDifferentiable` where JAX does not differentiate in this direction.
    """

    def primal(*leaves):
        outputs = as_arrays(evaluate(program, leaves), program.output_avals)
        return outputs[:num_outputs], outputs

    _, push, outputs = _call_jax(
        "forward", lambda: jax.linearize(primal, *leaves, has_aux=True)
    )
    size, count = sum(leaf.size for leaf in leaves), at_once(leaves)

    def some(first):
        """The sums over a few elements of the diagonal."""
        chosen = jax.vmap(lambda number: _masks(number, leaves))(
            first + jnp.arange(count)
        )
        vectors = [c.astype(leaf.dtype) for c, leaf in zip(chosen, leaves)]
        images = jax.vmap(lambda *v: push(*vary_as(list(v), leaves)))(*vectors)
        # Chosen, not multiplied: an entry off the diagonal may be infinite.
        return [jnp.sum(jnp.where(c, x, 0)) for c, x in zip(chosen, images)]

    sums = jax.lax.map(some, jnp.arange(0, max(1, size), count))
    return outputs, [jnp.sum(part) for part in sums]


#
# Reverse: a direction for each element of the outputs
#


def _reverse_blocks(
    primal: Callable, leaves: list[Array], chunk_size: int | None = None
) -> tuple[Any, DenseBlocks]:
    """`forward_blocks`, by the rows of the Jacobian."""
    main, pullback, outputs = _call_jax(
        "reverse", lambda: jax.vjp(primal, leaves, has_aux=True)
    )
    blocks: DenseBlocks = {}
    for positions in _by_dtype(main):
        for j, row in enumerate(_rows(pullback, main, positions, chunk_size)):
            parts = _split(row, [main[i] for i in positions], 0)
            for i, part in zip(positions, parts):
                blocks[i, j] = part.reshape(*main[i].shape, *leaves[j].shape)
                blocks[i, j] = blocks[i, j].astype(main[i].dtype)
    return outputs, blocks


def _rows(
    pullback: Callable,
    main: list[Array],
    positions: list[int],
    chunk_size: int | None,
) -> list[Array]:
    """The cotangents of the leaves. The first axis of a cotangent runs over the
    elements of the outputs at `positions`."""
    active = [main[i] for i in positions]

    def pull(cotangents):
        zeros = {i: jnp.zeros_like(out) for i, out in enumerate(main)}
        cotangents = vary_as(cotangents, active)
        [pulled] = pullback(list((zeros | dict(zip(positions, cotangents))).values()))
        return pulled

    if chunk_size is not None:
        return _call_jax("reverse", lambda: _in_chunks(pull, active, chunk_size))
    basis = _basis(active)
    return _call_jax("reverse", lambda: jax.vmap(pull)(basis))


#
# Both
#


def _in_chunks(fun: Callable, arrays: list[Array], chunk_size: int) -> list[Array]:
    """The values of `fun` at the unit vectors of a space of arrays of one dtype, along
    a new first axis, some of them at a time."""

    def at(number):
        return fun([x.astype(arrays[0].dtype) for x in _masks(number, arrays)])

    count = sum(array.size for array in arrays)
    size = min(chunk_size, count)
    numbers = jnp.arange(-(-count // size) * size).reshape(-1, size)
    images = jax.lax.map(jax.vmap(at), numbers)  # The last ones may be of no vector.
    return [x.reshape(numbers.size, *x.shape[2:])[:count] for x in images]


def _masks(number: Array, arrays: Sequence[Array]) -> list[Array]:
    """Where the element of this number is, which are counted through all arrays."""
    mask = jnp.arange(sum(array.size for array in arrays)) == number
    parts = _split(mask, arrays, 0)
    return [part.reshape(array.shape) for part, array in zip(parts, arrays)]


def _by_dtype(arrays: Sequence[Array]) -> list[list[int]]:
    """The positions of the arrays of each dtype. These have a basis in common."""
    groups: dict[Any, list[int]] = {}
    for i, array in enumerate(arrays):
        groups.setdefault(array.dtype, []).append(i)
    return list(groups.values())


def _basis(arrays: Sequence[Array]) -> list[Array]:
    """The unit vectors of a space of arrays of one dtype, split as these."""
    return split_as(unit_vectors(arrays), arrays)


def _split(array: Array, parts: Sequence[Array], axis: int) -> list[Array]:
    """The array cut along an axis into pieces of the sizes of `parts`."""
    ends = np.cumsum([part.size for part in parts])[:-1]
    return jnp.split(array, ends, axis)


def may_discard_infinities(program: Program) -> bool:
    """True if the program selects between values that it computed, some of them by
    functions whose derivative may be infinite.

    Where the selection discards such a value (`jnp.where(x > 0, jnp.sqrt(x), 0.0)`),
    reverse mode multiplies an infinite derivative by zero, which is NaN. Forward mode
    and elimination discard it.
    """
    computed: set[int] = set()
    selects = is_unbounded = False
    for equation in program.equations:
        name = equation.primitive.name
        is_unbounded |= name in UNBOUNDED
        if name == "select_n" and is_inexact(equation.result_avals[0]):
            selects |= not computed.isdisjoint(equation.operands[1:])
        computed.update(equation.results)
    return selects and is_unbounded
