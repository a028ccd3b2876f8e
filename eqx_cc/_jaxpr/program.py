"""A jaxpr as a flat list of equations: calls inlined, what does not matter dropped."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax.extend.core as jex
import numpy as np

from .avals import avals_of, is_inexact
from .primitives import facts
from .releases import ClosedJaxpr
from .shard_map import is_split, is_split_type, vary_alike
from .source_info import placed_at
from .stop_elimination import stop_elimination_p


# Calls that only group equations: their bodies are read in place.
GROUPING = frozenset({"call"})
# Besides, functions with a derivative of their own, read in place for values alone.
EVALUATING = GROUPING | {"custom_jvp", "custom_vjp"}


@dataclass(frozen=True, eq=False)
class Constant:
    """An operand that is known while tracing: a literal or a captured array."""

    value: Any
    aval: Any


# The number of a variable, or a constant.
Atom: TypeAlias = int | Constant


class Equation(NamedTuple):
    """An equation between atoms."""

    eqn: jex.JaxprEqn
    operands: tuple[Atom, ...]
    results: tuple[int, ...]

    @property
    def primitive(self) -> jex.Primitive:
        return self.eqn.primitive

    @property
    def params(self) -> dict[str, Any]:
        return self.eqn.params

    @property
    def operand_avals(self) -> list[Any]:
        return avals_of(self.eqn.invars)

    @property
    def result_avals(self) -> list[Any]:
        return avals_of(self.eqn.outvars)


@dataclass(frozen=True)
class Program:
    """A flat program; variables are numbered, the inputs first."""

    num_inputs: int
    equations: tuple[Equation, ...]
    outputs: tuple[Atom, ...]
    output_avals: tuple[Any, ...]


def flatten(
    jaxpr: jex.Jaxpr,
    constants: Sequence[Any] | None = None,
    inlined: frozenset[str] = GROUPING,
) -> Program:
    """The flat program of a jaxpr.

    `constants` are the values of its constant variables; without them these are inputs
    as well, after the others. Primitives of the kinds `inlined` are read in place.
    """
    inputs: list[Atom] = list(range(len(jaxpr.invars)))
    num_inputs = len(inputs)
    if constants is None:
        num_inputs += len(jaxpr.constvars)
        captured: list[Atom] = list(range(len(inputs), num_inputs))
    else:
        captured = _constants(jaxpr, constants)
    inliner = _Inliner(itertools.count(num_inputs), inlined, [])
    outputs = inliner.results(jaxpr, captured, inputs)
    equations = tuple(live_equations(inliner.equations, outputs))
    avals = tuple(avals_of(jaxpr.outvars))
    return Program(num_inputs, equations, tuple(outputs), avals)


def remainder(program: Program, start: int) -> tuple[Program, list[int]]:
    """The program from an equation on, and the variables that are its inputs."""
    rest = program.equations[start:]
    results = {result for equation in rest for result in equation.results}
    read = [*(o for equation in rest for o in equation.operands), *program.outputs]
    live = sorted({o for o in read if isinstance(o, int)} - results)
    number = {v: i for i, v in enumerate([*live, *sorted(results)])}

    def renumbered(operands):
        return tuple(o if isinstance(o, Constant) else number[o] for o in operands)

    equations = tuple(
        Equation(e.eqn, renumbered(e.operands), tuple(number[r] for r in e.results))
        for e in rest
    )
    outputs = renumbered(program.outputs)
    return Program(len(live), equations, outputs, program.output_avals), live


def _constants(jaxpr: jex.Jaxpr, values: Sequence[Any]) -> list[Atom]:
    return [Constant(value, v.aval) for value, v in zip(values, jaxpr.constvars)]


class _Inliner(NamedTuple):
    """Collects the equations of a jaxpr and of those that it calls."""

    counter: Iterator[int]
    inlined: frozenset[str]
    equations: list[Equation]

    def results(
        self, jaxpr: jex.Jaxpr, constants: Sequence[Any], operands: Sequence[Any]
    ) -> list[Atom]:
        """Appends the equations of a jaxpr; returns what stands for its outputs."""
        env: dict[jex.Var, Atom] = {}
        env.update(zip(jaxpr.constvars, constants))
        env.update(zip(jaxpr.invars, operands))

        def read(atom):
            if isinstance(atom, jex.Literal):
                return Constant(atom.val, atom.aval)
            return env[atom]

        for eqn in jaxpr.eqns:
            body = _called(eqn, self.inlined)
            arguments = [read(atom) for atom in eqn.invars]
            if body is None:
                results = [next(self.counter) for _ in eqn.outvars]
                self.equations.append(Equation(eqn, tuple(arguments), tuple(results)))
            else:
                inner, values = body
                results = self.results(inner, _constants(inner, values), arguments)
            env.update(zip(eqn.outvars, results))
        return [read(atom) for atom in jaxpr.outvars]


def _called(
    eqn: jex.JaxprEqn, inlined: frozenset[str]
) -> tuple[jex.Jaxpr, Sequence[Any]] | None:
    """The body of a call of one of the kinds `inlined`, and its constants."""
    if facts(eqn.primitive.name).kind not in inlined:
        return None
    for value in eqn.params.values():
        body = getattr(value, "body", value)
        if isinstance(body, ClosedJaxpr):
            return body.jaxpr, body.consts
        if isinstance(body, jex.Jaxpr):
            return body, ()
    return None


def live_equations(equations: Sequence[Equation], outputs) -> list[Equation]:
    """Equations that an output depends on, or that have an effect."""
    live = {out for out in outputs if isinstance(out, int)}
    kept = []
    for equation in reversed(equations):
        if equation.eqn.effects or not live.isdisjoint(equation.results):
            kept.append(equation)
            live.update(o for o in equation.operands if isinstance(o, int))
    return kept[::-1]


def has_collectives(program: Program) -> bool:
    """True if devices communicate, as in `jax.lax.psum`. Where types say what varies
    over devices, the tangent of a collective is no matter of one equation alone."""
    effects = (e for equation in program.equations for e in equation.eqn.effects)
    return any(type(effect).__name__ == "NamedAxisEffect" for effect in effects)


def has_split(program: Program, inputs: Sequence[Any]) -> bool:
    """True if an array in it is split over the axes of a mesh of type `Explicit`."""
    if any(map(is_split, inputs)):
        return True
    avals = [a for e in program.equations for a in e.operand_avals + e.result_avals]
    return any(map(is_split_type, [*avals, *program.output_avals]))


def bind(eqn: jex.JaxprEqn, operands: Sequence[Any]) -> list[Any]:
    """Evaluates one equation."""
    if eqn.primitive is stop_elimination_p:
        return list(operands)
    params = eqn.primitive.get_bind_params(eqn.params)
    with eqn.ctx.manager, placed_at(eqn):
        results = eqn.primitive.bind(*vary_alike(operands), **params)
    return list(results) if eqn.primitive.multiple_results else [results]


def inexact_results(eqn: jex.JaxprEqn) -> list[int]:
    """The positions of the results that can have a derivative."""
    return [i for i, aval in enumerate(avals_of(eqn.outvars)) if is_inexact(aval)]


def as_function(
    eqn: jex.JaxprEqn, positions: Sequence[int], operands: Sequence[Any]
) -> Callable[..., tuple[list[Any], list[Any]]]:
    """An equation as a function of the operands at some positions.

    It returns the inexact results, and all results. `operands` has the other operands.
    """
    inexact = inexact_results(eqn)

    def fun(*arrays):
        arguments = list(operands)
        for position, array in zip(positions, arrays):
            arguments[position] = array
        results = bind(eqn, arguments)
        return [results[i] for i in inexact], results

    return fun


def reader(env: Mapping[int, Any]) -> Callable[[Atom], Any]:
    """Looks operands up; None for a variable that has no value."""
    return lambda o: o.value if isinstance(o, Constant) else env.get(o)


def evaluate(program: Program, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a program."""
    env = dict(enumerate(inputs))
    read = reader(env)
    for equation in program.equations:
        results = bind(equation.eqn, [read(o) for o in equation.operands])
        env.update(zip(equation.results, results))
    return [read(o) for o in program.outputs]


def bodies(eqn: jex.JaxprEqn) -> list[jex.Jaxpr]:
    """The jaxprs that the parameters of an equation hold."""
    return inner_jaxprs(list(eqn.params.values()))


def inner_jaxprs(value: Any) -> list[jex.Jaxpr]:
    """The jaxprs that a parameter of an equation holds."""
    if isinstance(value, ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, jex.Jaxpr):
        return [value]
    if isinstance(value, tuple | list):
        return [body for item in value for body in inner_jaxprs(item)]
    return []


def plain_params(value: Any) -> Any:
    """Parameters with Python's integers in the place of NumPy's."""
    if isinstance(value, np.integer):
        return int(value)
    if type(value) in (tuple, list):
        return type(value)(map(plain_params, value))
    if type(value) is dict:
        return {key: plain_params(item) for key, item in value.items()}
    return value
