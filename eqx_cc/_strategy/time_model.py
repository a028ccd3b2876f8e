"""A crude model of the time that the equations of a jaxpr take.

The unit is nanoseconds on one core of a CPU. The ratios matter, and these only roughly:
they tell that one method takes several times as long as another, and cannot tell which
of two is a little faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import Any

import jax.extend.core as jex

from .._jaxpr.primitives import facts
from .._jaxpr.program import bodies, Program
from .._linearise.activity import active_operands, active_results, inside


_MULTIPLY = 0.12  # A multiplication and an addition of a matrix product.
_CONVOLVE = 0.5  # The same of a convolution.
_FACTORISE = 0.3  # The same of a factorisation.
_MOVE = 0.5  # Reading or writing a number.
_FUSE = 0.15  # A number of an operation that is fused with its neighbours.
_FETCH = 2.0  # A number that is read at an index.
_SCATTER = 12.0  # A number that is added at an index.
_START = 100.0  # Starting a large operation; a quarter of it for a fused one.
_CALL = 500.0  # Calling the library that factorises one matrix.
_KEEP = 50.0  # Writing and reading what an equation in a loop keeps for reverse mode.
_TRIPS = 10  # Iterations of a loop of unknown length.


def jaxpr_work(jaxpr: jex.Jaxpr, *, is_native: bool = False) -> float:
    """The time of the equations of a jaxpr. In a native call none has to be started."""
    starts = sum(map(_start, jaxpr.eqns)) if is_native else 0.0
    return sum(map(_work, jaxpr.eqns), -starts)


def _start(eqn: jex.JaxprEqn) -> float:
    """The least time of an equation of arrays that have no entries."""
    time = facts(eqn.primitive.name).time
    return {"free": 0.0, "fuse": _START / 4}.get(time, _START)


def largest_array(jaxpr: jex.Jaxpr) -> int:
    """The bytes of the largest array that a jaxpr computes."""
    largest = 0
    for eqn in jaxpr.eqns:
        sizes = [
            _size([v]) * getattr(getattr(v.aval, "dtype", None), "itemsize", 0)
            for v in eqn.outvars
        ]
        largest = max(largest, *sizes, *map(largest_array, bodies(eqn)), 0)
    return largest


def program_work(program: Program) -> float:
    """The time of the equations of a program."""
    return sum((_work(equation.eqn) for equation in program.equations), 0.0)


def sweep_work(program: Program, directions: int, *, reverse: bool) -> float:
    """The time of the tangents of a program, or in reverse of its cotangents, for so
    many directions at once."""
    active, work = set(range(program.num_inputs)), 0.0
    for equation in program.equations:
        positions = {i for i, o in enumerate(equation.operands) if o in active}
        results = active_results(equation.eqn, positions)
        if results:
            active.update(equation.results[i] for i in results)
            work += _work(equation.eqn, directions, positions, reverse=reverse)
    return work


def _work(
    eqn: jex.JaxprEqn,
    copies: int = 1,
    active: Set[int] | None = None,
    *,
    reverse: bool = False,
) -> float:
    """The time of an equation. With the positions of `active` operands, the time of its
    partials with respect to these, applied to so many copies."""
    time = facts(eqn.primitive.name).time
    if not bodies(eqn) or time in ("factorise", "reduce", "scatter", "window"):
        return _primitive_work(eqn, copies, active, reverse=reverse)
    if active is None:
        iteration = sum(map(jaxpr_work, bodies(eqn)))
    else:
        parts = [(each.body, each.active(active)) for each in inside(eqn)]
        iteration = sum(_tangent_work(*part, copies, reverse=reverse) for part in parts)
        if reverse and facts(eqn.primitive.name).kind == "loop":
            iteration += _KEEP * sum(len(body.eqns) for body, _ in parts)
    return _START + _trips(eqn) * iteration


def _tangent_work(
    body: jex.Jaxpr, active: Set[jex.Var], copies: int, *, reverse: bool
) -> float:
    """The time of the partials of a body, for its active variables."""
    work = 0.0
    for eqn in body.eqns:
        if any(v in active for v in eqn.outvars):
            positions = active_operands(eqn, active)
            work += _work(eqn, copies, positions, reverse=reverse)
    return work


def _primitive_work(
    eqn: jex.JaxprEqn, copies: int, active: Set[int] | None, *, reverse: bool
) -> float:
    read, written = _size(eqn.invars), copies * _size(eqn.outvars)
    match facts(eqn.primitive.name).time:
        case "product":
            return _START + _dot(eqn, copies, active)
        case "sparse":
            return _START + copies * _sparse_product(eqn)
        case "convolve":
            kernel = math.prod(_shape(eqn.invars[1])[1:])  # Roughly, for any layout.
            return _START + _CONVOLVE * written * kernel
        case "free":
            return _FUSE * written / 2
        case "factorise":
            rows = max(_shape(eqn.invars[0])[-1:], default=1)
            calls = max(math.prod(_shape(v)[:-2]) for v in eqn.outvars)
            return _CALL * calls + _FACTORISE * (read + written) * rows
        case "window":
            window = math.prod(eqn.params.get("window_dimensions", ()))
            return _START + _FETCH * written * window
        case "scatter":
            return _START + _SCATTER * copies * _size(eqn.invars[-1:]) + _MOVE * written
        case "fetch":
            return _START + _fetched(eqn, copies, reverse=reverse)
        case "transform":
            return _START + _MOVE * written * math.log2(1 + written)
        case "scan" if active is not None:  # Tangents take a tree of products.
            per_level = (12 if reverse else 8) * _MOVE * written
            return _START + per_level * math.log2(1 + written / copies)
        case "scan" | "reduce":
            return _START + _MOVE * copies * read
    if reverse and eqn.primitive.name in ("slice", "split"):
        return _START + _fetched(eqn, copies, reverse=reverse)
    return _FUSE * written + _START / 4


def _fetched(eqn: jex.JaxprEqn, copies: int, *, reverse: bool) -> float:
    """The time of moving numbers. In reverse, a slice writes zeros as well."""
    name = eqn.primitive.name
    if reverse and name in ("dynamic_slice", "slice", "split"):
        return _MOVE * copies * _size(eqn.invars)
    is_scattered = reverse and name in ("gather", "sort")
    return (_SCATTER if is_scattered else _FETCH) * copies * _size(eqn.outvars)


def _dot(eqn: jex.JaxprEqn, copies: int, active: Set[int] | None) -> float:
    """The time of a matrix product, or of its partials with respect to the operands."""
    (contracted, _), _ = eqn.params["dimension_numbers"]
    inner = math.prod(_shape(eqn.invars[0])[i] for i in contracted)
    sizes = [_size([variable]) for variable in eqn.invars]
    written, work = copies * _size(eqn.outvars), 0.0
    for position in (0,) if active is None else active:
        read = copies * sizes[position] + sizes[1 - position]
        work += _MULTIPLY * written * inner + _MOVE * (read + written)
    return work


def _sparse_product(eqn: jex.JaxprEqn) -> float:
    """The time of the product of a sparse and a dense array: each stored entry reads
    and adds as many numbers as the dense array has along the axes that remain."""
    stored, dense = eqn.invars[0], eqn.invars[-1]
    (_, contracted), _ = eqn.params["dimension_numbers"]
    inner = max(1, math.prod(_shape(dense)[i] for i in contracted))
    return (_FETCH + _SCATTER) * _size([stored]) * _size([dense]) / inner


def _trips(eqn: jex.JaxprEqn) -> int:
    if eqn.primitive.name == "scan":
        return eqn.params["length"]
    return _TRIPS if eqn.primitive.name == "while" else 1


def _size(variables: Sequence[Any]) -> int:
    return sum(math.prod(_shape(v)) for v in variables)


def _shape(variable: Any) -> tuple[int, ...]:
    return getattr(variable.aval, "shape", ())
