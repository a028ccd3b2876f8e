"""The matrix of a linear operator, or of the Jacobian of a function, by elimination."""

from __future__ import annotations

import contextlib
import functools as ft
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
from .._jaxpr.closed import captured_tracers, TracedFunction
from .._jaxpr.known.captured import known_constants
from .._jaxpr.program import flatten
from .._jaxpr.shard_map import is_split
from .._orders.budget import BudgetExceeded, DEFAULT_BUDGET, limited
from .._orders.lookup import Automatic
from .._scalarise.depends import dependences
from .._strategy.granularity import scalar_program
from .._strategy.jacobian_blocks import jacobian_blocks
from .block_operator import BlockOperator
from .factorisations.base import AbstractFactorisation
from .matrix.assemble import assemble, Matrix
from .matrix.positions import Positions
from .matrix.ravel import size_of
from .select import is_sparse, select


# A Jacobian with more entries has no pattern that is stored entry by entry.
MOST_ENTRIES = 5_000_000


class MatrixRecipe(NamedTuple):
    """The factorisation that suits a matrix, None if that is dense; and a function that
    computes the matrix: a `Matrix` if there is a factorisation, or else an array."""

    factorisation: AbstractFactorisation | None
    matrix: Callable[[], Any]


class Selection(NamedTuple):
    """The criteria by which a factorisation is selected.

    `is_sparse` takes the size of a matrix and the number of its entries, and returns
    True if these may have a structure. `select` takes their positions, and
    the rank of what is added to them if `low_rank` is kept apart.
    """

    is_sparse: Callable[[int, int], bool] = is_sparse
    select: Callable[[Positions, int], AbstractFactorisation | None] = select
    low_rank: bool = True


# Every matrix is taken for dense.
DENSE = Selection(lambda size, count: False)


def stored_matrix(operator: lx.AbstractLinearOperator) -> Callable[[], Array] | None:
    """A function that returns the matrix of an operator that stores one, so that its
    pattern is not known; None for any other operator."""
    operator = untagged(operator)
    storing = lx.MatrixLinearOperator, lx.PyTreeLinearOperator
    return operator.as_matrix if isinstance(operator, storing) else None


def untagged(operator: lx.AbstractLinearOperator) -> lx.AbstractLinearOperator:
    """The operator within `lineax.TaggedLinearOperator`s."""
    while isinstance(operator, lx.TaggedLinearOperator):
        operator = operator.operator
    return operator


def of_operator(
    operator: lx.AbstractLinearOperator, selection: Selection = Selection()
) -> MatrixRecipe:
    """The matrix of a linear operator between real vectors."""
    if isinstance(inner := untagged(operator), BlockOperator):
        return _of_block(inner, selection)
    if isinstance(operator, lx.JacobianLinearOperator):
        fun, x = lambda x: operator.fn(x, operator.args), operator.x
        return of_function(fun, x, selection)
    zeros = jtu.tree_map(lambda s: jnp.zeros(s.shape, s.dtype), operator.in_structure())
    return of_function(operator.mv, zeros, selection)


def _of_block(operator: BlockOperator, selection: Selection) -> MatrixRecipe:
    criterion = ft.partial(selection.is_sparse, operator.in_size())
    matrix = operator.matrix(criterion, low_rank=selection.low_rank)
    if matrix is not None:
        factorisation = selection.select(matrix.positions, matrix.rank)
        if factorisation is not None:
            return MatrixRecipe(factorisation, lambda: matrix)
    return MatrixRecipe(None, operator.as_matrix)


def of_function(
    fun: Callable, x: PyTree, selection: Selection = Selection()
) -> MatrixRecipe:
    """The Jacobian of a function of a PyTree."""
    fun, leaves = of_leaves(fun, x)
    sparse = _sparse(fun, leaves, selection)
    return sparse or MatrixRecipe(None, lambda: _dense_jacobian(fun, leaves))


def of_leaves(fun: Callable, x: PyTree) -> tuple[Callable, list[Array]]:
    """The function of the leaves of `x` as `jacobian_blocks` takes it, and these."""
    leaves, tree = jtu.tree_flatten(x)

    def flat(leaves):
        return jtu.tree_leaves(fun(jtu.tree_unflatten(tree, leaves))), None

    return flat, [jnp.asarray(leaf) for leaf in leaves]


def scalar_pattern(fun: Callable, x: PyTree) -> Positions | None:
    """The positions of entries of the Jacobian of a program of few scalars, row by row;
    None of any other function."""
    fun, leaves = of_leaves(fun, x)
    closed = TracedFunction(fun, leaves).closed
    program = flatten(closed.jaxpr, known_constants(closed))
    if any(map(is_split, [*leaves, *captured_tracers(program)])):
        return None
    scalars = scalar_program(program, closed.in_avals, len(closed.out_avals))
    if scalars is None:
        return None
    pattern = dependences(scalars)
    rows, columns = np.nonzero(pattern)
    return Positions(rows, columns, *pattern.shape)


def sparse_matrix(
    fun: Callable,
    leaves: Sequence[Array],
    is_sparse: Callable[[int], bool],
    low_rank: bool = True,
) -> TracedFunction[Matrix | None] | None:
    """The Jacobian by its entries, traced; None if that takes too long."""

    def matrix(leaves):
        _, _, blocks = jacobian_blocks(
            *(fun, leaves, Automatic(), "array"),
            structured=True,
            with_value=False,
            low_rank=low_rank,
        )
        return assemble(blocks, is_sparse)

    with contextlib.suppress(DoesNotFit, BudgetExceeded), limited(DEFAULT_BUDGET):
        return TracedFunction(matrix, leaves)
    return None


def _sparse(
    fun: Callable, leaves: Sequence[Array], selection: Selection
) -> MatrixRecipe | None:
    size = size_of(leaves)
    if not selection.is_sparse(size, 0):
        return None
    criterion = ft.partial(selection.is_sparse, size)
    traced = sparse_matrix(fun, leaves, criterion, selection.low_rank)
    struct = None if traced is None else traced.struct
    if traced is None or struct is None:
        return None
    factorisation = selection.select(struct.positions, struct.rank)
    if factorisation is None:
        return None
    return MatrixRecipe(factorisation, lambda: traced(leaves))


def _dense_jacobian(fun: Callable, leaves: Sequence[Array]) -> Num[Array, ...]:
    outs, _, rows = jacobian_blocks(
        fun, leaves, Automatic(), "auto", structured=False, with_value=False
    )
    dtypes = [x.dtype for x in (*outs, *leaves)]
    if not dtypes:
        return jnp.zeros((0, 0))
    dtype = np.result_type(*dtypes)
    stripes = []
    for out, row in zip(outs, rows):
        blocks = [
            lax.reshape(block.materialise().astype(dtype), (out.size, leaf.size))
            for block, leaf in zip(row, leaves)
        ]
        stripes.append(_joined(blocks, 1, jnp.zeros((out.size, 0), dtype)))
    return _joined(stripes, 0, jnp.zeros((0, size_of(leaves)), dtype))


def _joined(arrays: Sequence[jax.Array], axis: int, empty: jax.Array) -> jax.Array:
    if len(arrays) == 1:
        return arrays[0]
    return jnp.concatenate(arrays, axis) if arrays else empty
