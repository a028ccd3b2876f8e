"""Pushing an accumulated Jacobian through an equation whose own block is larger.

An equation without structure (a loop over many states, a factorisation) may have far
more operands than the function has inputs. Then its dense block is never formed: its
linearisation is applied to the columns accumulated so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._body import Block
from ._partial import Partial
from ._pattern import dense_pattern
from ._program import bind, Equation
from ._rules.dense import inexact_results, is_complex, stored


def pays(equation: Equation, num_inputs: int, block_size: int) -> bool:
    """Whether columns for all inputs are fewer numbers than the equation's blocks."""
    results = [equation.result_avals[i] for i in inexact_results(equation.eqn)]
    return 2 * num_inputs * sum(aval.size for aval in results) < block_size


def push(
    equation: Equation,
    active: Sequence[int],
    operands: Sequence[Any],
    inputs: Sequence[Any],
    blocks: Mapping[tuple[int, int], Block],
) -> tuple[list[Any], dict[tuple[int, int], Block]]:
    """The results of an equation, and their blocks `(result, input)`.

    `blocks[k, j]` is the block of operand `active[k]` with respect to input `j`, whose
    abstract values are `inputs`.
    """
    results = inexact_results(equation.eqn)

    def primal(*primals):
        own = list(operands)
        for i, value in zip(active, primals):
            own[i] = value
        outs = bind(equation.eqn, own)
        return [outs[i] for i in results], outs

    primals = [operands[i] for i in active]
    _, tangent_map, outs = jax.linearize(primal, *primals, has_aux=True)
    made = {}
    for j, aval in enumerate(inputs):
        columns = [_columns(blocks.get((k, j)), x, aval) for k, x in enumerate(primals)]
        for i, image in zip(results, jax.vmap(tangent_map)(*columns)):
            made[i, j] = _block(equation.result_avals[i], aval, image)
    return outs, made


def _columns(block: Block | None, operand: Any, inp: Any) -> jax.Array:
    """The tangents of an operand, one for each element of an input."""
    shape = (inp.size, *np.shape(operand))
    dtype = jnp.asarray(operand).dtype
    if block is None:
        return jnp.zeros(shape, dtype)
    dense = Partial(block.pattern, block.values, dtype).materialise()
    return jnp.moveaxis(dense.reshape(*np.shape(operand), inp.size), -1, 0)


def _block(out: Any, inp: Any, image: jax.Array) -> Block:
    pattern = dense_pattern(out.shape, inp.shape, is_complex(out))
    values = stored(jnp.moveaxis(image, 0, -1), (*out.shape, *inp.shape))
    return Block(pattern, values, out.dtype)
