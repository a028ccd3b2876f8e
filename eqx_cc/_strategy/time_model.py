"""How long array operations may take: a crude model of each equation of a jaxpr.

The numbers are in nanoseconds of one core of a CPU. Only their ratios matter, and these
only roughly: they tell whether one way to a Jacobian takes several times as long as
another, not which of two is a little faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.extend.core as jex

from .._jaxpr.avals import is_inexact
from .._jaxpr.primitives import facts
from .._jaxpr.program import bodies, Program


_MULTIPLY = 0.12  # A multiplication and an addition of a matrix product.
_CONVOLVE = 0.5  # The same of a convolution.
_FACTORISE = 0.3  # The same of a factorisation.
_MOVE = 0.5  # Reading or writing a number.
_FUSE = 0.15  # A number of an operation that is fused with its neighbours.
_FETCH = 2.0  # A number that is read from wherever it is.
_SCATTER = 12.0  # A number that is added wherever it belongs.
_START = 100.0  # To start a large operation; a quarter of it for one that is fused.
_CALL = 500.0  # To call the library that factorises one matrix.
_TRIPS = 10  # Of a loop that does not say.


def jaxpr_work(jaxpr: jex.Jaxpr) -> float:
    """How long the equations of a jaxpr may take."""
    return sum((_work(eqn) for eqn in jaxpr.eqns), 0.0)


def program_work(program: Program) -> float:
    """How long the equations of a program may take."""
    return sum((_work(equation.eqn) for equation in program.equations), 0.0)


def sweep_work(program: Program, directions: int, reverse: bool) -> float:
    """How long the tangents of a program may take, or in reverse its cotangents, for so
    many directions at once."""
    active, work = set(range(program.num_inputs)), 0.0
    for equation in program.equations:
        which = [i for i, o in enumerate(equation.operands) if o in active]
        if which and any(map(is_inexact, equation.result_avals)):
            active.update(equation.results)
            work += _work(equation.eqn, directions, which, reverse)
    return work


def _work(
    eqn: jex.JaxprEqn,
    copies: int = 1,
    active: Sequence[int] | None = None,
    reverse: bool = False,
) -> float:
    """How long an equation may take; if only some operands are `active`, then how long
    its partials with respect to these, applied to so many copies."""
    time = facts(eqn.primitive.name).time
    inner = [own for value in eqn.params.values() for own in bodies(value)]
    if inner and time not in ("factorise", "reduce", "scatter", "window"):
        which = None if active is None else (0,)
        each = sum(_work(e, copies, which, reverse) for own in inner for e in own.eqns)
        return _START + _trips(eqn) * each
    read, made = _size(eqn.invars), copies * _size(eqn.outvars)
    match time:
        case "product":
            return _START + _dot(eqn, copies, active)
        case "convolve":
            kernel = math.prod(_shape(eqn.invars[1])[1:])  # In whatever layout: roughly
            return _START + _CONVOLVE * made * kernel
        case "free":
            return _FUSE * made / 2
        case "factorise":
            rows = max(_shape(eqn.invars[0])[-1:], default=1)
            calls = max(math.prod(_shape(v)[:-2]) for v in eqn.outvars)
            return _CALL * calls + _FACTORISE * (read + made) * rows
        case "window":
            window = math.prod(eqn.params.get("window_dimensions", ()))
            return _START + _FETCH * made * window
        case "scatter":
            return _START + _SCATTER * copies * _size(eqn.invars[-1:]) + _MOVE * made
        case "fetch":
            return _START + _fetched(eqn, copies, reverse)
        case "transform":
            return _START + _MOVE * made * math.log2(1 + made)
        case "scan" if active is not None:  # Tangents are found by a tree of products.
            each = (12 if reverse else 8) * _MOVE
            return _START + each * made * math.log2(1 + made / copies)
        case "scan" | "reduce":
            return _START + _MOVE * copies * read
    if reverse and eqn.primitive.name in ("slice", "split"):
        return _START + _fetched(eqn, copies, reverse)
    return _FUSE * made + _START / 4


def _fetched(eqn: jex.JaxprEqn, copies: int, reverse: bool) -> float:
    """Moving numbers. What slices have not read is zero, in reverse."""
    name = eqn.primitive.name
    if reverse and name in ("dynamic_slice", "slice", "split"):
        return _MOVE * copies * _size(eqn.invars)
    is_scattered = reverse and name in ("gather", "sort")
    return (_SCATTER if is_scattered else _FETCH) * copies * _size(eqn.outvars)


def _dot(eqn: jex.JaxprEqn, copies: int, active: Sequence[int] | None) -> float:
    """A matrix product, or its partials with respect to one operand or both."""
    (contracted, _), _ = eqn.params["dimension_numbers"]
    inner = math.prod(_shape(eqn.invars[0])[i] for i in contracted)
    sizes = [_size([variable]) for variable in eqn.invars]
    made, work = copies * _size(eqn.outvars), 0.0
    for which in (0,) if active is None else active:
        read = copies * sizes[which] + sizes[1 - which]
        work += _MULTIPLY * made * inner + _MOVE * (read + made)
    return work


def _trips(eqn: jex.JaxprEqn) -> int:
    if eqn.primitive.name == "scan":
        return eqn.params["length"]
    return _TRIPS if eqn.primitive.name == "while" else 1


def _size(variables: Sequence[Any]) -> int:
    return sum(math.prod(_shape(v)) for v in variables)


def _shape(variable: Any) -> tuple[int, ...]:
    return getattr(variable.aval, "shape", ())
