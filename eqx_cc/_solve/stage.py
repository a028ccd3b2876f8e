"""Relations that are the identity, plus what a factor makes vanish.

The stages of an implicit method solve $k - f(y + a k) = 0$ with a coefficient $a$ that
may be zero: then the Jacobian is the identity. That is read off the jaxpr.
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


class _Reach(NamedTuple):
    """How the unknown reaches a value: as the entry `same` of its leaves itself, None
    if it does not; and besides, unless one of the scalars in `gates` is zero. None if
    it does not at all."""

    same: int | None = None
    gates: frozenset[int] | None = None


_FREE = _Reach()
_ALIKE = "broadcast_in_dim", "convert_element_type", "reshape", "copy", "squeeze"


def is_identity(fn: Callable, y: PyTree, args: PyTree) -> Bool[Array, ""] | None:
    """Whether the Jacobian of `fn(y, args)` with respect to `y` is the identity, by a
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
    """The numbers of those scalars of which any suffices. None if there are none."""
    reaches = {v: _Reach(i) for i, v in enumerate(jaxpr.invars[:count])}
    scalars = {
        v: i
        for i, v in enumerate(jaxpr.invars[count:])
        if v.aval.shape == () and jnp.issubdtype(v.aval.dtype, jnp.floating)
    }
    for eqn in jaxpr.eqns:
        operands = [v for v in eqn.invars if not isinstance(v, Literal)]
        if eqn.primitive.name in _ALIKE and operands and operands[0] in scalars:
            scalars[eqn.outvars[0]] = scalars[operands[0]]
        found = _reach(eqn, reaches, scalars)
        reaches.update(dict.fromkeys(eqn.outvars, found))
    ends = [_get(reaches, v) for v in jaxpr.outvars]
    if [end.same for end in ends] != list(range(count)):
        return None
    return _both(ends).gates


def _get(reaches, v) -> _Reach:
    return _FREE if isinstance(v, Literal) else reaches.get(v, _FREE)


def _reach(eqn: Any, reaches: dict, scalars: dict) -> _Reach:
    own = [_get(reaches, v) for v in eqn.invars]
    if all(reach == _FREE for reach in own):
        return _FREE
    name = eqn.primitive.name
    if name in ("add", "sub") and own[1].same is None:
        if eqn.invars[0].aval == eqn.outvars[0].aval:
            return _both([own[0], _through(own[1])], own[0].same)
    if name == "mul":
        for one, other in ((0, 1), (1, 0)):
            scale = eqn.invars[other]
            if not isinstance(scale, Literal) and scale in scalars:
                gates = _through(own[one]).gates or frozenset()
                return _Reach(None, gates | {scalars[scale]})
    return _both([_through(reach) for reach in own])


def _through(reach: _Reach) -> _Reach:
    """What has gone through any function."""
    return reach if reach.same is None else _Reach(None, frozenset())


def _both(reaches: list[_Reach], same: int | None = None) -> _Reach:
    """What suffices for all of them."""
    gates = [reach.gates for reach in reaches if reach.gates is not None]
    return _Reach(same, frozenset.intersection(*gates) if gates else None)
