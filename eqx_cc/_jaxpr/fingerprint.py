"""Keys that identify a program in any process, for what is measured of it."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from .avals import is_numeric
from .program import Atom, Constant, inner_jaxprs, Program


_PLAIN = bool, int, float, complex, str, bytes, type(None), np.dtype, enum.Enum
_MAX_BYTES = 4096  # Of a larger constant only the type counts.


def program_fingerprint(program: Program) -> str:
    """A hexadecimal digest of the operations of a program, the shapes and types of all
    variables, and the values of small constants.

    Functions in the parameters of an equation are left out, for example: programs of
    one fingerprint may differ, though hardly in how long they take.
    """
    digest = hashlib.sha256()
    for part in _parts(program):
        digest.update(repr(part).encode())
    return digest.hexdigest()


def _parts(program: Program) -> Iterator[Any]:
    for equation in program.equations:
        yield equation.primitive.name
        yield [_operand(o) for o in equation.operands], equation.results
        yield [_aval(aval) for aval in equation.operand_avals + equation.result_avals]
        yield from _parameters(equation.params)
    yield [_operand(o) for o in program.outputs], list(map(_aval, program.output_avals))


def _parameters(params: dict[str, Any]) -> Iterator[Any]:
    for name, value in sorted(params.items()):
        yield name, _plain(value)
        for body in inner_jaxprs(value):
            for eqn in body.eqns:
                yield eqn.primitive.name
                yield [_aval(v.aval) for v in (*eqn.invars, *eqn.outvars)]
                yield from _parameters(eqn.params)


def _plain(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return type(value).__name__


def _operand(operand: Atom) -> Any:
    if not isinstance(operand, Constant):
        return operand
    value = operand.value
    if isinstance(value, Tracer) or not _is_small(operand.aval):
        return _aval(operand.aval)
    return _aval(operand.aval), np.asarray(value).tobytes()


def _is_small(aval: Any) -> bool:
    return is_numeric(aval) and aval.size * aval.dtype.itemsize <= _MAX_BYTES


def _aval(aval: Any) -> Any:
    shape, dtype = getattr(aval, "shape", None), getattr(aval, "dtype", None)
    return shape, str(dtype)


def device_fingerprint() -> str:
    """The backend, the device and the release of JAX, which decide how long a program
    takes."""
    kind = jax.local_devices()[0].device_kind
    return f"{jax.default_backend()} {kind} jax {jax.__version__}"
