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

from .._blocks.partial import Partial
from .._jaxpr.avals import is_complex
from .._jaxpr.program import bind, Equation
from .._rules.fallback import inexact_results, stored
from .._sparsity.pattern import dense_pattern
from .body import Block


Pullback = Callable[[Mapping[int, Block], Any], dict[int, Block]]


def _primal(equation: Equation, active: Sequence[int], operands: Sequence[Any]):
    """An equation as a function of its active operands, and these."""
    results = inexact_results(equation.eqn)

    def primal(*primals):
        own = list(operands)
        for i, value in zip(active, primals):
            own[i] = value
        outs = bind(equation.eqn, own)
        return [outs[i] for i in results], outs

    return primal, [operands[i] for i in active]


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
    primal, primals = _primal(equation, active, operands)
    _, tangent_map, outs = jax.linearize(primal, *primals, has_aux=True)
    made = {}
    for j, aval in enumerate(inputs):
        columns = [_columns(blocks.get((k, j)), x, aval) for k, x in enumerate(primals)]
        for i, image in zip(results, jax.vmap(tangent_map)(*columns)):
            made[i, j] = _block(equation.result_avals[i], aval, image)
    return outs, made


def pull(
    equation: Equation, active: Sequence[int], operands: Sequence[Any]
) -> tuple[list[Any], Pullback]:
    """The results of an equation, and the map of blocks from its results to operands.

    The map takes the blocks of one output with respect to the results, by their
    positions, and the output's abstract value.
    """
    results = inexact_results(equation.eqn)
    primal, primals = _primal(equation, active, operands)
    main, transposed, outs = jax.vjp(primal, *primals, has_aux=True)

    def pullback(blocks: Mapping[int, Block], out: Any) -> dict[int, Block]:
        rows = [_rows(blocks.get(i), x, out) for i, x in zip(results, main)]
        made = {}
        for i, image in zip(active, jax.vmap(transposed)(rows)):
            aval = equation.operand_avals[i]
            values = stored(image, (*out.shape, *aval.shape))
            made[i] = Block(dense_pattern(out.shape, aval.shape), values, out.dtype)
        return made

    return outs, pullback


def transposes(
    equation: Equation, active: Sequence[int], operands: Sequence[Any]
) -> bool:
    """Whether JAX can differentiate an equation in reverse."""
    try:
        jax.eval_shape(lambda operands: pull(equation, active, operands)[0], operands)
    except Exception:  # whatever a primitive raises that has no transpose
        return False
    return True


def _rows(block: Block | None, result: Any, out: Any) -> jax.Array:
    """The cotangents of a result, one for each element of an output."""
    shape = (out.size, *result.shape)
    if block is None:
        return jnp.zeros(shape, result.dtype)
    dense = Partial(block.pattern, block.values, result.dtype).materialise()
    return dense.reshape(shape)


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
