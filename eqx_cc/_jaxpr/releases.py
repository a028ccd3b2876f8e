"""Differences between the releases of JAX that are supported.

Nothing else looks at the version of JAX, or at parameters of equations that a release
has renamed. Each function here says which release brought the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
from jax import lax


# JAX 0.11 made it another name of `Jaxpr`, of which `consts` are a part.
ClosedJaxpr = jex.ClosedJaxpr  # pyright: ignore[reportPrivateImportUsage]

# The XLA of JAX 0.12 fuses a concatenation of many scalars with what computes them;
# that of JAX 0.11 computes them again for every entry.
FUSES_CONCATENATIONS = jax.__version_info__ >= (0, 12)

# What JAX raises where a function has no derivative, or no transpose.
UNSUPPORTED_BY_JAX = (
    AssertionError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


class ScanArity(NamedTuple):
    """The operands of a `scan` are constants, carries and stacked inputs, in this
    order; its results are carries and stacked outputs."""

    num_consts: int
    num_carry: int


def scan_arity(eqn: jex.JaxprEqn) -> ScanArity:
    """Read from the shapes of a `scan` equation and of its body.

    Up to JAX 0.10 the parameters `num_consts` and `num_carry` have the same numbers;
    JAX 0.11 replaced both by `ft_in` and `ft_out`, which are private. In every release,
    what is stacked has one axis more outside of the body than inside.
    """
    body = eqn.params["jaxpr"]
    num_inputs = len(eqn.invars) - _num_stacked(eqn.invars, body.in_avals)
    num_carry = len(eqn.outvars) - _num_stacked(eqn.outvars, body.out_avals)
    return ScanArity(num_inputs - num_carry, num_carry)


def _num_stacked(variables: Any, avals: Any) -> int:
    return sum(_rank(v.aval) > _rank(aval) for v, aval in zip(variables, avals))


def _rank(aval: Any) -> int:
    return len(getattr(aval, "shape", ()))


def available_primitives(*names: str) -> tuple[jex.Primitive, ...]:
    """Those primitives of `jax.lax` that this release has.

    `stack_p` and `unstack_p` came with JAX 0.10.1.
    """
    return tuple(getattr(lax, name) for name in names if hasattr(lax, name))


def checkify_rules() -> dict[jex.Primitive, Any]:
    """The rules by which `jax.experimental.checkify` checks primitives; it passes over
    those that have none, with all errors inside.

    Private in every release; empty where it has gone elsewhere.
    """
    try:
        from jax._src.checkify import error_checks
    except ImportError:
        return {}
    return error_checks


def checkify_operands(operands: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """The operands of such a rule: the state of `checkify`, and the arrays.

    The state is an error and the set of those to look for; JAX after 0.10 puts a
    context in front.
    """
    [last] = [i for i, x in enumerate(operands) if isinstance(x, frozenset)]
    return operands[: last + 1], operands[last + 1 :]


def constant_or_tracer(tracer: Any) -> Any:
    """The constant that a tracer stands for, or the tracer that it is in the trace
    around it; the tracer itself if it is neither.

    A part of JAX's tracers in every release, but not documented.
    """
    return tracer.full_lower() if hasattr(tracer, "full_lower") else tracer


def origin(tracer: Any) -> Any:
    """The equation of which a tracer is a result, with the tracers of its operands as
    `in_tracers`.

    Private in every release; None where it has gone elsewhere, and of tracers that
    have none, as arguments.
    """
    return getattr(tracer, "parent", None) if hasattr(tracer, "val") else None
