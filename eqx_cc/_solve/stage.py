"""Detects relations that are the identity, plus terms with a factor that may be zero.

The stages of an implicit method solve $k - f(y + a k) = 0$ with a coefficient $a$ that
may be zero: then the Jacobian is the identity, as it is in an explicit stage of a
Runge-Kutta method. That is read off the jaxpr.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.extend.core import Literal
from jaxtyping import Array, Bool, PyTree


class _Dependence(NamedTuple):
    """The dependence of a value on the unknown.

    `same` is the number of the leaf of the unknown that is a term of the value, None if
    there is none. Other terms vanish if one of the scalars in `gates` is zero; there
    are none if `gates` is None. Of $k - f(y + a k)$, with the scalars $(y, a)$:

        a k               _Dependence(None, {1})
        f(y + a k)        _Dependence(None, {1})
        k - f(y + a k)    _Dependence(0, {1})
    """

    same: int | None = None
    gates: frozenset[int] | None = None


_INDEPENDENT = _Dependence()
_ALIKE = "broadcast_in_dim", "convert_element_type", "reshape", "copy", "squeeze"


def is_identity(fn: Callable, y: PyTree, args: PyTree) -> Bool[Array, ""] | None:
    """True if the Jacobian of `fn(y, args)` with respect to `y` is the identity, by a
    scalar in `args` that is zero; None if no scalar decides."""
    dynamic, static = eqx.partition(args, eqx.is_array)
    scalars, tree = jtu.tree_flatten(dynamic)
    start, structure = jtu.tree_flatten(y)

    def fun(start, scalars):
        args = eqx.combine(jtu.tree_unflatten(tree, scalars), static)
        return jtu.tree_leaves(fn(jtu.tree_unflatten(structure, start), args))

    jaxpr = jax.make_jaxpr(fun)(start, scalars).jaxpr
    gates = _gates(jaxpr, len(start))
    if not gates:
        return None
    zero = [scalars[number] == 0 for number in sorted(gates)]
    return jnp.any(jnp.stack(zero))


def _gates(jaxpr: Any, count: int) -> frozenset[int] | None:
    """The numbers of the scalars of which any suffices. None if there are none."""
    dependences = {v: _Dependence(i) for i, v in enumerate(jaxpr.invars[:count])}
    scalars = {
        v: i
        for i, v in enumerate(jaxpr.invars[count:])
        if v.aval.shape == () and jnp.issubdtype(v.aval.dtype, jnp.floating)
    }
    for eqn in jaxpr.eqns:
        operands = [v for v in eqn.invars if not isinstance(v, Literal)]
        if eqn.primitive.name in _ALIKE and operands and operands[0] in scalars:
            scalars[eqn.outvars[0]] = scalars[operands[0]]
        dependence = _dependence(eqn, dependences, scalars)
        dependences.update(dict.fromkeys(eqn.outvars, dependence))
    ends = [_get(dependences, v) for v in jaxpr.outvars]
    if [end.same for end in ends] != list(range(count)):
        return None
    return _all_of(ends).gates


def _get(dependences, v) -> _Dependence:
    return _INDEPENDENT if isinstance(v, Literal) else dependences.get(v, _INDEPENDENT)


def _dependence(eqn: Any, dependences: dict, scalars: dict) -> _Dependence:
    """The dependence of the results of an equation."""
    operands = [_get(dependences, v) for v in eqn.invars]
    if all(operand == _INDEPENDENT for operand in operands):
        return _INDEPENDENT
    name = eqn.primitive.name
    if name in ("add", "sub") and operands[1].same is None:
        if eqn.invars[0].aval == eqn.outvars[0].aval:
            return _all_of([operands[0], _through(operands[1])], same=operands[0].same)
    if name == "mul":
        for operand, scale in zip(operands, reversed(eqn.invars)):
            if not isinstance(scale, Literal) and scale in scalars:
                gates = _through(operand).gates or frozenset()
                return _Dependence(None, gates | {scalars[scale]})
    return _all_of([_through(operand) for operand in operands])


def _through(dependence: _Dependence) -> _Dependence:
    """The dependence of any function of a value."""
    return dependence if dependence.same is None else _Dependence(None, frozenset())


def _all_of(dependences: list[_Dependence], same: int | None = None) -> _Dependence:
    """The dependence of a sum: a gate has to suffice for all terms."""
    gates = [term.gates for term in dependences if term.gates is not None]
    return _Dependence(same, frozenset.intersection(*gates) if gates else None)
