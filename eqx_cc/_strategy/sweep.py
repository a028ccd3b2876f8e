"""The Jacobian of a program by one pass of JAX's own, for all directions at once.

Where blocks are dense and large, the products of elimination are those of forward or
reverse mode with fewer directions at a time: one pass of all directions then has the
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
from .._jaxpr.avals import as_arrays, is_complex, is_inexact
from .._jaxpr.primitives import facts
from .._jaxpr.program import bodies, evaluate, Program
from .._jaxpr.shard_map import split_as, vary_as


Result = TypeVar("Result")
Direction: TypeAlias = Literal["forward", "reverse"]

# A block of the Jacobian by the positions of its output and its input.
Blocks: TypeAlias = dict[tuple[int, int], Array]

# What JAX raises where a function has no derivative in one direction.
_REFUSALS = TypeError, ValueError, NotImplementedError, RuntimeError


class NotDifferentiable(TypeError):
    """JAX does not differentiate a function in one direction."""


def _asked(direction: Direction, call: Callable[[], Result]) -> Result:
    """Makes a call of JAX alone: what that raises is a `NotDifferentiable`."""
    try:
        return call()
    except _REFUSALS as e:
        raise NotDifferentiable(
            f"JAX does not differentiate the function in {direction} mode: {e}"
        ) from e


def sweep(
    program: Program, leaves: Sequence[Array], num_outputs: int, direction: Direction
) -> tuple[list[Any], Blocks]:
    """All outputs of a program, and the dense blocks of the Jacobian of the first
    `num_outputs`, of those that are inexact, as `jax.jacfwd` or `jax.jacrev` find them.

    Raises `NotDifferentiable` where JAX does not differentiate in this direction.
    """
    rows = differentiable(program, num_outputs)
    _check_result(program, leaves, rows)
    if not rows:
        return as_arrays(evaluate(program, leaves), program.output_avals), {}

    def primal(leaves):
        outputs = as_arrays(evaluate(program, leaves), program.output_avals)
        return [outputs[i] for i in rows], outputs

    found = (forward_blocks if direction == "forward" else _reverse)(
        primal, list(leaves)
    )
    outputs, matrix = found
    return outputs, {(rows[i], j): block for (i, j), block in matrix.items()}


def directions(program: Program, num_outputs: int) -> tuple[Direction, ...]:
    """Those in which a program may have a Jacobian, from what is seen of it: JAX may
    yet refuse one of them."""
    avals = [program.output_avals[i] for i in differentiable(program, num_outputs)]
    found: list[Direction] = []
    if not any(_has_no_jvp(equation.eqn) for equation in program.equations):
        found.append("forward")
    if not any(map(is_complex, avals)):
        found.append("reverse")
    return tuple(found)


def differentiable(program: Program, num_outputs: int) -> list[int]:
    """The outputs that have derivatives: not those that are integers."""
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
    """Whether an equation, or one in its body, has a reverse rule alone."""
    if facts(eqn.primitive.name).kind == "custom_vjp":
        return True
    inner = (body for value in eqn.params.values() for body in bodies(value))
    return any(_has_no_jvp(e) for body in inner for e in body.eqns)


#
# Forward: a direction for each input
#


def forward_blocks(primal: Callable, leaves: list[Array]) -> tuple[Any, Blocks]:
    """The auxiliary outputs and the blocks of a function that returns the outputs to be
    differentiated and those."""
    outputs: Any = []
    blocks: Blocks = {}
    for own in _by_dtype(leaves):
        outputs, columns = _columns(primal, leaves, own)
        for i, column in enumerate(columns):
            parts = _split(column, [leaves[j] for j in own], -1)
            for j, part in zip(own, parts):
                shape = (*column.shape[:-1], *leaves[j].shape)
                blocks[i, j] = part.reshape(shape)
    return outputs, blocks


def _columns(primal: Callable, leaves: list[Array], own: list[int]):
    """All outputs, and the tangents of the inexact ones, along their last axis one for
    each element of the leaves that are named."""

    def of(chosen):
        moved = dict(enumerate(leaves)) | dict(zip(own, chosen))
        return primal(list(moved.values()))

    chosen = [leaves[j] for j in own]

    def push(tangents):
        tangents = vary_as(tangents, chosen)
        _, out, outputs = jax.jvp(of, (chosen,), (tangents,), has_aux=True)
        return outputs, out

    basis = _basis(chosen)
    return _asked("forward", lambda: jax.vmap(push, out_axes=(None, -1))(basis))


#
# Reverse: a direction for each output
#


def _reverse(primal: Callable, leaves: list[Array]) -> tuple[list[Any], Blocks]:
    main, pullback, outputs = _asked(
        "reverse", lambda: jax.vjp(primal, leaves, has_aux=True)
    )
    blocks: Blocks = {}
    for own in _by_dtype(main):
        for j, row in enumerate(_rows(pullback, main, own)):
            parts = _split(row, [main[i] for i in own], 0)
            for i, part in zip(own, parts):
                blocks[i, j] = part.reshape(*main[i].shape, *leaves[j].shape)
                blocks[i, j] = blocks[i, j].astype(main[i].dtype)
    return outputs, blocks


def _rows(pullback: Callable, main: list[Array], own: list[int]) -> list[Array]:
    """The cotangents of the leaves, along their first axis one for each element of the
    outputs that are named."""

    def pull(cotangents):
        zeros = {i: jnp.zeros_like(out) for i, out in enumerate(main)}
        cotangents = vary_as(cotangents, [main[i] for i in own])
        every = zeros | dict(zip(own, cotangents))
        [found] = pullback(list(every.values()))
        return found

    basis = _basis([main[i] for i in own])
    return _asked("reverse", lambda: jax.vmap(pull)(basis))


#
# Both
#


def _by_dtype(arrays: Sequence[Array]) -> list[list[int]]:
    """The positions of arrays of one dtype each, which have a basis in common."""
    groups: dict[Any, list[int]] = {}
    for i, array in enumerate(arrays):
        groups.setdefault(array.dtype, []).append(i)
    return list(groups.values())


def _basis(arrays: Sequence[Array]) -> list[Array]:
    """The standard basis of a space of arrays of one dtype: the first axis counts."""
    size = sum(array.size for array in arrays)
    parts = _split(jnp.eye(size, dtype=arrays[0].dtype), arrays, 1)
    parts = [part.reshape(size, *a.shape) for part, a in zip(parts, arrays)]
    return split_as(parts, arrays)


def _split(array: Array, parts: Sequence[Array], axis: int) -> list[Array]:
    """An array cut along an axis into pieces of the sizes of others."""
    ends = np.cumsum([part.size for part in parts])[:-1]
    return jnp.split(array, ends, axis)
