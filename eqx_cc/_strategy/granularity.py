"""The choice of vertices: the arrays of the user's function, or scalars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args, Literal, TypeAlias

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._jaxpr.avals import is_complex
from .._jaxpr.program import Equation, has_split, Program
from .._jaxpr.shard_map import varies
from .._orders.orderings import AbstractOrdering, Given
from .._scalarise.depends import dependences
from .._scalarise.expand import MAX_EQUATIONS, NotScalar, scalarise, ScalarProgram


Granularity: TypeAlias = Literal["auto", "scalar", "array"]

# Limits of the default. A Jacobian of more entries mostly takes the time to write them.
# More equations take seconds to compile. Functions in which one equation of arrays is
# expanded into many of scalars are fast as they are, above all in batches (`python -m
# benchmarks.runtime --group networks grids`). An entry of a linear system may take more
# scalars: with them, systems of eight rows were three times as fast.
#
# Of functions of a few equations, such as `x / norm(x)` and `sin(x) * exp(-x)`, scalars
# were faster up to about 12 elements. At 24 they took up to twice as long in a loop,
# and 30 times as long to compile.
_MAX_ENTRIES = 4096
_MAX_EQUATIONS = 1200
_MAX_EXPANSION, _FEW_EQUATIONS = 6, 40
_MAX_SOLVED = 16
# XLA's time to compile a native call grows with the square of the number of entries
# that it stores: 576 took 3 seconds, and 2,000 took 14.
_FEW_STORED, _STORED_PER_EQUATION = 100, 4

# XLA writes these out: each copy takes 5 to 50 milliseconds to compile, as some of
# complex numbers do. An equation of arrays may be expanded into so many of them.
_LONG = frozenset(
    """bessel_i0e bessel_i1e digamma erf_inv erfc igamma igamma_grad_a igammac lgamma
    polygamma regularized_incomplete_beta zeta""".split()
)
_LONG_IF_COMPLEX = frozenset(
    """acos acosh asin asinh atan atanh cos cosh div exp exp2 expm1 integer_pow log
    log1p log2 logistic pow rsqrt sign sin sinh sqrt square tan tanh abs""".split()
)
_MAX_LONG = 3


def as_granularity(granularity: str) -> Granularity:
    """Checks the user's `granularity`."""
    if granularity not in get_args(Granularity):
        listed = ", ".join(map(repr, get_args(Granularity)))
        raise ValueError(f"`granularity` must be one of {listed}; got {granularity!r}.")
    return granularity  # pyright: ignore


def scalarised(
    program: Program,
    leaves: Sequence[Array],
    num_outputs: int,
    order: AbstractOrdering,
    granularity: Granularity,
) -> ScalarProgram | None:
    """The scalarised program, or None to keep arrays as vertices."""
    if granularity == "array":
        return None
    avals = [jax.typeof(leaf) for leaf in leaves]
    if granularity == "auto":
        return _by_default(program, leaves, avals, num_outputs, order)
    try:
        return scalarise(program, avals, num_outputs)
    except NotScalar as e:
        raise ValueError(
            f"The function cannot be expanded into scalars: {e}. Use "
            '`granularity="auto"` or `"array"`.'
        ) from None


def _by_default(
    program: Program,
    leaves: Sequence[Array],
    avals: Sequence[Any],
    num_outputs: int,
    order: AbstractOrdering,
) -> ScalarProgram | None:
    if isinstance(order, Given) or not is_compiled():
        return None  # The numbers are those of the arrays, as in `explain`.
    if any(map(varies, leaves)) or has_split(program, leaves):
        return None  # A split array has neither native calls nor single entries.
    entries = _entries(program, leaves, num_outputs)
    if entries > _MAX_ENTRIES:
        return None
    limit = max(_FEW_EQUATIONS, sum(map(_max_scalars, program.equations)))
    # As many equations of arrays take as long to compile.
    limit = min(limit, max(_MAX_EQUATIONS, min(len(program.equations), MAX_EQUATIONS)))
    scalars = scalar_program(program, avals, num_outputs, limit)
    if scalars and _num_long(scalars.program) > _MAX_LONG * _num_long(program):
        return None
    most_stored = _FEW_STORED + _STORED_PER_EQUATION * len(program.equations)
    if scalars is None or entries <= most_stored:
        return scalars
    return scalars if np.count_nonzero(dependences(scalars)) <= most_stored else None


def _max_scalars(equation: Equation) -> int:
    """The most scalars into which an equation may be expanded."""
    if equation.primitive.name == "custom_linear_solve":
        return _MAX_SOLVED * equation.result_avals[0].size ** 2
    return _MAX_EXPANSION


def _num_long(program: Program) -> int:
    """The number of equations that take long to compile."""
    return sum(map(_is_long, program.equations))


def _is_long(equation: Equation) -> bool:
    name = equation.primitive.name
    avals = [*equation.operand_avals, *equation.result_avals]
    return name in _LONG or (name in _LONG_IF_COMPLEX and any(map(is_complex, avals)))


def scalar_program(
    program: Program,
    avals: Sequence[Any],
    num_outputs: int,
    max_equations: int = _MAX_EQUATIONS,
) -> ScalarProgram | None:
    """The scalarised program, or None if it is too long or has arrays left in it."""
    try:
        scalars = scalarise(program, avals, num_outputs, max_equations)
    except NotScalar:
        return None
    return scalars if scalars.is_pure else None


def is_compiled() -> bool:
    """True inside of `jax.jit`. Operations that run one by one are better few than
    small."""
    try:
        return jex.unsafe_am_i_under_a_jit_DO_NOT_USE()  # pyright: ignore
    except AttributeError:  # Its name says that it may go.
        return True


def _entries(program: Program, leaves: Sequence[Array], num_outputs: int) -> int:
    rows = sum(aval.size for aval in program.output_avals[:num_outputs])
    return rows * sum(jnp.size(leaf) for leaf in leaves)
