"""Integer arrays known while tracing, and where arrays of numbers are known to be zero.

Static indices reach a gather through equations of integers, and the non-zeros of a
sparse matrix reach a product. Whole numbers of floating-point type, as those of
`jnp.arange(1.0, n) * 3 % n`, are known as well: they may become indices. In the maps
from variables to what is known of them, those of floating-point type have their values
where these are whole numbers, and else a mask of the non-zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.core import Tracer

from ..avals import is_inexact, is_numeric
from ..outside_trace import computed_while_tracing
from ..primitives import facts
from ..program import Atom, Equation, Program
from .evaluate import evaluated


# Integer arrays of at most this many elements are computed while tracing.
_MAX_INDICES = 1 << 22
# Whole numbers up to this one are exact in single precision; arrays of at most this
# many of them are computed while tracing.
_MAX_WHOLE, _MAX_NUMBERS = 1 << 23, 1 << 16
# Primitives whose results are exact where operands and results are whole numbers.
_EXACT = frozenset(
    "add broadcast_in_dim concatenate convert_element_type copy iota max min mul neg "
    "rem reshape rev select_n slice squeeze sub transpose".split()
)
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
    if any(map(is_inexact, equation.result_avals)):
        whole = _whole_results(equation, indices)
        if whole is not None:
            return whole
    if equation.primitive.name in _MOVES and all(map(is_inexact, avals)):
        return _moved(equation, indices)
    if not facts(equation.primitive.name).makes_indices:
        return None
    if not all(map(is_index, equation.result_avals)):
        return None
    operands = _known_operands(equation, indices)
    return None if operands is None else evaluated(equation.eqn, operands)


def _whole_results(
    equation: Equation, indices: Mapping[int, np.ndarray]
) -> list[np.ndarray] | None:
    """The values of results that are whole numbers of floating-point type, computed
    from such numbers: they are exact, in whatever way XLA computes them."""
    avals = [*equation.operand_avals, *equation.result_avals]
    is_small = all(is_numeric(aval) and aval.size <= _MAX_NUMBERS for aval in avals)
    if equation.primitive.name not in _EXACT or not is_small:
        return None
    operands = _known_operands(equation, indices)
    if operands is None or not all(map(_is_whole, operands)):
        return None
    results = evaluated(equation.eqn, operands)
    return results if all(map(_is_whole, results)) else None


def _is_whole(array: Any) -> bool:
    """True if all numbers are integers that all computations represent exactly."""
    array = np.asarray(array)
    if array.dtype.kind in "iub":
        return array.dtype.kind == "b" or bool((abs(array) <= _MAX_WHOLE).all())
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        return False
    return bool(((array == np.rint(array)) & (abs(array) <= _MAX_WHOLE)).all())


def _known_operands(
    equation: Equation, indices: Mapping[int, np.ndarray]
) -> list[Any] | None:
    """The values of the operands of what makes indices, if all of them are known."""
    operands = []
    for operand, aval in zip(equation.operands, equation.operand_avals):
        operands.append(_known_operand(operand, aval, indices))
        if operands[-1] is None:
            return None
    return operands


def _known_operand(operand: Atom, aval, indices: Mapping[int, np.ndarray]) -> Any:
    """The value of an operand of what makes indices. Numbers are captured arrays, as in
    `speed > 0`, or whole numbers; of others it is known only where they are zero."""
    if not is_inexact(aval):
        return static_value(operand, indices)
    if isinstance(operand, int):
        value = indices.get(operand)
        return value if value is not None and value.dtype.kind == "f" else None
    if isinstance(operand.value, Tracer):
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
    """The value of an operand, if it is a small integer array known while tracing; the
    mask of the non-zeros of an array of numbers, if that is known."""
    if isinstance(operand, int):
        value = indices.get(operand)
        return None if value is None or value.dtype.kind == "f" else value
    if isinstance(operand.value, Tracer) or not is_index(operand.aval):
        return None
    return np.asarray(operand.value)


def known_structure(
    operand: Atom, indices: Mapping[int, np.ndarray]
) -> np.ndarray | None:
    """As `static_value`; of an array of numbers, most of which are zero, the mask of
    the others."""
    if isinstance(operand, int):
        value = indices.get(operand)
        return _sparse(value) if _is_matrix(value) else static_value(operand, indices)
    if not is_inexact(operand.aval):
        return static_value(operand, indices)
    is_small = operand.aval.ndim >= 2 and operand.aval.size <= _MAX_INDICES
    if isinstance(operand.value, Tracer) or not is_small:
        return None
    with computed_while_tracing():
        return _sparse(np.asarray(operand.value))


def _is_matrix(value: np.ndarray | None) -> bool:
    return value is not None and value.dtype.kind == "f" and value.ndim >= 2


def _sparse(array) -> np.ndarray | None:
    """The mask of the entries that are not zero, if these are half of it at most."""
    is_nonzero = array != 0
    return is_nonzero if 2 * np.count_nonzero(is_nonzero) <= is_nonzero.size else None


def is_index(aval) -> bool:
    """True of integers and Booleans that are few enough to be known."""
    is_integer = is_numeric(aval) and aval.dtype.kind in "iub"
    return is_integer and aval.size <= _MAX_INDICES
