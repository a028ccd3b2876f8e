"""Programs written entry by entry as programs of few arrays.

Of `stack([x[0] * x[1], x[1] * x[2], x[2] * x[3]])`, the three products are one equation
of arrays, `x[0:3] * x[1:4]`, as they would be in the vectorised form. Equations of one
kind merge if they are at the same level: the longest paths to them are of the same
length, so that none depends on another.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core.primitives import scatter_p

from .._jaxpr.avals import aval_of, avals_of, is_inexact, is_numeric, struct
from .._jaxpr.known.evaluate import evaluated
from .._jaxpr.known.moves import moved
from .._jaxpr.primitives import facts, is_elementwise
from .._jaxpr.program import (
    Atom,
    bind,
    bodies,
    Constant,
    Equation,
    evaluate,
    flatten,
    Program,
)
from .._jaxpr.releases import ClosedJaxpr
from .entries import is_concrete
from .pool import Numbers, Pool, Reader
from .rules import binary, fill_value, is_unique, NUM_VALUES, on_integers


# Only programs of at least so many equations are merged, and only if each group has so
# many on average: those of a program of arrays have two or three, one for each of its
# fields, and merging these may cost their bands.
_MIN_EQUATIONS, _MIN_MEMBERS = 24, 4
# Constants of at most so many entries are known one by one; and the most entries that
# all arrays of a program may have.
_MAX_CONSTANT, _MAX_ENTRIES = 1 << 12, 1 << 22
# Primitives that move entries, and have no rule of NumPy.
_MOVING = frozenset("dynamic_slice dynamic_update_slice gather pad split tile".split())


class _Unsuited(Exception):
    """A program with too many entries to number, or with other things than numbers."""


def merged(program: Program, inputs: Sequence[Any]) -> Program:
    """The program with equations of one kind merged, or as it is where few would be.

    `inputs` are arrays, concrete or abstract. The bodies of its loops and branches are
    merged as well.
    """
    equations = tuple(map(_with_merged_bodies, program.equations))
    if any(a is not b for a, b in zip(equations, program.equations)):
        program = replace(program, equations=equations)
    if len(equations) < _MIN_EQUATIONS or any(e.eqn.effects for e in equations):
        return program
    try:
        merger = _Merger(program, inputs)
    except _Unsuited:
        return program
    members = sum(len(group.members) for group in merger.groups)
    if members < _MIN_MEMBERS * len(merger.groups):
        return program
    closed = jax.make_jaxpr(merger.run)(*inputs)
    new = flatten(closed.jaxpr, closed.consts)
    return replace(new, output_avals=program.output_avals)


def _with_merged_bodies(equation: Equation) -> Equation:
    if facts(equation.primitive.name).kind != "loop":
        return equation
    params = {k: _merged_body(v) for k, v in equation.params.items()}
    if all(params[k] is v for k, v in equation.params.items()):
        return equation
    return equation._replace(eqn=equation.eqn.replace(params=params))


def _merged_body(value: Any) -> Any:
    """A parameter of a loop or a branch; the same object if nothing merges."""
    if isinstance(value, tuple) and any(isinstance(v, ClosedJaxpr) for v in value):
        bodies = tuple(map(_merged_body, value))
        return value if all(a is b for a, b in zip(value, bodies)) else bodies
    if not isinstance(value, ClosedJaxpr):
        return value
    program = flatten(value.jaxpr, value.consts)
    inputs = [struct(aval) for aval in value.in_avals]
    new = merged(program, inputs)
    if new is program:
        return value
    return jax.make_jaxpr(lambda *inputs: evaluate(new, inputs))(*inputs)


class _Array(NamedTuple):
    """The entries of an array by their numbers, and its value if it is constant."""

    numbers: Numbers
    value: np.ndarray | None = None


class _Group:
    """Equations that are one: a template, and the operands of each."""

    def __init__(self, eqn: jex.JaxprEqn, level: int, stores: list[int]):
        self.eqn, self.level, self.stores = eqn, level, stores
        self.members: list[list[Numbers]] = []

    def run(self, reader: Reader) -> list[Any]:
        """The results, with an axis for the members if there are several."""
        dtypes = [getattr(aval_of(v), "dtype", None) for v in self.eqn.invars]
        if len(self.members) == 1:
            operands = [reader.read(*p) for p in zip(self.members[0], dtypes)]
            return bind(self.eqn, _as_operands(self.eqn, operands))
        stacks = map(np.stack, zip(*self.members))
        if not is_elementwise(self.eqn.primitive.name):
            operands = [reader.read(*p) for p in zip(stacks, dtypes)]
            operands = _as_operands(self.eqn, operands)
            return jax.vmap(lambda *each: bind(self.eqn, each))(*operands)
        shape = aval_of(self.eqn.outvars[0]).shape
        operands = [
            reader.read(_broadcast(s, shape), dtype) for s, dtype in zip(stacks, dtypes)
        ]
        if len(operands) == 2:
            first, second = map(_as_literal, operands)
            operands = [operands[0] if np.ndim(second) == 0 else first, second]
        return bind(self.eqn, operands)


def _broadcast(stack: Numbers, shape: tuple[int, ...]) -> Numbers:
    """The numbers of operands, of which scalars are for all entries of a result."""
    lengthened = stack.reshape(*stack.shape, *(1,) * (len(shape) + 1 - stack.ndim))
    return np.broadcast_to(lengthened, (len(stack), *shape))


def _as_operands(eqn: jex.JaxprEqn, operands: list[Any]) -> list[Any]:
    """The operands of an equation; those that have functions take arrays of JAX."""
    return list(map(jnp.asarray, operands)) if bodies(eqn) else operands


def _as_literal(array: Any) -> Any:
    """The number that all entries of a constant are, which has a known derivative."""
    if isinstance(array, np.ndarray) and (array == array.flat[0]).all():
        return array.flat[0]
    return array


class _Merger:
    """The groups of a program's equations."""

    def __init__(self, program: Program, inputs: Sequence[Any]):
        self.groups: list[_Group] = []
        self._pool, self._num_entries = Pool(), 0
        self._by_kind: dict[Hashable, _Group] = {}
        # Captured arrays that stay whole, by their identity, with their stores.
        self._captured: dict[int, tuple[Any, int, _Array]] = {}
        arrays = [self._array(self._pool.store(0), jax.typeof(x)) for x in inputs]
        self._env = dict(enumerate(arrays))
        for equation in program.equations:
            results = self._results(equation)
            self._env.update(zip(equation.results, results))
        self._outputs = [self._read(o).numbers for o in program.outputs]
        self._dtypes = [aval.dtype for aval in program.output_avals]

    def run(self, *inputs: Any) -> list[Any]:
        """The outputs of the program."""
        reader = Reader(self._pool)
        reader.arrays.update(enumerate(inputs))
        reader.arrays.update((s, value) for value, s, _ in self._captured.values())
        for group in sorted(self.groups, key=lambda group: group.level):
            reader.arrays.update(zip(group.stores, group.run(reader)))
        return [reader.read(*each) for each in zip(self._outputs, self._dtypes)]

    def _array(self, store: int, aval: Any) -> _Array:
        """New entries of a store for an array."""
        self._check(aval)
        return _Array(self._pool.entries(store, aval.shape))

    def _check(self, aval: Any) -> None:
        if not is_numeric(aval):
            raise _Unsuited
        self._num_entries += aval.size
        if self._num_entries > _MAX_ENTRIES:
            raise _Unsuited

    def _constant(self, value: Any, aval: Any) -> _Array:
        self._check(aval)
        array = np.asarray(value, aval.dtype)
        return _Array(self._pool.constant(array), array)

    def _read(self, operand: Atom) -> _Array:
        if not isinstance(operand, Constant):
            return self._env[operand]
        value, aval = operand.value, operand.aval
        if is_concrete(operand) and is_numeric(aval) and aval.size <= _MAX_CONSTANT:
            return self._constant(value, aval)
        if id(value) not in self._captured:
            store = self._pool.store(0)
            self._captured[id(value)] = value, store, self._array(store, aval)
        return self._captured[id(value)][2]

    def _results(self, equation: Equation) -> list[_Array]:
        eqn, name = equation.eqn, equation.primitive.name
        operands = [self._read(o) for o in equation.operands]
        values = [operand.value for operand in operands]
        numbers = [operand.numbers for operand in operands]
        is_known = is_elementwise(name) or facts(name).makes_indices
        if is_known and all(value is not None for value in values):
            known = zip(evaluated(eqn, values), equation.result_avals)
            return [self._constant(*each) for each in known]
        results = self._moved(eqn, numbers, values)
        if results is None and name == "scatter-add":
            results = self._added(eqn, numbers, values)
        if results is not None:
            return list(map(_Array, results))
        if _merges(equation):
            return [_Array(self._merged(eqn, numbers))]
        return self._whole(equation, numbers)

    # Entries that move

    def _moved(
        self, eqn: jex.JaxprEqn, numbers: list[Numbers], values: list
    ) -> list[Numbers] | None:
        """The results of an equation that only moves entries, or None."""
        results = moved(eqn, numbers)
        if results is not None:
            return results
        name = eqn.primitive.name
        indices = values[NUM_VALUES.get(name, len(values)) :]
        if name == "scatter":
            return self._set(eqn, numbers, values)
        if name not in _MOVING or any(value is None for value in indices):
            return None
        count = len(numbers) - len(indices)
        results = evaluated(on_integers(eqn), numbers[:count] + indices)
        if name == "gather" and any((n < 0).any() for n in results):
            fill = self._constant(fill_value(eqn), _scalar(eqn))
            results = [np.where(n < 0, fill.numbers, n) for n in results]
        return results

    def _set(
        self, eqn: jex.JaxprEqn, numbers: list[Numbers], values: list
    ) -> list[Numbers] | None:
        """An array of which entries at known places are replaced."""
        base, _, updates = numbers
        if values[1] is None or not is_unique(eqn, updates):
            return None
        return evaluated(eqn, [base, values[1], updates])

    def _added(
        self, eqn: jex.JaxprEqn, numbers: list[Numbers], values: list
    ) -> list[Numbers] | None:
        """An array to which entries at known places are added."""
        base, _, updates = numbers
        if values[1] is None or not is_unique(eqn, updates):
            return None
        order = np.arange(1, updates.size + 1, dtype=np.int32).reshape(updates.shape)
        params = eqn.params | {"update_jaxpr": None, "update_consts": ()}
        placing = eqn.replace(primitive=scatter_p, params=params)
        [places] = evaluated(placing, [np.zeros_like(base), values[1], order])
        changed = np.flatnonzero(places)
        if changed.size == 0:
            return [base]
        pair = base.flat[changed], updates.flat[places.flat[changed] - 1]
        if changed.size == 1:  # As others of one entry, with which it may merge.
            pair = pair[0].reshape(()), pair[1].reshape(())
        result = base.copy()
        result.flat[changed] = self._merged(_sum(eqn, pair[0].shape), list(pair))
        return [result]

    # Equations

    def _merged(self, eqn: jex.JaxprEqn, numbers: list[Numbers]) -> Numbers:
        """The result of an equation, which joins those of its kind and level."""
        level = self._pool.level(numbers) + 1
        kind = level, _kind(eqn)
        if kind not in self._by_kind:
            group = _Group(eqn, level, [self._pool.store(level)])
            self._by_kind[kind] = group
            self.groups.append(group)
        group = self._by_kind[kind]
        group.members.append(numbers)
        [store], aval = group.stores, aval_of(eqn.outvars[0])
        return self._array(store, aval).numbers

    def _whole(self, equation: Equation, numbers: list[Numbers]) -> list[_Array]:
        """The results of an equation that stays alone."""
        level, avals = self._pool.level(numbers) + 1, equation.result_avals
        group = _Group(equation.eqn, level, [self._pool.store(level) for _ in avals])
        group.members.append(numbers)
        self.groups.append(group)
        return [self._array(s, aval) for s, aval in zip(group.stores, avals)]


def _scalar(eqn: jex.JaxprEqn) -> Any:
    aval = aval_of(eqn.outvars[0])
    return jax.ShapeDtypeStruct((), aval.dtype)


def _sum(eqn: jex.JaxprEqn, shape: tuple[int, ...]) -> jex.JaxprEqn:
    """The equation that adds two arrays, in the place of `eqn`."""
    add, aval = binary(lax.add, eqn), ShapedArray(shape, aval_of(eqn.outvars[0]).dtype)
    x, y, total = map(jex.Var, (aval,) * 3)
    return add.replace(invars=[x, y], outvars=[total])


def _merges(equation: Equation) -> bool:
    """True if equations of this kind are one when they have an axis more."""
    name, avals = equation.primitive.name, equation.result_avals
    if len(avals) != 1:
        return False
    if facts(name).kind != "custom_jvp":
        return is_elementwise(name) or name == "reduce_sum"
    return all(map(_is_elementwise, bodies(equation.eqn)))


def _is_elementwise(jaxpr: jex.Jaxpr) -> bool:
    """True if a jaxpr has elementwise equations alone."""
    program = flatten(jaxpr, None)
    return all(is_elementwise(e.primitive.name) for e in program.equations)


def _kind(eqn: jex.JaxprEqn) -> Hashable:
    """What equations have in common that may be merged."""
    avals = [(aval.shape, aval.dtype) for aval in avals_of([*eqn.invars, *eqn.outvars])]
    if facts(eqn.primitive.name).kind == "custom_jvp":
        params = _derivative(eqn) or id(eqn)
    else:
        params = tuple(sorted(eqn.params.items()))
    try:
        hash(params)
    except TypeError:
        params = id(eqn)
    return eqn.primitive, params, tuple(avals)


def _derivative(eqn: jex.JaxprEqn) -> str | None:
    """The text of a function with a derivative of its own, and of that.

    None where the text does not say all: of captured arrays, and of functions within
    that have a derivative of their own again.
    """
    avals = list(map(struct, avals_of(eqn.invars)))
    if not all(map(is_inexact, avals)):
        return None

    def tangents(point, direction):
        return jax.jvp(lambda *each: bind(eqn, each), point, direction)[1]

    closed = jax.make_jaxpr(tangents)(tuple(avals), tuple(avals))
    programs = [flatten(body) for body in bodies(eqn)]
    programs.append(flatten(closed.jaxpr, closed.consts))
    texts = [text for program in programs for text in _texts(program)]
    return None if None in texts else "\n".join(filter(None, texts))


def _texts(program: Program) -> Iterator[str | None]:
    """The texts of equations and outputs, None for those that do not say all."""
    for equation in program.equations:
        name, params = equation.primitive.name, str(sorted(equation.params.items()))
        has_inner = facts(name).kind.startswith("custom") or bodies(equation.eqn)
        if has_inner or " at 0x" in params or "..." in params:
            yield None
        yield f"{name} {params} {equation.results}"
        yield from map(_operand_text, equation.operands)
    yield from map(_operand_text, program.outputs)


def _operand_text(operand: Atom) -> str | None:
    if not isinstance(operand, Constant):
        return str(operand)
    is_number = is_concrete(operand) and operand.aval.size == 1
    return f"{operand.aval} {operand.value!r}" if is_number else None
