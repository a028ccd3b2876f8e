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

from .._blocks.arrays import as_numbers, scaled
from .._jaxpr.program import Constant, evaluate
from .._linearise.body import Block
from .._linearise.interpreter import differentiate
from .._orders.orderings import AbstractOrdering
from .entries import entry
from .expand import ScalarProgram
from .native.call import Layout, native


def scalar_values(
    made: ScalarProgram, leaves: Sequence[Array], outputs: Sequence[Any]
) -> list[Array]:
    """The outputs alone of a program of scalars."""

    def scalars(*arrays):
        found = _Entries()
        found.outputs(_known(made, evaluate(made.program, entries(arrays))), outputs)
        return found.scalars, found.layouts

    return native(scalars, leaves)


def scalar_jacobian(
    made: ScalarProgram,
    leaves: Sequence[Array],
    outputs: Sequence[Any],
    order: AbstractOrdering,
    with_value: bool,
) -> tuple[list[Array], list[list[Array]]]:
    """The outputs of a program of scalars, if they are wanted, and the dense blocks of
    its Jacobian.

    `outputs` are the abstract values of the arrays that the scalars make up.
    """

    def scalars(*arrays):
        inputs = entries(arrays)
        count, active = len(made.program.outputs), range(len(inputs))
        values, blocks, _ = differentiate(made.program, inputs, active, order, count)
        found = _Entries()
        if with_value:
            found.outputs(_known(made, values), outputs)
        found.blocks(blocks, outputs, [jnp.shape(x) for x in leaves])
        return found.scalars, found.layouts

    arrays = iter(native(scalars, leaves))
    values = [next(arrays) for _ in outputs] if with_value else []
    return values, [[next(arrays) for _ in leaves] for _ in outputs]


def _known(made: ScalarProgram, values: Sequence[Any]) -> list[Any]:
    """The outputs, of which those that do not depend on the inputs stay numbers."""
    own = made.program.outputs
    return [o.value if isinstance(o, Constant) else v for o, v in zip(own, values)]


def entries(arrays: Sequence[Any]) -> list[Any]:
    """Every entry of every array: the inputs of a program of scalars."""
    return [entry(a, i) for a in arrays for i in np.ndindex(a.shape)]


class _Entries:
    """Arrays by their entries: those that are computed, and where they are put."""

    def __init__(self) -> None:
        self.scalars: list[Any] = []
        self.layouts: list[Layout] = []

    def outputs(self, values: Sequence[Any], avals: Sequence[Any]) -> None:
        """Adds the outputs, whose entries are `values`."""
        ends = np.cumsum([0, *(aval.size for aval in avals)])
        for aval, start, stop in zip(avals, ends, ends[1:]):
            own = dict(enumerate(values[start:stop]))
            self._add(aval.shape, np.dtype(aval.dtype), own)

    def blocks(
        self, blocks: Mapping[tuple[int, int], Block], avals: Sequence[Any], shapes
    ) -> None:
        """Adds the blocks of the Jacobian, row by row; `blocks` are their entries."""
        entries: dict[tuple[int, int], dict[int, Any]] = defaultdict(dict)
        rows = _positions([aval.size for aval in avals])
        columns = _positions([math.prod(shape) for shape in shapes])
        for (row, column), block in blocks.items():
            (i, k), (j, m) = rows[row], columns[column]
            width, dtype = math.prod(shapes[j]), np.dtype(avals[i].dtype)
            entries[i, j][k * width + m] = _number(block, dtype)
        for i, aval in enumerate(avals):
            for j, shape in enumerate(shapes):
                shape = (*aval.shape, *shape)
                self._add(shape, np.dtype(aval.dtype), entries[i, j])

    def _add(self, shape, dtype: np.dtype, entries: Mapping[int, Any]) -> None:
        base = np.zeros(math.prod(shape), dtype)
        computed = {}
        for position, value in entries.items():
            if isinstance(value, jax.Array):
                computed[position] = len(self.scalars)
                self.scalars.append(lax.convert_element_type(value, dtype))
            else:
                base[position] = value
        layout = Layout(
            tuple(shape),
            dtype,
            base.tobytes(),
            tuple(computed),
            tuple(computed.values()),
        )
        self.layouts.append(layout)


def _positions(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """The array and the position in it, of each of the entries of all arrays."""
    return [(i, k) for i, size in enumerate(sizes) for k in range(size)]


def _number(block: Block, dtype: np.dtype) -> Any:
    """The one number that a block of scalars is; an array unless it is known."""
    known, computed = 0, []
    for term, value in zip(block.pattern.terms, block.values):
        if value is None:
            known = known + term.scale
        else:
            computed.append(scaled(as_numbers(value, block.dtype), term.scale))
    if not computed:
        return known
    total = ft.reduce(lax.add, [lax.convert_element_type(x, dtype) for x in computed])
    return total if known == 0 else lax.add(total, lax.full_like(total, known))
