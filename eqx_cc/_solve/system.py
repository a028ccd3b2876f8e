"""The matrix of a linear operator, or of the Jacobian of a function, by elimination."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import numpy as np
from jax import lax
from jaxtyping import Array, Num, PyTree

from .._blocks.arrays import DoesNotFit
from .._jaxpr.closed import captured, Traced
from .._jaxpr.program import flatten
from .._jaxpr.shard_map import is_split
from .._orders.budget import limited, MOST_EFFORT, TooDear
from .._orders.lookup import Automatic
from .._scalarise.depends import dependences
from .._strategy.granularity import scalar_program
from .._strategy.jacobian_blocks import jacobian_blocks
from .factorisations.base import AbstractPlan
from .matrix.assemble import assemble, Matrix
from .matrix.positions import Positions
from .matrix.ravel import size_of
from .select import is_enough, plan_for


class System(NamedTuple):
    """How to factor a matrix, None if it is dense; and what computes it: a `Matrix` if
    there is a plan, or else an array."""

    plan: AbstractPlan | None
    matrix: Callable[[], Any]


def given_matrix(operator: lx.AbstractLinearOperator) -> Callable[[], Array] | None:
    """The matrix of an operator that is one, of which the pattern is not known."""
    while isinstance(operator, lx.TaggedLinearOperator):
        operator = operator.operator
    given = lx.MatrixLinearOperator, lx.PyTreeLinearOperator
    return operator.as_matrix if isinstance(operator, given) else None


class Choice(NamedTuple):
    """What is factored by its entries: matrices of a size that have so many of them,
    and are `enough` of a structure; and how, by their positions and the rank of what
    there is besides, if `low_rank` is kept apart."""

    enough: Callable[[int, int], bool] = is_enough
    plan: Callable[[Positions, int], AbstractPlan | None] = plan_for
    low_rank: bool = True


def of_operator(
    operator: lx.AbstractLinearOperator, choice: Choice = Choice()
) -> System:
    """The matrix of a linear operator between real vectors."""
    if isinstance(operator, lx.JacobianLinearOperator):
        fun, x = lambda x: operator.fn(x, operator.args), operator.x
        return of_function(fun, x, choice)
    zeros = jtu.tree_map(lambda s: jnp.zeros(s.shape, s.dtype), operator.in_structure())
    return of_function(operator.mv, zeros, choice)


def of_function(fun: Callable, x: PyTree, choice: Choice = Choice()) -> System:
    """The Jacobian of a function of a PyTree."""
    leaves, tree = jtu.tree_flatten(x)
    leaves = [jnp.asarray(leaf) for leaf in leaves]

    def flat(leaves):
        return jtu.tree_leaves(fun(jtu.tree_unflatten(tree, leaves))), None

    found = _structured(flat, leaves, choice)
    return System(None, lambda: _dense(flat, leaves)) if found is None else found


def few_scalars(fun: Callable, x: PyTree) -> Positions | None:
    """Where the entries of the Jacobian of a program of few scalars may be, row by row;
    None of any other function."""
    leaves, tree = jtu.tree_flatten(x)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    closed = Traced(lambda own: fun(jtu.tree_unflatten(tree, own)), leaves).closed
    program = flatten(closed.jaxpr, closed.consts)
    if any(map(is_split, [*leaves, *captured(program)])):
        return None
    made = scalar_program(program, closed.in_avals, len(closed.out_avals))
    if made is None:
        return None
    found = dependences(made)
    rows, columns = np.nonzero(found)
    return Positions(rows, columns, *found.shape)


def sparse_matrix(
    fun: Callable,
    leaves: Sequence[Array],
    enough: Callable[[int], bool],
    low_rank: bool = True,
) -> Traced[Matrix | None] | None:
    """The Jacobian by its entries, traced; None if that takes too long."""

    def matrix(leaves):
        how = Automatic(), "array", True, False, low_rank
        blocks = jacobian_blocks(fun, leaves, *how)
        return assemble(blocks[2], enough)

    with contextlib.suppress(DoesNotFit, TooDear):
        with limited(MOST_EFFORT):
            return Traced(matrix, leaves)
    return None


def _structured(
    fun: Callable, leaves: Sequence[Array], choice: Choice
) -> System | None:
    size = size_of(leaves)
    if not choice.enough(size, 0):
        return None
    enough = lambda count: choice.enough(size, count)  # noqa: E731
    traced = sparse_matrix(fun, leaves, enough, choice.low_rank)
    struct = None if traced is None else traced.struct
    if traced is None or struct is None:
        return None
    plan = choice.plan(struct.positions, struct.rank)
    return None if plan is None else System(plan, lambda: traced(leaves))


def _dense(fun: Callable, leaves: Sequence[Array]) -> Num[Array, ...]:
    outs, _, rows = jacobian_blocks(fun, leaves, Automatic(), "auto", False, False)
    dtypes = [x.dtype for x in (*outs, *leaves)]
    if not dtypes:
        return jnp.zeros((0, 0))
    dtype = np.result_type(*dtypes)
    stripes = [jnp.zeros((0, size_of(leaves)), dtype)] if not rows else []
    for out, row in zip(outs, rows):
        blocks = [
            lax.reshape(block.materialise().astype(dtype), (out.size, leaf.size))
            for block, leaf in zip(row, leaves)
        ]
        stripes.append(_side_by_side(blocks, 1, (out.size, 0), dtype))
    return _side_by_side(stripes, 0, (0, size_of(leaves)), dtype)


def _side_by_side(arrays, axis: int, shape: tuple[int, int], dtype: Any) -> jax.Array:
    if len(arrays) == 1:
        return arrays[0]
    return jnp.concatenate(arrays, axis) if arrays else jnp.zeros(shape, dtype)
