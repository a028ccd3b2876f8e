"""Keys that identify a program: in any process, for what is measured of it, and in this
process, for what is compiled of it."""

from __future__ import annotations

import enum
import hashlib
import itertools as it
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .avals import avals_of, is_inexact, is_numeric, struct
from .primitives import facts
from .program import (
    as_function,
    Atom,
    Constant,
    inexact_results,
    inner_jaxprs,
    Program,
)
from .releases import ClosedJaxpr


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


#
# In this process
#


class Signature(NamedTuple):
    """The key of a program, and the arrays that it captures and that are no part of the
    key: those of floats. Programs of equal keys compute the same function of these and
    of the inputs."""

    key: Hashable
    captured: list[jax.Array]


class _NoKey(Exception):
    """A program has a part that cannot be compared, or whose effects would be lost."""


# The bytes of all constants that may be part of a key.
_MAX_EMBEDDED = 1 << 20
# Values of these types are the same if they are equal.
_EXACT = frozenset((bool, int, str, type(None), np.dtype))
# What the context of an equation may say about it; releases of JAX have added to it.
_CONTEXT = (
    "compute_type",
    "threefry_partitionable",
    "xla_metadata",
    "cur_abstract_mesh",
    "cur_layout_mode",
    "remove_size_one_mesh_axis",
    "no_collectives",
)


def signature(program: Program) -> Signature | None:
    """The signature of a program, which is exact: nothing is left out of the key. None
    for programs with effects or callbacks, or with parts that cannot be compared."""
    try:
        return _SignatureBuilder().signature(program)
    except _NoKey:
        return None


class _SignatureBuilder:
    """Writes the key, and collects the arrays that are no part of it."""

    def __init__(self) -> None:
        self._captured: dict[int, tuple[int, jax.Array]] = {}
        self._embedded = 0
        self._is_derivative = False

    def signature(self, program: Program) -> Signature:
        def operand(atom: Atom) -> Hashable:
            return self._constant(atom) if isinstance(atom, Constant) else atom

        equations = tuple(
            (self._equation(e.eqn), tuple(map(operand, e.operands)), e.results)
            for e in program.equations
        )
        key = equations, tuple(map(operand, program.outputs)), program.output_avals
        try:
            hash(key)
        except TypeError:
            raise _NoKey from None
        return Signature(key, [array for _, array in self._captured.values()])

    def _equation(self, eqn: jex.JaxprEqn) -> Hashable:
        """All of an equation but its variables."""
        if eqn.effects or "callback" in eqn.primitive.name:
            raise _NoKey
        if facts(eqn.primitive.name).kind in ("custom_jvp", "custom_vjp"):
            params = self._param(inner_jaxprs(_values(eqn))), self._derivative(eqn)
        else:
            params = self._param(eqn.params)
        context = tuple(self._param(getattr(eqn.ctx, n, None)) for n in _CONTEXT)
        avals = tuple(v.aval for v in eqn.outvars)
        return eqn.primitive, params, context, avals

    def _derivative(self, eqn: jex.JaxprEqn) -> Hashable:
        """The derivative of a function that has a rule of its own, in place of the
        rule, which is a function made anew at each trace."""
        if self._is_derivative:  # It is evaluated, and not differentiated again.
            return None
        if eqn.params.get("symbolic_zeros"):
            raise _NoKey  # There are several.
        structs = [struct(aval) for aval in avals_of([*eqn.invars, *eqn.outvars])]
        try:
            closed = jax.make_jaxpr(_derivative(eqn))(*structs)
        except Exception:  # Of a rule: where it is used, the user will have it.
            raise _NoKey from None
        self._is_derivative = True
        key = self._param(closed)
        self._is_derivative = False
        return key

    def _constant(self, constant: Constant) -> Hashable:
        value = constant.value
        if isinstance(value, Tracer):
            raise _NoKey
        if isinstance(value, jax.Array) and not _is_discrete(value):
            number, _ = self._captured.setdefault(
                id(value), (len(self._captured), value)
            )
            return "captured", number, constant.aval
        return constant.aval, self._contents(value)

    def _contents(self, value: Any) -> Hashable:
        """The type and the entries of a constant: 0.0 is another one than -0.0."""
        self._embedded += getattr(value, "nbytes", 0)
        if self._embedded > _MAX_EMBEDDED or isinstance(value, Tracer):
            raise _NoKey
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise _NoKey
        contents = array.tobytes()
        if len(contents) > _MAX_BYTES:
            contents = hashlib.sha256(contents).digest()
        return type(value), array.dtype, array.shape, contents

    def _param(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in _EXACT:  # True is another parameter than 1.
            return kind, value
        if isinstance(value, float | complex | np.ndarray | np.generic):
            return self._contents(value)
        if isinstance(value, tuple | list):
            return type(value), *map(self._param, value)
        if isinstance(value, dict):
            items = sorted(value.items(), key=lambda item: str(item[0]))
            return dict, *((self._param(k), self._param(v)) for k, v in items)
        if isinstance(value, ClosedJaxpr):
            consts = tuple(map(self._param, value.consts))
            return ClosedJaxpr, consts, self._jaxpr(value.jaxpr)
        if isinstance(value, jex.Jaxpr):
            return self._jaxpr(value)
        if isinstance(value, jax.Array):
            raise _NoKey
        return value

    def _jaxpr(self, jaxpr: jex.Jaxpr) -> Hashable:
        """A body, with its variables numbered."""
        inputs, count = [*jaxpr.constvars, *jaxpr.invars], it.count()
        numbers = dict(zip(inputs, count))

        def atom(x):
            if isinstance(x, jex.Literal):  # It cannot be replaced in a body.
                return x.aval, self._contents(x.val)
            return numbers[x]

        equations = []
        for eqn in jaxpr.eqns:
            operands = tuple(map(atom, eqn.invars))
            numbers.update(zip(eqn.outvars, count))
            equations.append((self._equation(eqn), operands))
        avals = tuple(v.aval for v in inputs)
        return avals, tuple(equations), tuple(map(atom, jaxpr.outvars))


def _values(eqn: jex.JaxprEqn) -> list[Any]:
    """The parameters of an equation, in the order of their names."""
    return [value for _, value in sorted(eqn.params.items())]


def _derivative(eqn: jex.JaxprEqn) -> Callable:
    """The derivative of an equation in the direction that it has a rule for: of its
    operands, which are tangents too, or also of cotangents."""
    count = len(eqn.invars)
    positions = [i for i, x in enumerate(avals_of(eqn.invars)) if is_inexact(x)]
    is_forward = facts(eqn.primitive.name).kind == "custom_jvp"

    def derivative(*arrays):
        operands = arrays[:count]
        fun = as_function(eqn, positions, operands)
        active = tuple(operands[i] for i in positions)
        if is_forward:
            return jax.jvp(lambda *x: fun(*x)[0], active, active)
        outputs, pullback = jax.vjp(lambda *x: fun(*x)[0], *active)
        cotangents = [arrays[count + i] for i in inexact_results(eqn)]
        return outputs, pullback(cotangents)

    return derivative


def _is_discrete(array: jax.Array) -> bool:
    """True for integers and Booleans: indices and masks, which make structure."""
    return not jnp.issubdtype(array.dtype, jnp.inexact) and is_numeric(array)
