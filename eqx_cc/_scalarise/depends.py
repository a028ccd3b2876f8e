"""Dependence of the outputs of a program of scalars on its inputs."""

from __future__ import annotations

import functools as ft
import operator

import numpy as np

from .expand import ScalarProgram


def dependences(scalars: ScalarProgram) -> np.ndarray:
    """A boolean matrix, outputs by inputs; a derivative may be zero where it is true.

    Of `(x * y, x)` it is `[[True, True], [True, False]]`.
    """
    program = scalars.program
    bits = {i: 1 << i for i in range(program.num_inputs)}

    def dependence(operand) -> int:
        return bits.get(operand, 0) if isinstance(operand, int) else 0

    for equation in program.equations:
        union = ft.reduce(operator.or_, map(dependence, equation.operands), 0)
        bits.update(dict.fromkeys(equation.results, union))
    rows = [
        [dependence(output) >> i & 1 for i in range(program.num_inputs)]
        for output in program.outputs
    ]
    return np.array(rows, bool).reshape(len(rows), program.num_inputs)
