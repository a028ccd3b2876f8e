"""Integer arrays known while tracing, and where arrays of numbers are known to be zero.

Static indices reach a gather through equations of integers, and the non-zeros of a
sparse matrix reach a product.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.core import Tracer

from ..avals import is_inexact, is_numeric
from ..outside_trace import computed_while_tracing
from ..primitives import facts
from ..program import Atom, Constant, Equation, Program
from .evaluate import evaluated


# Integer arrays of at most this many elements are computed while tracing.
_MAX_INDICES = 1 << 22
# Primitives whose result has the non-zeros of the operand, in other places.
_MOVES = frozenset(
    "broadcast_in_dim convert_element_type neg reshape rev slice squeeze "
    "transpose".split()
)


def static_results(
    equation: Equation, indices: Mapping[int, np.ndarray]
) -> list[np.ndarray] | None:
    """The values of small integer results that can be computed while tracing, and the
    non-zeros of constants that are only moved. `indices` are those of variables."""
    avals = [*equation.operand_avals, *equation.result_avals]
    if equation.primitive.name in _MOVES and all(map(is_inexact, avals)):
        return _moved(equation, indices)
    if not facts(equation.primitive.name).makes_indices:
        return None
    if not all(map(_is_index, equation.result_avals)):
        return None
    pairs = zip(equation.operands, equation.operand_avals)
    operands = [_known_operand(operand, aval, indices) for operand, aval in pairs]
    if any(operand is None for operand in operands):
        return None
    return evaluated(equation.eqn, operands)


def _known_operand(operand: Atom, aval, indices: Mapping[int, np.ndarray]) -> Any:
    """The value of an operand of what makes indices. Numbers are captured arrays, as in
    `speed > 0`; those of variables are not known, only where they are zero."""
    if not is_inexact(aval):
        return static_value(operand, indices)
    if not isinstance(operand, Constant) or isinstance(operand.value, Tracer):
        return None
    return operand.value if aval.size <= _MAX_INDICES else None


def _moved(
    equation: Equation, indices: Mapping[int, np.ndarray]
) -> list[np.ndarray] | None:
    """The non-zeros of what an equation moves, if those of its operand are known."""
    is_nonzero = known_structure(equation.operands[0], indices)
    if is_nonzero is None or equation.primitive.name in ("convert_element_type", "neg"):
        return None if is_nonzero is None else [is_nonzero]
    return evaluated(equation.eqn, [is_nonzero])


def static_variables(
    program: Program, indices: Mapping[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """The variables that are small integer arrays known while tracing."""
    known = dict(indices)
    for equation in program.equations:
        values = static_results(equation, known)
        known.update(zip(equation.results, values or ()))
    return known


def static_operands(
    equation: Equation, indices: Mapping[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """The operands that are small integer arrays known while tracing, and the masks of
    the non-zeros of sparse constants, where there is a use for these."""
    has_use = equation.primitive.name == "dot_general"
    has_use |= facts(equation.primitive.name).kind == "loop"
    read = known_structure if has_use else static_value
    values = (read(operand, indices) for operand in equation.operands)
    return {i: value for i, value in enumerate(values) if value is not None}


def static_value(operand: Atom, indices: Mapping[int, np.ndarray]) -> np.ndarray | None:
    """The value of an operand, if it is a small integer array known while tracing."""
    if isinstance(operand, int):
        return indices.get(operand)
    if isinstance(operand.value, Tracer) or not _is_index(operand.aval):
        return None
    return np.asarray(operand.value)


def known_structure(
    operand: Atom, indices: Mapping[int, np.ndarray]
) -> np.ndarray | None:
    """As `static_value`; of an array of numbers, most of which are zero, the mask of
    the others."""
    if not isinstance(operand, Constant) or not is_inexact(operand.aval):
        return static_value(operand, indices)
    is_small = operand.aval.ndim >= 2 and operand.aval.size <= _MAX_INDICES
    if isinstance(operand.value, Tracer) or not is_small:
        return None
    with computed_while_tracing():
        is_nonzero = np.asarray(operand.value) != 0
    return is_nonzero if 2 * np.count_nonzero(is_nonzero) <= is_nonzero.size else None


def _is_index(aval) -> bool:
    is_integer = is_numeric(aval) and aval.dtype.kind in "iub"
    return is_integer and aval.size <= _MAX_INDICES
