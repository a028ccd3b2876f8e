"""Scans whose iterations do not depend on each other, as batches.

In `lax.map(lambda i: x[i + 1] * x[i], jnp.arange(5))`, or in a `fori_loop` that only
adds to its carry, an iteration reads entries that are known for each `i`, but not in a
body that stands for all of them. As a batch, the indices of all iterations are one
known array, and what is read is a selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from ..._jaxpr.avals import is_inexact, struct
from ..._jaxpr.known.indices import static_variables
from ..._jaxpr.primitives import facts
from ..._jaxpr.program import Constant, Equation, flatten, Program
from .body import Differentiate, EvaluatedPartials, Known
from .scan import Scan


# A batch may have so many entries in all its intermediates together.
_MAX_ENTRIES = 1 << 22
# What adds to an operand: to the first one, or to either of a sum.
_ADDS = frozenset("add add_any convert_element_type scatter-add sub".split())
_INDEXING = frozenset(
    "dynamic_slice dynamic_update_slice gather scatter scatter-add".split()
)


def independent_blocks(
    equation: Equation,
    active: tuple[int, ...],
    operands: Sequence[Any],
    differentiate: Differentiate,
    known: Known,
) -> EvaluatedPartials | None:
    """The partials of a scan; None if iterations depend on each other, or if a batch of
    them knows no more."""
    iterations = _Iterations(Scan(equation, active), known)
    if not iterations.are_independent:
        return None
    avals = [struct(aval) for aval in equation.operand_avals]
    closed = jax.make_jaxpr(iterations.batch)(*avals)
    program = flatten(closed.jaxpr, closed.consts)
    results, blocks = differentiate(program, operands, list(active), known)
    pairs = [(s, r, block.pattern) for (r, s), block in blocks.items()]
    values = [block.values for block in blocks.values()]
    variables = static_variables(program, known)
    # The loop of a gradient reads the indices that the loop of its function returns.
    integers = {
        r: variables[out]
        for r, out in enumerate(program.outputs)
        if isinstance(out, int) and out in variables
    }
    return EvaluatedPartials(pairs, results, values, known=integers)


@dataclass(frozen=True)
class _Iterations:
    """The iterations of a scan, of which `known` are the operands that are known."""

    scan: Scan
    known: Known

    @cached_property
    def body(self) -> Program:
        return flatten(self.scan.jaxpr.jaxpr, self.scan.jaxpr.consts)

    @cached_property
    def _sources(self) -> dict[int, frozenset[int]]:
        """The inputs of the body that each of its variables depends on."""
        sources = {i: frozenset([i]) for i in range(self.body.num_inputs)}
        for equation in self.body.equations:
            read = [sources[o] for o in equation.operands if isinstance(o, int)]
            sources.update(dict.fromkeys(equation.results, frozenset().union(*read)))
        return sources

    @cached_property
    def _steps(self) -> dict[int, Equation]:
        return {r: e for e in self.body.equations for r in e.results}

    def _step(self, atom: Any) -> Equation | None:
        """The equation of a variable of the body; None of its inputs and constants."""
        return self._steps.get(atom) if isinstance(atom, int) else None

    def _depends_on(self, atom: Any) -> frozenset[int]:
        return self._sources[atom] if isinstance(atom, int) else frozenset()

    @cached_property
    def constants(self) -> set[int]:
        """The carries that no iteration changes."""
        return {c for c, out in zip(self.scan.carries, self.body.outputs) if c == out}

    @cached_property
    def counters(self) -> dict[int, np.ndarray]:
        """The values in each iteration of the integers to which a number is added."""
        counters = {}
        for carry, out in zip(self.scan.carries, self.body.outputs):
            first = self.known.get(carry)
            step = self._step(out)
            if first is None or first.shape or first.dtype.kind != "i" or step is None:
                continue
            numbers = [o.value for o in step.operands if isinstance(o, Constant)]
            sign = {"add": 1, "sub": -1}.get(step.primitive.name)
            if sign and carry == step.operands[0] and numbers:
                times = np.argsort(self.scan.order).astype(first.dtype)
                counters[carry] = first + times * first.dtype.type(sign * numbers[0])
        return counters

    @cached_property
    def sums(self) -> set[int]:
        """The carries that iterations only add to."""
        return {
            carry
            for carry, out in zip(self.scan.carries, self.body.outputs)
            if carry not in self.constants | self.counters.keys()
            and self._is_sum(carry, out)
        }

    def _is_sum(self, carry: int, out: Any) -> bool:
        """True if `out` is the carry with something added that does not depend on it:
        `(carry + a) + b`, or `carry - a`."""
        while out != carry:
            step = self._step(out)
            name = None if step is None else step.primitive.name
            if step is None or name not in _ADDS:
                return False
            through = [carry in self._depends_on(o) for o in step.operands]
            if through.count(True) != 1:
                return False
            position, [result] = through.index(True), step.result_avals
            before = step.operand_avals[position]
            if (before.shape, before.dtype) != (result.shape, result.dtype):
                return False
            if position > 0 and name not in ("add", "add_any"):
                return False
            out = step.operands[position]
        return True

    @property
    def are_independent(self) -> bool:
        """True if each iteration is a function of operands and of known integers."""
        if not self._may_be_batched:  # Nothing is written out for long loops.
            return False
        free, carries = self.constants | self.counters.keys(), self.scan.carries
        if not free | self.sums >= {*carries}:
            return False
        others = [
            out
            for c, out in enumerate(self.body.outputs)
            if c >= len(carries) or carries[c] not in self.sums
        ]
        if any(self.sums & self._depends_on(out) for out in others):
            return False
        if any(self._mixes_sums(carry) for carry in self.sums):
            return False
        return self._has_known_indices

    def _mixes_sums(self, carry: int) -> bool:
        """True if another sum is added to a sum."""
        out = self.body.outputs[carry - self.scan.num_consts]
        return bool((self.sums - {carry}) & self._depends_on(out))

    @property
    def _has_known_indices(self) -> bool:
        """True if integers that are known in each iteration are indices."""
        stacked = set(filter(self.scan.is_stacked, self.known))
        integers = self.counters.keys() | stacked
        return any(
            integers & self._depends_on(operand)
            for equation in self.body.equations
            if equation.primitive.name in _INDEXING
            for operand, aval in zip(equation.operands, equation.operand_avals)
            if not is_inexact(aval)
        )

    @property
    def _may_be_batched(self) -> bool:
        """True if no equation takes another way in a batch, and all fit in memory."""
        equations = self.body.equations
        kinds = {facts(equation.primitive.name).kind for equation in equations}
        if kinds & {"loop", "custom_vjp"} or self.scan.equation.eqn.effects:
            return False
        sizes = [aval.size for e in equations for aval in e.result_avals]
        return 0 < self.scan.length * max(1, sum(sizes)) <= _MAX_ENTRIES

    def batch(self, *operands: Any) -> list[Any]:
        """The results of the scan, all iterations at a time."""
        scan = self.scan
        consts, init, _ = scan.split(operands)

        def iteration(counters, slices):
            carry = [
                counters.get(c, jnp.zeros_like(x) if c in self.sums else x)
                for c, x in zip(scan.carries, init)
            ]
            return jex.jaxpr_as_fun(scan.jaxpr)(*consts, *carry, *slices)

        # Of what is known here, the values are constants of the batch.
        _, _, stacked = scan.split(
            [self.known.get(i, x) for i, x in enumerate(operands)]
        )
        results = jax.vmap(iteration, axis_size=scan.length)(self.counters, stacked)
        finals = map(self._final, scan.carries, init, results)
        return [*finals, *results[scan.num_carry :]]

    def _final(self, carry: int, init: Any, results: Any) -> Any:
        """A carry after the last iteration, from what each of them has for it."""
        if carry in self.sums:
            return init + jnp.sum(results, 0, dtype=results.dtype)
        if carry in self.constants:
            return init
        return results[self.scan.order[-1]]
