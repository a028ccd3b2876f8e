"""Which outputs of a program of scalars depend on which inputs."""

from __future__ import annotations

import functools as ft
import operator

import numpy as np

from .expand import ScalarProgram


def dependences(made: ScalarProgram) -> np.ndarray:
    """A truth value for every output and input; a derivative may be zero besides."""
    program = made.program
    found = {i: 1 << i for i in range(program.num_inputs)}

    def of(operand) -> int:
        return found.get(operand, 0) if isinstance(operand, int) else 0

    for equation in program.equations:
        every = ft.reduce(operator.or_, map(of, equation.operands), 0)
        found.update(dict.fromkeys(equation.results, every))
    rows = [
        [of(o) >> i & 1 for i in range(program.num_inputs)] for o in program.outputs
    ]
    return np.array(rows, bool).reshape(len(rows), program.num_inputs)
