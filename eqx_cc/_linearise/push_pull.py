"""Passing an accumulated Jacobian through an equation whose own block is larger.

An equation without structure (a loop over many states, a factorisation) may have far
more operands than the function has inputs. Then its dense block is never formed: its
linearisation is applied to the columns accumulated so far (`push`). Or it has far more
results than the function has outputs: then its transpose is applied to the rows
accumulated after it (`pull`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._blocks.block import NumericBlock
from .._blocks.partial import Partial
from .._blocks.unit_vectors import column_values, row_values
from .._jaxpr.avals import is_complex
from .._jaxpr.program import as_function, Equation, inexact_results
from .._jaxpr.releases import UNSUPPORTED_BY_JAX
from .._sparsity.pattern import dense_pattern


Pullback = Callable[[Mapping[int, NumericBlock], Any], dict[int, NumericBlock]]


def push(
    equation: Equation,
    active: Sequence[int],
    operands: Sequence[Any],
    inputs: Sequence[Any],
    blocks: Mapping[tuple[int, int], NumericBlock],
) -> tuple[list[Any], dict[tuple[int, int], NumericBlock]]:
    """The results of an equation, and their blocks `(result, input)`.

    `blocks[k, j]` is the block of operand `active[k]` with respect to input `j`, whose
    abstract values are `inputs`.
    """
    primals = [operands[i] for i in active]
    fun = as_function(equation.eqn, active, operands)
    _, tangent_map, results = jax.linearize(fun, *primals, has_aux=True)
    pushed = {}
    for j, aval in enumerate(inputs):
        columns = [_columns(blocks.get((k, j)), x, aval) for k, x in enumerate(primals)]
        images = jax.vmap(tangent_map)(*columns)
        for i, image in zip(inexact_results(equation.eqn), images):
            out = equation.result_avals[i]
            pattern = dense_pattern(out.shape, aval.shape, is_complex(out))
            values = column_values(image, aval.shape)
            pushed[i, j] = NumericBlock(pattern, values, out.dtype)
    return results, pushed


def pull(
    equation: Equation, active: Sequence[int], operands: Sequence[Any]
) -> tuple[list[Any], Pullback]:
    """The results of an equation, and the map of blocks from its results to operands.

    The map takes the blocks of one output with respect to the results, by their
    positions, and the output's abstract value.
    """
    primals = [operands[i] for i in active]
    fun = as_function(equation.eqn, active, operands)
    inexact, transposed, results = jax.vjp(fun, *primals, has_aux=True)
    positions = inexact_results(equation.eqn)

    def pullback(blocks: Mapping[int, NumericBlock], out: Any):
        rows = [_rows(blocks.get(i), x, out) for i, x in zip(positions, inexact)]
        pulled = {}
        for i, image in zip(active, jax.vmap(transposed)(rows)):
            pattern = dense_pattern(out.shape, equation.operand_avals[i].shape)
            values = row_values(image, out.shape)
            pulled[i] = NumericBlock(pattern, values, out.dtype)
        return pulled

    return results, pullback


def transposes(
    equation: Equation, active: Sequence[int], operands: Sequence[Any]
) -> bool:
    """True if JAX can differentiate an equation in reverse."""
    primals = [operands[i] for i in active]
    fun = as_function(equation.eqn, active, operands)
    try:
        jax.eval_shape(lambda primals: jax.vjp(fun, *primals, has_aux=True)[2], primals)
    except UNSUPPORTED_BY_JAX:
        return False
    return True


def _rows(block: NumericBlock | None, result: Any, out: Any) -> jax.Array:
    """The cotangents of a result, one for each element of an output."""
    shape = (out.size, *result.shape)
    if block is None:
        return jnp.zeros(shape, result.dtype)
    return _dense(block, result.dtype).reshape(shape)


def _columns(block: NumericBlock | None, operand: Any, inp: Any) -> jax.Array:
    """The tangents of an operand, one for each element of an input."""
    shape, dtype = np.shape(operand), jnp.asarray(operand).dtype
    if block is None:
        return jnp.zeros((inp.size, *shape), dtype)
    return jnp.moveaxis(_dense(block, dtype).reshape(*shape, inp.size), -1, 0)


def _dense(block: NumericBlock, dtype: np.dtype) -> jax.Array:
    return Partial(block.pattern, block.values, dtype).materialise()
