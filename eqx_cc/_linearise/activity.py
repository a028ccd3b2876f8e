"""Which results of an equation depend on which of its operands, inside of loops too.

In a loop over a mean and a covariance, of which the second does not read the first, the
covariance has no tangent where only the mean has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import NamedTuple

import jax.extend.core as jex

from .._jaxpr.avals import avals_of, is_inexact
from .._jaxpr.program import bodies, inner_jaxprs
from .._jaxpr.releases import scan_arity


class Inside(NamedTuple):
    """A body of an equation. Its inputs are the operands from number `offset` on; the
    first results are the last or the next carries, which begin at input `first`."""

    body: jex.Jaxpr
    offset: int = 0
    first: int = 0
    num_carry: int = 0

    def active(self, operands: Set[int]) -> set[jex.Var]:
        """The variables of the body that depend on these operands at some time."""
        inputs = self.body.invars
        active = {v for i, v in enumerate(inputs, self.offset) if i in operands}
        while True:
            for eqn in self.body.eqns:
                results = active_results(eqn, active_operands(eqn, active))
                active.update(eqn.outvars[i] for i in results)
            carries = inputs[self.first : self.first + self.num_carry]
            pairs = zip(carries, self.body.outvars)
            reached = {v for v, out in pairs if _is_in(out, active)} - active
            if not reached:
                return active
            active |= reached


def inside(eqn: jex.JaxprEqn) -> Iterator[Inside]:
    """The bodies of an equation that have tangents."""
    params, name = eqn.params, eqn.primitive.name
    if name == "scan":
        [body] = inner_jaxprs(params["jaxpr"])
        yield Inside(body, 0, *scan_arity(eqn))
    elif name == "while":
        [body] = inner_jaxprs(params["body_jaxpr"])
        skipped, count = params["cond_nconsts"], params["body_nconsts"]
        yield Inside(body, skipped, count, len(body.outvars))
    else:
        for body in bodies(eqn):
            yield Inside(body, len(eqn.invars) - len(body.invars))


def active_operands(eqn: jex.JaxprEqn, active: Set[jex.Var]) -> set[int]:
    """The positions of the operands that are among these variables."""
    return {i for i, v in enumerate(eqn.invars) if _is_in(v, active)}


def active_results(eqn: jex.JaxprEqn, operands: Set[int]) -> set[int]:
    """The positions of the inexact results that depend on these operands."""
    inexact = {i for i, aval in enumerate(avals_of(eqn.outvars)) if is_inexact(aval)}
    all_inside = list(inside(eqn)) if operands else []
    if not all_inside or any(not _matches(eqn, each) for each in all_inside):
        return inexact if operands else set()
    reached: set[int] = set()
    for each in all_inside:
        active = each.active(operands)
        outputs = enumerate(each.body.outvars)
        reached |= {i for i, v in outputs if _is_in(v, active)}
    return reached & inexact


def _matches(eqn: jex.JaxprEqn, inside: Inside) -> bool:
    """True if the body has the results of the equation, and no inputs besides."""
    has_results = len(inside.body.outvars) == len(eqn.outvars)
    return has_results and inside.offset >= 0


def _is_in(v: object, variables: Set[jex.Var]) -> bool:
    return isinstance(v, jex.Var) and v in variables
