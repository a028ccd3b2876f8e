"""Products with arrays whose entries are all one known number.

`jax.grad` of a sum multiplies by ones, in arrays: as numbers they are coefficients,
which are known while tracing, and a factor of one leaves out the product.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np
from jax.core import ShapedArray

from ..avals import is_numeric
from ..program import Atom, Constant, Equation, live_equations, Program


# Primitives whose results have the entries of their operand, and no others.
_MOVES = frozenset(
    "broadcast_in_dim convert_element_type copy reshape rev slice squeeze "
    "transpose".split()
)
_DTYPES = np.dtype("float32"), np.dtype("float64")


def without_uniform_factors(program: Program) -> Program:
    """The program with numbers in place of uniform factors, and without factors that
    are one. It rounds as before, and has the same infinities and NaN."""
    folder = _Folder()
    equations = [folder.step(equation) for equation in program.equations]
    if not folder.changed:
        return program
    outputs = tuple(map(folder.read, program.outputs))
    kept = live_equations([e for e in equations if e is not None], outputs)
    return replace(program, equations=tuple(kept), outputs=outputs)


class _Folder:
    def __init__(self):
        self.changed = False
        self._numbers: dict[int, Any] = {}
        self._same: dict[int, Atom] = {}

    def read(self, atom: Atom) -> Atom:
        """What stands for an operand."""
        return self._same.get(atom, atom) if isinstance(atom, int) else atom

    def step(self, equation: Equation) -> Equation | None:
        """The equation of what stands for its operands; None if there is no need of
        it."""
        if self._same:
            operands = tuple(map(self.read, equation.operands))
            equation = equation._replace(operands=operands)
        name = equation.primitive.name
        if name not in _MOVES and name != "mul":
            return equation
        numbers = list(map(self._number, equation.operands, equation.operand_avals))
        if all(number is None for number in numbers):
            return equation
        if name == "mul":
            return self._product(equation, *numbers)
        dtype = equation.result_avals[0].dtype
        if len(numbers) == 1 and dtype in _DTYPES:
            with np.errstate(all="ignore"):
                self._numbers[equation.results[0]] = dtype.type(numbers[0])
        return equation

    def _number(self, operand: Atom, aval: Any) -> Any:
        """The one number of which an operand has copies, None if there is none. It is
        a literal of the program: captured arrays may be others in the next call."""
        if isinstance(operand, int):
            return self._numbers.get(operand)
        if isinstance(operand.value, jax.Array) or aval.shape != ():
            return None
        if not is_numeric(aval) or aval.dtype not in _DTYPES:
            return None
        return np.asarray(operand.value, aval.dtype)[()]

    def _product(self, equation: Equation, one: Any, other: Any) -> Equation | None:
        if one is not None and other is not None:
            with np.errstate(all="ignore"):
                self._numbers[equation.results[0]] = one * other
            return equation
        position, number = (0, one) if one is not None else (1, other)
        factor, result = equation.operands[1 - position], equation.results[0]
        before, after = equation.operand_avals[1 - position], equation.result_avals[0]
        if before.shape != after.shape:
            return equation
        if number == 1 and before == after:
            self._same[result] = factor
        elif isinstance(equation.operands[position], int):
            equation = _by_number(equation, position, number)
        else:
            return equation
        self.changed = True
        return None if result in self._same else equation


def _by_number(equation: Equation, position: int, number: Any) -> Equation:
    """The product with a number in place of one of its factors."""
    aval = ShapedArray((), number.dtype)
    atoms, operands = list(equation.eqn.invars), list(equation.operands)
    atoms[position] = jex.Literal(number, aval)
    operands[position] = Constant(number, aval)
    eqn = equation.eqn.replace(invars=atoms)
    return equation._replace(eqn=eqn, operands=tuple(operands))
