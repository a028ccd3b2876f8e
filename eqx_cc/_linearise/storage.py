"""The memory that the blocks of a Jacobian take, and its limits, when tracing."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from .._blocks.arrays import check_fits, DoesNotFit, memory
from .._graph.elimination import Plan
from .._graph.graph import ComputationalGraph
from .._jaxpr.program import Constant, Equation, Program
from .._jaxpr.source_info import place
from .._sparsity.pattern import Pattern


# A structured Jacobian may store this many times the bytes of the arrays that the
# function reads and writes; small ones may store `_MIN_LIMIT` bytes.
_MAX_RATIO, _MIN_LIMIT = 64, 2**30
_VARIABLE = "EQX_CC_STRUCTURED_LIMIT"

_ADVICE = (
    "Where the structure of an equation is not known its block is dense; "
    "`eqx_cc.register_rule` can state it. Products with vectors, as `jax.jvp` and "
    "`jax.vjp` take them, may fit."
)


def structured_limit(
    program: Program, leaves: Sequence[Any], least: int = _MIN_LIMIT
) -> int | float:
    """The bytes that the blocks of a structured Jacobian may take at any time: `least`
    of them, or more if the program has large arrays."""
    text = os.environ.get(_VARIABLE)
    if text is None:
        return min(memory(), max(least, _MAX_RATIO * _num_bytes(program, leaves)))
    if not text.isdecimal():
        raise ValueError(f"`{_VARIABLE}` must be a number of bytes, but got {text!r}.")
    return int(text)


def _num_bytes(program: Program, leaves: Sequence[Any]) -> int:
    """The bytes of the arrays that a program reads and writes."""
    operands = [o for equation in program.equations for o in equation.operands]
    constants = {id(o.value): o.aval for o in operands if isinstance(o, Constant)}
    avals = [*map(jax.typeof, leaves), *constants.values(), *program.output_avals]
    return sum(
        math.prod(getattr(aval, "shape", ())) * getattr(aval.dtype, "itemsize", 0)
        for aval in avals
        if hasattr(aval, "dtype")
    )


def check_partials(equation: Equation, pairs) -> None:
    """Refuses an equation of which a partial is larger than all memory."""
    for _, result, pattern in pairs:
        name, at = equation.primitive.name, place(equation.eqn)
        check_fits(
            pattern.num_values,
            np.dtype(equation.result_avals[result].dtype),
            f"The Jacobian of {_named(name, at)}, {_described(pattern)},",
            _ADVICE,
        )


@dataclass
class Storage:
    """The bytes of the partials of a program so far, which have a limit; and the
    largest of those that are somewhere in the user's code."""

    limit: int | float = math.inf
    total: int = 0
    largest: tuple[int, str] = (-1, "")

    def add(self, equation: Equation, pairs) -> None:
        """Counts the partials of an equation before they are computed."""
        if self.limit == math.inf:
            return
        name, at = equation.primitive.name, place(equation.eqn)
        for _, result, pattern in pairs:
            size = _stored(pattern, np.dtype(equation.result_avals[result].dtype))
            self.total += size
            if at and size > self.largest[0]:
                self.largest = size, f"{_named(name, at)}, {_described(pattern)}"
        if self.total > self.limit:
            self.refuse(self.total, "the partials of all equations")

    def check(
        self, plan: Plan, graph: ComputationalGraph, dtypes: Sequence[np.dtype]
    ) -> None:
        """Refuses a plan whose blocks take more at some step."""
        if self.limit == math.inf:
            return
        sizes = {(u, w): _stored(p, dtypes[w]) for (u, w), p in graph.edges.items()}
        total = sum(sizes.values())
        for step in plan.steps:
            for u, w, recipe in step.updates:
                size = _stored(recipe.pattern, dtypes[w])
                total += size - sizes.get((u, w), 0)
                sizes[u, w] = size
            if total > self.limit:
                name = _named(graph.labels[step.vertex], graph.places[step.vertex])
                self.refuse(total, f"all blocks when {name} is eliminated")
            if not step.keeps:
                for ends in [ends for ends in sizes if step.vertex in ends]:
                    total -= sizes.pop(ends)

    def refuse(self, size: int, what: str) -> None:
        """Raises the error, which names an equation where one is known."""
        largest = (
            self.largest[1] and f"The largest partial is that of {self.largest[1]}. "
        )
        raise DoesNotFit(
            f"With `structured=True`, {what} would take {size / 2**30:.2f} GiB, but "
            f"the limit is {self.limit / 2**30:.2f} GiB. {largest}{_ADVICE} The "
            f"environment variable `{_VARIABLE}` sets another limit, in bytes."
        )


def _named(name: str, at: str) -> str:
    return f"`{name}`{at and f' at {at}'}"


def _described(pattern: Pattern) -> str:
    return f"from shape {pattern.in_shape} to shape {pattern.out_shape}, {pattern.name}"


def _stored(pattern: Pattern, dtype: np.dtype) -> int:
    """The bytes of the values of a pattern; masks are booleans."""
    return sum(
        term.num_values * (1 if term.is_mask else dtype.itemsize)
        for term in pattern.terms
    )
