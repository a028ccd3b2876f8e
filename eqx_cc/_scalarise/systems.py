r"""Small linear systems in scalars.

Where $A x = b$, $x$ is also $x + A^{-1} (b - A x)$. If $A^{-1}$ and the $x$ on the
right are held, elimination finds $A^{-1} (db - dA\, x)$, which is the derivative, by
way of $n$ scalars; and the value is refined by one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._jaxpr.avals import aval_of
from .._jaxpr.program import bodies, Equation
from .._jaxpr.releases import ClosedJaxpr
from .._jaxpr.stop_elimination import held
from .entries import constants, Entries, Entry, entry, scalar_aval
from .native.inverse import inverse
from .rules import binary, inner_product


# The most rows: more are faster by LAPACK.
_ROWS = 12
# What an inverse is made by.
INVERTING = "held", "native_call", "reshape", "stack"
# What substitution with triangular factors consists of.
_SUBSTITUTION = frozenset(
    "add broadcast_in_dim concatenate copy gather iota lt mul neg reshape select_n "
    "slice sort squeeze sub transpose triangular_solve".split()
)


@runtime_checkable
class Expansion(Protocol):
    """What adds equations to a program of scalars."""

    is_strict: bool

    def scalar(self, eqn: jex.JaxprEqn, operands: Sequence[Entry]) -> Entry: ...

    def inlined(
        self, closed: ClosedJaxpr, arrays: Sequence[Entries]
    ) -> list[Entries]: ...

    def traced(
        self, fun: Callable, operands: list[Entry], avals: list[Any]
    ) -> list[Entry]: ...


def is_small_system(eqn: jex.JaxprEqn) -> bool:
    """Whether an equation solves a small linear system by substitution with $LU$."""
    if eqn.primitive.name != "custom_linear_solve" or len(eqn.outvars) != 1:
        return False
    aval = aval_of(eqn.outvars[0])
    if not 0 < aval.size <= _ROWS or aval.dtype.kind != "f":
        return False
    return _is_substitution(eqn.params["jaxprs"].solve.jaxpr)


def without_factors(equation: Equation) -> Equation:
    """A linear system by its matrix and its right-hand side alone."""
    if not is_small_system(equation.eqn):
        return equation
    matrix = equation.operands[: equation.params["const_lengths"].matvec]
    return equation._replace(operands=(*matrix, equation.operands[-1]))


def solved(
    expansion: Expansion, eqn: jex.JaxprEqn, arrays: list[Entries]
) -> list[Entries]:
    """The entries of the solution of a small linear system."""
    *constants, known = arrays
    [result] = eqn.outvars

    def product(x: Entries) -> Entries:
        return expansion.inlined(eqn.params["jaxprs"].matvec, [*constants, x])[0]

    system = _System(expansion, eqn, _matrix(expansion, product, result.aval))
    return [system.solution(known.ravel()).reshape(known.shape)]


def _is_substitution(jaxpr: jex.Jaxpr) -> bool:
    """Not with the factors of Cholesky: they are of one triangle of the matrix, and
    what is in the other one, which products have in them, is arbitrary."""
    eqns = list(_equations(jaxpr))
    has_unit = any(eqn.params.get("unit_diagonal", False) for eqn in eqns)
    return has_unit and _SUBSTITUTION.issuperset(eqn.primitive.name for eqn in eqns)


def _equations(jaxpr: jex.Jaxpr) -> Iterator[jex.JaxprEqn]:
    """The equations of a jaxpr, and of what it calls."""
    for eqn in jaxpr.eqns:
        inner = [body for value in eqn.params.values() for body in bodies(value)]
        for body in inner:
            yield from _equations(body)
        if not inner:
            yield eqn


def _matrix(
    expansion: Expansion, product: Callable[[Entries], Entries], aval
) -> Entries:
    """The matrix of a linear function, column by column."""
    strict, columns = expansion.is_strict, []
    for unit in np.eye(aval.size):
        columns.append(product(constants(unit.reshape(aval.shape), aval)).ravel())
    expansion.is_strict = strict  # What was left out are zeros of unit vectors.
    return np.stack(columns, 1)


class _System:
    """A matrix and its inverse, of scalars."""

    def __init__(self, expansion: Expansion, eqn: jex.JaxprEqn, matrix: Entries):
        self._emit, self._eqn, self._matrix = expansion.scalar, eqn, matrix
        self._expansion = expansion
        self._sub, self._add = binary(lax.sub, eqn), binary(lax.add, eqn)
        self._inverse = self._held(_inverse_entries, matrix)

    def _held(self, fun: Callable, entries: Entries) -> Entries:
        avals = [scalar_aval(self._eqn.outvars[0].aval)]
        found = np.empty(entries.size, object)
        found[:] = self._expansion.traced(fun, list(entries.flat), avals)
        return found.reshape(entries.shape)

    def solution(self, known: Entries) -> Entries:
        """Refined twice: nothing is accumulated through the first of them."""
        found = self._times(self._inverse, known)
        found = self._held(_held_entries, self._refined(found, known))
        return self._refined(found, known)

    def _refined(self, found: Entries, known: Entries) -> Entries:
        residual = self._each(self._sub, known, self._times(self._matrix, found))
        return self._each(self._add, found, self._times(self._inverse, residual))

    def _times(self, matrix: Entries, vector: Entries) -> Entries:
        product = [inner_product(self._emit, self._eqn, row, vector) for row in matrix]
        return _vector(product)

    def _each(self, eqn: jex.JaxprEqn, x: Entries, y: Entries) -> Entries:
        return _vector([self._emit(eqn, pair) for pair in zip(x, y)])


def _vector(entries) -> Entries:
    found = np.empty(len(entries), object)
    found[:] = entries
    return found


def _held_entries(*scalars: jax.Array) -> list[jax.Array]:
    return [held(x) for x in scalars]


def _inverse_entries(*scalars: jax.Array) -> list[jax.Array]:
    """The entries of the inverse of the matrix that has these, held."""
    size = round(len(scalars) ** 0.5)
    found = inverse(held(jnp.stack(scalars)).reshape(size, size))
    return [entry(found, index) for index in np.ndindex(found.shape)]
