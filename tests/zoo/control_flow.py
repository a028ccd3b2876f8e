"""Conditionals, loops and scans, and these within each other."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._case import Case, case, uniform


_X = uniform(3)
_XS = uniform(4, 2, seed=1)
_W = uniform(2, 2, seed=2)


def _cond(x):
    return lax.cond(x[0] < 10.0, lambda v: v**2, lambda v: jnp.sin(v), x)


def _cond_closure(x):
    return lax.cond(jnp.sum(x) > 10.0, lambda: x * x[0], lambda: x - 1.0)


def _cond_constant_branch(x):
    return lax.cond(x[0] < 10.0, lambda v: jnp.ones(3), jnp.cos, x)


def _cond_two_operands(v):
    return lax.cond(v[0][0] > 0.0, lambda a, b: a * b, lambda a, b: a + b, *v)


def _cond_in_cond(x):
    def inner(v):
        return lax.cond(v[1] > 0.0, jnp.exp, jnp.sin, v)

    return lax.cond(x[0] < 10.0, inner, lambda v: -v, x)


def _switch(x):
    branches = [jnp.sin, jnp.cos, lambda v: v**3]
    return lax.switch(jnp.argmax(x), branches, x)


def _vmapped_cond(x):
    return jax.vmap(lambda v: lax.cond(v > 0.0, jnp.sin, jnp.square, v))(x)


def _scan_carry(x):
    def body(carry, _):
        return jnp.sin(carry) * carry[::-1], None

    return lax.scan(body, x, None, length=3)[0]


def _scan_full(v):
    """Constants, a carry, `xs` and `ys`, all of which matter."""
    w, carry, xs = v

    def body(carry, x):
        carry = jnp.tanh(w @ carry + x)
        return carry, carry * x

    return lax.scan(body, carry, xs)


def _scan_ys_only(xs):
    return lax.scan(lambda c, x: (c, jnp.sin(x) * c), 2.0, xs)[1]


def _scan_pair_carry(x):
    """The second half of the carry depends on the first, and not the other way."""

    def body(carry, y):
        a, b = carry
        return (jnp.sin(a), b + a * y), None

    return lax.scan(body, (x[0], x[1]), jnp.arange(3.0))[0]


def _scan_integer_carry(x):
    def body(carry, _):
        i, value = carry
        return (i + 1, value * (1.0 + i.astype(value.dtype))), i

    (_, value), indices = lax.scan(body, (jnp.zeros((), int), x), None, length=3)
    return value, indices


def _scan_reverse(xs):
    return lax.scan(lambda c, x: (c * x, c + x), jnp.ones(2), xs, reverse=True)


def _scan_of_none(x):
    return lax.scan(lambda c, y: (c * y, c), x, jnp.zeros((0, 3)))[0] ** 2


def _scan_nested(x):
    def outer(carry, _):
        inner = lax.scan(lambda c, y: (c * y, c), carry[0], carry)[0]
        return carry * inner + 1.0, inner

    return lax.scan(outer, x, None, length=2)


def _scan_unrolled(x):
    return lax.scan(lambda c, y: (jnp.cos(c) + y, c), 0.5, x, unroll=2)


def _scan_in_cond(x):
    return lax.cond(x[0] < 10.0, _scan_carry, lambda v: v, x)


def _cond_in_scan(x):
    def body(carry, y):
        return lax.cond(y > 0.0, jnp.sin, lambda c: c * c, carry), y * carry

    return lax.scan(body, x[0], x)


def _fori(x):
    return lax.fori_loop(0, 3, lambda i, v: v * jnp.cos(v) + i, x)


def _fori_indexed(x):
    def body(i, v):
        return v.at[i + 1].set(jnp.sin(v[i]) + v[i + 1])

    return lax.fori_loop(0, 2, body, x)


def _while(x):
    """Forward mode only: the number of steps depends on the values."""

    def body(state):
        steps, value = state
        return steps + 1, value * 1.5 + jnp.sin(value)

    steps, value = lax.while_loop(
        lambda s: jnp.max(jnp.abs(s[1])) < 5.0, body, (jnp.zeros((), int), x)
    )
    return value * steps.astype(x.dtype)


def _while_constants(v):
    w, x = v
    return lax.while_loop(lambda c: jnp.sum(c**2) < 9.0, lambda c: 2.0 * c + w @ c, x)


def _fori_traced_bound(x):
    return lax.fori_loop(0, jnp.argmax(x) + 2, lambda _, v: jnp.sin(v) + v**2, x)


def _scan_in_while(x):
    def body(c):
        return lax.scan(lambda a, _: (1.3 * a + a**3, None), c, None, length=2)[0]

    return lax.while_loop(lambda c: jnp.max(jnp.abs(c)) < 2.0, body, x)


def _newton(x):
    def step(_, y):
        return y - (y**2 - x) / (2.0 * y)

    return lax.fori_loop(0, 5, step, jnp.ones_like(x))


def _associative_scan(xs):
    def combine(left, right):
        return left[0] * right[0], right[0] * left[1] + right[1]

    return lax.associative_scan(combine, (xs, xs**2))


def _map(x):
    return lax.map(lambda v: jnp.sin(v) * x[0], x)


def _map_batched(x):
    return lax.map(lambda v: v**2 + x[0], x, batch_size=2)


def _rnn(v):
    w, xs = v
    step = lambda h, x: (jnp.tanh(w @ h + x), None)  # noqa: E731
    return lax.scan(jax.checkpoint(step), jnp.zeros(2), xs)[0]


def _leapfrog(v):
    position, momentum = v

    def body(state, _):
        q, p = state
        p = p - 0.05 * jnp.sin(q)
        q = q + 0.1 * p
        return (q, p - 0.05 * jnp.sin(q)), q

    return lax.scan(body, (position, momentum), None, length=4)


def _checkpointed_while(x):
    return eqx.internal.while_loop(
        lambda c: jnp.sum(c) < 20.0,
        lambda c: c + c**2,
        x,
        max_steps=6,
        kind="checkpointed",
    )


_FUNCTIONS = {
    "associative_scan": (_associative_scan, _XS),
    "cond": (_cond, _X),
    "cond_closure": (_cond_closure, _X),
    "cond_constant_branch": (_cond_constant_branch, _X),
    "cond_in_cond": (_cond_in_cond, _X),
    "cond_in_scan": (_cond_in_scan, _X),
    "cond_two_operands": (_cond_two_operands, (_X, _X**2)),
    "fori": (_fori, _X),
    "fori_indexed": (_fori_indexed, _X),
    "fori_traced_bound": (_fori_traced_bound, _X),
    "leapfrog": (_leapfrog, (np.array(0.4), np.array(-0.2))),
    "map": (_map, _X),
    "map_batched": (_map_batched, _X),
    "newton_unrolled": (_newton, _X + 2.0),
    "rnn_checkpointed": (_rnn, (_W, _XS)),
    "scan_carry": (_scan_carry, _X),
    "scan_full": (_scan_full, (_W, _X[:2], _XS)),
    "scan_in_cond": (_scan_in_cond, _X),
    "scan_in_while": (_scan_in_while, _X),
    "scan_integer_carry": (_scan_integer_carry, _X),
    "scan_nested": (_scan_nested, _X),
    "scan_of_none": (_scan_of_none, _X),
    "scan_pair_carry": (_scan_pair_carry, _X[:2]),
    "scan_reverse": (_scan_reverse, _XS),
    "scan_unrolled": (_scan_unrolled, uniform(4)),
    "scan_ys_only": (_scan_ys_only, _X),
    "switch": (_switch, _X),
    "vmapped_cond": (_vmapped_cond, _X),
    "while": (_while, _X),
    "while_constants": (_while_constants, (_W, _X[:2])),
}

CASES: dict[str, Case] = {
    name: case(fun, x) for name, (fun, x) in _FUNCTIONS.items()
} | {
    "while_checkpointed": case(_checkpointed_while, _X + 2.0, reference=jax.jacrev),
}
