"""Expansion of a program of arrays into one of scalars.

Each array is an array of entries, variables of scalars or constants. Moving entries
about is no equation, and arithmetic with constants 0 and 1 is folded away: in

    z = stack([x, 0.0]) * stack([y, y])

the entries of `z` are one equation `x * y` and the constant 0.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._jaxpr.avals import aval_of, avals_of, is_numeric
from .._jaxpr.known.evaluate import evaluated
from .._jaxpr.primitives import facts, is_elementwise
from .._jaxpr.program import (
    Atom,
    bodies,
    Constant,
    Equation,
    flatten,
    live_equations,
    Program,
)
from .._jaxpr.releases import ClosedJaxpr
from .entries import (
    as_entries,
    Atoms,
    constant,
    constant_array,
    constants,
    entry,
    is_concrete,
    is_number,
    scalar_aval,
)
from .fold import drops, folded
from .native.layout import concatenated
from .rules import RULES
from .systems import INVERTING, is_small_system, solved, without_factors


# Beyond this many equations, compiling them takes a minute.
MAX_EQUATIONS = 4000
_TOO_MANY = "it has more than {} scalar equations"
# So many times as many are written, as some turn out to have no use.
_DEAD = 1.5


class NotScalar(Exception):
    """A program cannot be expanded, for the reason that the message says."""


@dataclass(frozen=True)
class ScalarProgram:
    """A program of scalars.

    `program` has the entries of all inputs for inputs and those of the first outputs
    for outputs. `is_strict`: no equation was left out that may yield infinity or NaN,
    so that its outputs are those of the program of arrays even where these are not
    finite. `is_pure`: nothing is computed with arrays but inverses of small matrices.
    """

    program: Program
    is_strict: bool
    is_pure: bool


def scalarise(
    program: Program,
    input_avals: Sequence[Any],
    num_outputs: int,
    max_equations: int | float = MAX_EQUATIONS,
) -> ScalarProgram:
    """The first outputs of a program of arrays as a program of scalars.

    It raises `NotScalar` where there would be more than `max_equations` of them, or
    where there is a loop or a branch. Equations for which there is no rule are kept, of
    arrays that are put together from scalars and taken apart again.
    """
    expansion = Expansion(max_equations)
    arrays = [expansion.inputs(aval) for aval in input_avals]
    num_inputs = expansion.num_variables
    results = expansion.evaluate(program, arrays, num_outputs)
    outputs: list[Atom] = []
    avals: list[Any] = []
    for entries, aval in zip(results, program.output_avals):
        outputs += entries.flat
        avals += [scalar_aval(aval)] * entries.size
    equations = tuple(live_equations(expansion.equations, outputs))
    if len(equations) > max_equations:
        raise NotScalar(_TOO_MANY.format(max_equations))
    scalars = Program(num_inputs, equations, tuple(outputs), tuple(avals))
    is_pure = all(_is_scalar(equation.eqn) for equation in equations)
    return ScalarProgram(scalars, expansion.is_strict, is_pure)


def _is_scalar(eqn: jex.JaxprEqn) -> bool:
    """True if an equation is of scalars, takes one out of an array, or belongs to the
    inverse of a small matrix."""
    name = eqn.primitive.name
    if is_elementwise(name) or name in ("slice", "squeeze", *INVERTING):
        return True
    return facts(name).kind == "custom_jvp" and _has_no_arrays(eqn)


def _has_no_arrays(eqn: jex.JaxprEqn) -> bool:
    """True of a function of scalars with a custom derivative, as the derivative of
    `erf` is in JAX 0.12."""
    variables = [*eqn.invars, *eqn.outvars]
    inner = [inside for body in bodies(eqn) for inside in body.eqns]
    is_simple = all(not bodies(inside) for inside in inner)
    return is_simple and all(aval.shape == () for aval in avals_of(variables))


def _live(program: Program, num_outputs: int) -> list[Equation]:
    equations = list(map(without_factors, program.equations))
    live = live_equations(equations, program.outputs[:num_outputs])
    for equation in live:
        name = equation.primitive.name
        if equation.eqn.effects:
            raise NotScalar(f"`{name}` has side effects")
        if facts(name).kind == "loop":
            raise NotScalar(f"it has a loop or a branch (`{name}`)")
    return live


class Expansion:
    """The equations of scalars so far."""

    def __init__(self, max_equations: int | float):
        self.equations: list[Equation] = []
        self.num_variables = 0
        self.is_strict = True
        self._max = max_equations
        # Variables that are whole arrays, by their shapes and entries.
        self._arrays: dict[Hashable, Atom] = {}

    def _new(self, count: int) -> range:
        first = self.num_variables
        self.num_variables += count
        return range(first, self.num_variables)

    def _append(self, equation: Equation) -> None:
        self.equations.append(equation)
        self._check(len(self.equations))

    def _check(self, count: int) -> None:
        if count > _DEAD * self._max:
            raise NotScalar(_TOO_MANY.format(self._max))

    def inputs(self, aval: Any) -> Atoms:
        """New variables for the entries of an input."""
        self._check(aval.size)
        return as_entries(self._new(aval.size), aval.shape)

    def read(self, operand: Atom, env: dict[int, Atoms]) -> Atoms:
        """The entries of an operand."""
        if isinstance(operand, int):
            return env[operand]
        aval = operand.aval
        if not is_numeric(aval):
            raise NotScalar(
                f"it has a constant that is not an array of numbers: {aval}"
            )
        self._check(aval.size)
        if is_concrete(operand):
            return constants(operand.value, aval)
        return self._unpacked(operand, aval)

    def evaluate(
        self, program: Program, arrays: Sequence[Atoms], num_outputs: int
    ) -> list[Atoms]:
        """The entries of the first outputs of a program."""
        env = dict(enumerate(arrays))
        for equation in _live(program, num_outputs):
            operands = [self.read(o, env) for o in equation.operands]
            env.update(zip(equation.results, self.results(equation, operands)))
        return [self.read(o, env) for o in program.outputs[:num_outputs]]

    def inlined(self, closed: ClosedJaxpr, arrays: Sequence[Atoms]) -> list[Atoms]:
        """The entries of the results of a function."""
        program = flatten(closed.jaxpr, closed.consts)
        return self.evaluate(program, arrays, len(program.outputs))

    def results(self, equation: Equation, arrays: list[Atoms]) -> list[Atoms]:
        """The entries of the results of an equation."""
        eqn, name = equation.eqn, equation.primitive.name
        if is_small_system(eqn):
            return solved(self, eqn, arrays)
        if name == "atan2" and not self.is_strict:
            # A zero that was folded may have had another sign.
            if any(is_number(entry, 0) for a in arrays for entry in a.flat):
                raise NotScalar("the sign of a zero may change the result of `atan2`")
        self._check(sum(aval.size for aval in equation.result_avals))
        values = [constant_array(a, v) for a, v in zip(arrays, equation.operand_avals)]
        rule = RULES.get(name)
        is_foldable = is_elementwise(name) or facts(name).makes_indices or rule
        if is_foldable and all(value is not None for value in values):
            folds = evaluated(eqn, values)
            return [constants(v, a) for v, a in zip(folds, equation.result_avals)]
        if is_elementwise(name):
            return [self._elementwise(eqn, arrays)]
        results = None if rule is None else rule(self.scalar, eqn, arrays, values)
        return self._of_arrays(equation, arrays) if results is None else results

    def scalar(self, eqn: jex.JaxprEqn, operands: Sequence[Atom]) -> Atom:
        """The result of one equation of scalars."""
        values = [o.value for o in operands if isinstance(o, Constant)]
        if len(values) == len(operands):
            [value] = evaluated(eqn, values)
            return constant(value, eqn.outvars[0].aval)
        entry = folded(eqn, operands)
        if entry is not None:
            self.is_strict &= not drops(eqn, operands, entry)
            return entry
        [result] = self._new(1)
        self._append(Equation(eqn, tuple(operands), (result,)))
        return result

    def _elementwise(self, eqn: jex.JaxprEqn, arrays: list[Atoms]) -> Atoms:
        template, shape = scalar_eqn(eqn), aval_of(eqn.outvars[0]).shape
        operands = zip(*(np.broadcast_to(array, shape).flat for array in arrays))
        return as_entries([self.scalar(template, each) for each in operands], shape)

    # Equations of arrays

    def _of_arrays(self, equation: Equation, arrays: list[Atoms]) -> list[Atoms]:
        operands = [self._packed(a, v) for a, v in zip(arrays, equation.operand_avals)]
        results = self._new(len(equation.results))
        self._append(Equation(equation.eqn, tuple(operands), tuple(results)))
        return [self._unpacked(r, v) for r, v in zip(results, equation.result_avals)]

    def _packed(self, entries: Atoms, aval: Any) -> Atom:
        """An array variable that has the entries."""
        key = aval.shape, tuple(entries.flat)
        if key not in self._arrays:
            self._arrays[key] = self._stacked(entries, aval)
        return self._arrays[key]

    def _stacked(self, entries: Atoms, aval: Any) -> Atom:
        value = constant_array(entries, aval)
        if value is not None:
            return Constant(value, aval)
        if aval.shape == ():
            return entries.item()

        def stack(*scalars):
            return lax.reshape(concatenated(scalars), aval.shape)

        return self.traced(stack, list(entries.flat), [scalar_aval(aval)])[0]

    def _unpacked(self, operand: Atom, aval: Any) -> Atoms:
        """The entries of an array variable."""
        if aval.shape == ():
            # Captured and traced, it is a variable from here on, no constant.
            if isinstance(operand, Constant):
                [operand] = self.traced(jnp.copy, [operand], [aval])
            return as_entries([operand], ())
        if not is_numeric(aval):
            raise NotScalar(
                f"it has a variable that is not an array of numbers: {aval}"
            )

        def unstack(array):
            return [entry(array, index) for index in np.ndindex(aval.shape)]

        entries = self.traced(unstack, [operand], [aval])
        self._arrays[aval.shape, tuple(entries)] = operand
        return as_entries(entries, aval.shape)

    def traced(
        self, fun: Callable, operands: list[Atom], avals: list[Any]
    ) -> list[Atom]:
        """The results of a function of scalars or arrays, whose equations are added as
        they are; `avals` are those of the operands, or one that all of them have."""
        avals = avals * len(operands) if len(avals) == 1 else avals
        structs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
        closed = jax.make_jaxpr(fun)(*structs)
        program = flatten(closed.jaxpr, closed.consts)
        numbers: dict[int, Any] = dict(enumerate(operands))

        def renamed(o):
            return o if isinstance(o, Constant) else numbers[o]

        for equation in program.equations:
            new = self._new(len(equation.results))
            numbers.update(zip(equation.results, new))
            arguments = tuple(map(renamed, equation.operands))
            self._append(Equation(equation.eqn, arguments, tuple(new)))
        return [renamed(o) for o in program.outputs]


def scalar_eqn(eqn: jex.JaxprEqn) -> jex.JaxprEqn:
    """An elementwise equation for one entry of each operand."""
    return eqn.replace(
        invars=[jex.Var(scalar_aval(v.aval)) for v in eqn.invars],
        outvars=[jex.Var(scalar_aval(v.aval)) for v in eqn.outvars],
    )
