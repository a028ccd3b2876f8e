"""Rules for our primitives in other interpreters of jaxprs: jet and checkify.

To emit calls by `jax.jit` in their place would need no rules, but then JAX's own
transformations would look into them as well: there would be no batches of native calls,
and nothing to accumulate.
"""

from __future__ import annotations

import functools as ft
from collections.abc import Callable

import jax
import jax.extend.core as jex
from jax.experimental import jet

from .releases import checkify_operands, checkify_rules


def register_as_call(primitive: jex.Primitive, plain: Callable) -> None:
    """Has `jax.experimental.jet` and `checkify` see a primitive as `plain` of the same
    operands and parameters, which has JAX's own operations. Others bind primitives that
    they do not know, or differentiate them (folx)."""
    jet.jet_rules[primitive] = ft.partial(_series, plain)
    checkify_rules()[primitive] = ft.partial(_checked, plain)


def _series(plain: Callable, primals, series, **params):
    fun = lambda *arrays: plain(*arrays, **params)  # noqa: E731
    return jet.jet(fun, primals, series, factorial_scaled=False)


def _checked(plain: Callable, *operands, **params):
    """As the rule for `jax.jit` has it: `checkify.checkify` itself has no way to go on
    from errors that are there already."""
    state, arrays = checkify_operands(operands)
    fun = jax.jit(lambda *arrays: plain(*arrays, **params))
    [eqn] = jax.make_jaxpr(fun)(*arrays).eqns
    return checkify_rules()[eqn.primitive](*state, *arrays, **eqn.params)
