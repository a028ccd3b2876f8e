r"""Small linear systems in scalars.

Where $A x = b$, $x$ is also $x + A^{-1} (b - A x)$. With $A^{-1}$ and the $x$ on the
right held constant, the derivative of that is $A^{-1} (db - dA\, x)$, which is the
derivative of the solution, by way of $n$ scalars; and the value is refined by one step.

For example, of $a x = b$ with one row, $d(x + (b - a x) / a) = (db - da\, x) / a$.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.extend.core as jex
import numpy as np
from jax import lax

from .._jaxpr.avals import aval_of
from .._jaxpr.program import Atom, bodies, Equation
from .._jaxpr.releases import ClosedJaxpr
from .._jaxpr.stop_elimination import stop_elimination
from .entries import (
    as_entries,
    Atoms,
    constants,
    entry,
    is_concrete,
    is_number,
    scalar_aval,
)
from .native.inverse import inverse, MAX_NATIVE_ROWS
from .rules import binary, inner_product


# The primitives that compute an inverse.
INVERTING = "concatenate", "held", "native_call", "reshape"
# The primitives of substitution with triangular factors.
_SUBSTITUTION = frozenset(
    "add broadcast_in_dim concatenate copy gather iota lt mul neg reshape select_n "
    "slice sort squeeze sub transpose triangular_solve".split()
)


@runtime_checkable
class AbstractExpansion(Protocol):
    """Adds equations to a program of scalars."""

    is_strict: bool

    def scalar(self, eqn: jex.JaxprEqn, operands: Sequence[Atom]) -> Atom: ...

    def inlined(self, closed: ClosedJaxpr, arrays: Sequence[Atoms]) -> list[Atoms]: ...

    def traced(
        self, fun: Callable, operands: list[Atom], avals: list[Any]
    ) -> list[Atom]: ...


def is_small_system(eqn: jex.JaxprEqn) -> bool:
    """True if an equation solves a small linear system by substitution with $LU$."""
    if eqn.primitive.name != "custom_linear_solve" or len(eqn.outvars) != 1:
        return False
    aval = aval_of(eqn.outvars[0])
    if not 0 < aval.size <= MAX_NATIVE_ROWS or aval.dtype.kind != "f":
        return False
    return _is_substitution(eqn.params["jaxprs"].solve.jaxpr)


def without_factors(equation: Equation) -> Equation:
    """The equation of a small linear system without the factors of the matrix."""
    if not is_small_system(equation.eqn):
        return equation
    matrix = equation.operands[: equation.params["const_lengths"].matvec]
    return equation._replace(operands=(*matrix, equation.operands[-1]))


def solved(
    expansion: AbstractExpansion, eqn: jex.JaxprEqn, arrays: list[Atoms]
) -> list[Atoms]:
    """The entries of the solution of a small linear system."""
    *captured, rhs = arrays

    def product(x: Atoms) -> Atoms:
        return expansion.inlined(eqn.params["jaxprs"].matvec, [*captured, x])[0]

    matrix = _matrix(expansion, product, aval_of(eqn.outvars[0]))
    return [_solution(expansion, eqn, matrix, rhs.ravel()).reshape(rhs.shape)]


def _is_substitution(jaxpr: jex.Jaxpr) -> bool:
    """True for factors of $LU$, of which one has a unit diagonal. Those of Cholesky are
    of one triangle of the matrix; the other one, which products read, is arbitrary."""
    eqns = list(_equations(jaxpr))
    has_unit = any(eqn.params.get("unit_diagonal", False) for eqn in eqns)
    return has_unit and _SUBSTITUTION.issuperset(eqn.primitive.name for eqn in eqns)


def _equations(jaxpr: jex.Jaxpr) -> Iterator[jex.JaxprEqn]:
    """The equations of a jaxpr, and of what it calls."""
    for eqn in jaxpr.eqns:
        inner = bodies(eqn)
        for body in inner:
            yield from _equations(body)
        if not inner:
            yield eqn


def _matrix(
    expansion: AbstractExpansion, product: Callable[[Atoms], Atoms], aval
) -> Atoms:
    """The matrix of a linear function, column by column."""
    strict, columns = expansion.is_strict, []
    for unit in np.eye(aval.size):
        columns.append(product(constants(unit.reshape(aval.shape), aval)).ravel())
    expansion.is_strict = strict  # What was left out are zeros of unit vectors.
    return np.stack(columns, 1)


def _solution(
    expansion: AbstractExpansion, eqn: jex.JaxprEqn, matrix: Atoms, rhs: Atoms
) -> Atoms:
    """The solution, refined twice: derivatives go through the last step alone."""
    avals = [scalar_aval(aval_of(eqn.outvars[0]))]
    sub, add = binary(lax.sub, eqn), binary(lax.add, eqn)

    def traced(fun: Callable, entries: Atoms) -> Atoms:
        results = expansion.traced(fun, list(entries.flat), avals)
        return as_entries(results, entries.shape)

    def product(matrix: Atoms, x: Atoms) -> Atoms:
        rows = [inner_product(expansion.scalar, eqn, row, x) for row in matrix]
        return as_entries(rows, x.shape)

    def each(template: jex.JaxprEqn, x: Atoms, y: Atoms) -> Atoms:
        entries = [expansion.scalar(template, pair) for pair in zip(x, y)]
        return as_entries(entries, x.shape)

    def refined(solution: Atoms) -> Atoms:
        residual = each(sub, rhs, product(matrix, solution))
        return each(add, solution, product(inverse, residual))

    inverse = _inverse(traced, matrix, aval_of(eqn.outvars[0]))
    solution = refined(product(inverse, rhs))
    return refined(
        traced(lambda *scalars: [stop_elimination(x) for x in scalars], solution)
    )


def _inverse(traced: Callable, matrix: Atoms, aval: Any) -> Atoms:
    """The inverse of a matrix: that of each block, where blocks are independent, and
    once of those that are equal.

    For $A X = B$ with $k$ columns the matrix has $k$ equal blocks $A$.
    """
    result = constants(np.zeros(matrix.shape), aval)
    inverses: dict[tuple[Atom, ...], Atoms] = {}
    for rows, columns in _blocks(matrix):
        block = matrix[np.ix_(rows, columns)]
        key = tuple(block.flat)
        if key not in inverses:
            inverses[key] = traced(_inverse_entries, block)
        result[np.ix_(columns, rows)] = inverses[key]
    return result


def _blocks(matrix: Atoms) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows and columns of the square blocks outside of which all entries are zero:
    all of them if there are no such blocks."""
    from scipy.sparse import csgraph

    size = len(matrix)
    zeros = [is_concrete(x) and is_number(x, 0) for x in matrix.flat]
    is_entry = ~np.array(zeros).reshape(size, size)
    no_entry = np.zeros_like(is_entry)
    pairs = np.block([[no_entry, is_entry], [no_entry, no_entry]])
    count, labels = csgraph.connected_components(pairs, directed=False)
    rows, columns = labels[:size], labels[size:]
    blocks = [
        (np.flatnonzero(rows == k), np.flatnonzero(columns == k)) for k in range(count)
    ]
    if any(len(r) != len(c) for r, c in blocks):  # It is singular.
        return [(np.arange(size), np.arange(size))]
    return blocks


def _inverse_entries(*scalars: jax.Array) -> list[jax.Array]:
    """The entries of the inverse of the matrix that has these, held."""
    size = round(len(scalars) ** 0.5)
    entries = lax.concatenate([lax.reshape(x, (1,)) for x in scalars], 0)
    result = inverse(lax.reshape(stop_elimination(entries), (size, size)))
    return [entry(result, index) for index in np.ndindex(result.shape)]
