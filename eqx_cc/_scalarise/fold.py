"""Constant folding of scalar equations of which some operands are constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.extend.core as jex

from .._jaxpr.program import Atom, Constant
from .entries import is_number


def folded(eqn: jex.JaxprEqn, operands: Sequence[Atom]) -> Atom | None:
    """The operand that a scalar equation returns, where constants leave no arithmetic
    to do; None where there is some.

    `1 * x` is `x`, and `0 * x` is 0 even where `x` is infinity or NaN (see `drops`).
    """
    rule = _RULES.get(eqn.primitive.name)
    return None if rule is None else rule(*operands)


def drops(eqn: jex.JaxprEqn, operands: Sequence[Atom], entry: Atom) -> bool:
    """True if folding an equation to `entry` leaves out a variable, which may not be
    finite."""
    if eqn.primitive.name not in ("mul", "div") or not isinstance(entry, Constant):
        return False
    return not all(isinstance(o, Constant) for o in operands)


def _mul(x: Atom, y: Atom) -> Atom | None:
    if is_number(x, 0) or is_number(y, 1):
        return x
    return y if is_number(y, 0) or is_number(x, 1) else None


def _add(x: Atom, y: Atom) -> Atom | None:
    if is_number(x, 0):
        return y
    return x if is_number(y, 0) else None


def _sub(x: Atom, y: Atom) -> Atom | None:
    return x if is_number(y, 0) else None


def _div(x: Atom, y: Atom) -> Atom | None:
    if is_number(x, 0) and not isinstance(y, Constant):
        return x
    return x if is_number(y, 1) else None


def _select_n(case: Atom, *operands: Atom) -> Atom | None:
    return operands[int(case.value)] if isinstance(case, Constant) else None


_RULES: dict[str, Callable[..., Atom | None]] = {
    "mul": _mul,
    "add": _add,
    "add_any": _add,
    "sub": _sub,
    "div": _div,
    "select_n": _select_n,
}
