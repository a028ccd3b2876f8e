"""The Jacobian of a program of scalars, in one native call."""

from __future__ import annotations

import functools as ft
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .._blocks.arrays import as_numbers, filled_like, scaled
from .._blocks.block import NumericBlock
from .._jaxpr.program import Constant, evaluate
from .._linearise.interpreter import differentiate
from .._orders.orderings import AbstractOrdering
from .entries import entry
from .expand import ScalarProgram
from .native.call import Layout, native


def scalar_values(
    scalars: ScalarProgram, leaves: Sequence[Array], outputs: Sequence[Any]
) -> list[Array]:
    """The outputs alone of a program of scalars."""

    def values(*arrays):
        results = _Results()
        values = evaluate(scalars.program, all_entries(arrays))
        results.add_outputs(_with_constants(scalars, values), outputs)
        return results.scalars, results.layouts

    return native(values, leaves)


def scalar_jacobian(
    scalars: ScalarProgram,
    leaves: Sequence[Array],
    outputs: Sequence[Any],
    order: AbstractOrdering,
    with_value: bool,
) -> tuple[list[Array], list[list[Array]]]:
    """The outputs of a program of scalars, if they are wanted, and the dense blocks of
    its Jacobian.

    `outputs` are the abstract values of the arrays that the scalars make up.
    """

    def values_and_blocks(*arrays):
        inputs = all_entries(arrays)
        count, active = len(scalars.program.outputs), range(len(inputs))
        values, blocks, _ = differentiate(scalars.program, inputs, active, order, count)
        results = _Results()
        if with_value:
            results.add_outputs(_with_constants(scalars, values), outputs)
        results.add_blocks(blocks, outputs, [jnp.shape(x) for x in leaves])
        return results.scalars, results.layouts

    arrays = iter(native(values_and_blocks, leaves))
    values = [next(arrays) for _ in outputs] if with_value else []
    return values, [[next(arrays) for _ in leaves] for _ in outputs]


def _with_constants(scalars: ScalarProgram, values: Sequence[Any]) -> list[Any]:
    """The outputs, of which those that do not depend on the inputs stay numbers."""
    pairs = zip(scalars.program.outputs, values)
    return [o.value if isinstance(o, Constant) else value for o, value in pairs]


def all_entries(arrays: Sequence[Any]) -> list[Any]:
    """The entries of all arrays: the inputs of a program of scalars."""
    return [entry(a, i) for a in arrays for i in np.ndindex(a.shape)]


class _Results:
    """Arrays by their entries: the scalars that are computed, and the layouts."""

    def __init__(self) -> None:
        self.scalars: list[Any] = []
        self.layouts: list[Layout] = []

    def add_outputs(self, values: Sequence[Any], avals: Sequence[Any]) -> None:
        """Adds the outputs, whose entries are `values`."""
        ends = np.cumsum([0, *(aval.size for aval in avals)]).tolist()
        for aval, start, stop in zip(avals, ends, ends[1:]):
            self._add(aval.shape, aval.dtype, dict(enumerate(values[start:stop])))

    def add_blocks(
        self,
        blocks: Mapping[tuple[int, int], NumericBlock],
        avals: Sequence[Any],
        shapes,
    ) -> None:
        """Adds the blocks of the Jacobian, row by row; `blocks` are their entries."""
        all_entries: dict[tuple[int, int], dict[int, Any]] = defaultdict(dict)
        rows = _positions([aval.size for aval in avals])
        columns = _positions([math.prod(shape) for shape in shapes])
        for (row, column), block in blocks.items():
            (i, k), (j, m) = rows[row], columns[column]
            position = k * math.prod(shapes[j]) + m
            all_entries[i, j][position] = _number(block, avals[i].dtype)
        for i, aval in enumerate(avals):
            for j, shape in enumerate(shapes):
                self._add((*aval.shape, *shape), aval.dtype, all_entries[i, j])

    def _add(self, shape, dtype, all_entries: Mapping[int, Any]) -> None:
        base = np.zeros(math.prod(shape), dtype)
        sources = {}
        for position, value in all_entries.items():
            if isinstance(value, jax.Array):
                sources[position] = len(self.scalars)
                self.scalars.append(lax.convert_element_type(value, dtype))
            else:
                base[position] = value
        positions = tuple(sources), tuple(sources.values())
        layout = Layout(tuple(shape), base.dtype, base.tobytes(), *positions)
        self.layouts.append(layout)


def _positions(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """The array and the position in it, of each of the entries of all arrays."""
    return [(i, k) for i, size in enumerate(sizes) for k in range(size)]


def _number(block: NumericBlock, dtype: Any) -> Any:
    """The single entry of a block of scalars, an array unless it is constant."""
    constant, computed = 0, []
    for term, value in zip(block.pattern.terms, block.values):
        if value is None:
            constant = constant + term.scale
        else:
            computed.append(scaled(as_numbers(value, block.dtype), term.scale))
    if not computed:
        return constant
    total = ft.reduce(lax.add, [lax.convert_element_type(x, dtype) for x in computed])
    return total if constant == 0 else lax.add(total, filled_like(total, constant))
