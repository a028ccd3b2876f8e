"""JAX's own test harnesses of its primitives, those from floats to floats.

They live in a private module of JAX's wheel, and know far more ways of calling a
primitive than one would think of.
"""

import functools as ft
import math
import zlib
from itertools import zip_longest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_jacobian_close, flatten, reference_jacobian
from jax._src.internal_test_util.test_harnesses import (
    all_harnesses,
    CustomArg,
    Harness,
    StaticArg,
)


SAMPLE = 130
MAX_INPUTS = 512
MAX_ENTRIES = 2**18

# Left out: parts that a name has, and why.
UNDEFINED = {
    ("modes_out_of_bounds", "PROMISE_IN_BOUNDS"): (
        "a scatter out of bounds that promises not to be one: what its derivative "
        "reads there is whatever the compiler makes of it"
    ),
}


def _is_undefined(harness: Harness) -> bool:
    return any(all(p in harness.fullname for p in parts) for parts in UNDEFINED)


def _is_candidate(harness: Harness) -> bool:
    """Whether it may be from floats to floats, as far as can be said without a call."""
    if _is_undefined(harness):
        return False
    args = [a for a in harness.arg_descriptors if not isinstance(a, StaticArg)]
    known = [a for a in args if hasattr(a, "dtype") and not isinstance(a, CustomArg)]
    if any(jnp.issubdtype(a.dtype, jnp.complexfloating) for a in known):
        return False
    floats = [a for a in known if jnp.issubdtype(a.dtype, jnp.floating)]
    size = sum(math.prod(a.shape) for a in floats)
    has_floats = len(floats) > 0 or len(known) < len(args)
    return has_floats and size <= MAX_INPUTS and harness.filter("cpu")


def _key(harness: Harness) -> int:
    return zlib.crc32(harness.fullname.encode())


def _sampled(harnesses: dict[str, Harness]) -> dict[str, Harness]:
    """One of every primitive, and then more of those that have many, by a fixed seed.

    Harnesses in reduced precision say little, so that they are left to the full run.
    """
    groups: dict[str, list[Harness]] = {}
    for harness in sorted(harnesses.values(), key=_key):
        if harness.dtype in (np.float32, np.float64):
            groups.setdefault(harness.group_name, []).append(harness)
    rounds = zip_longest(*sorted(groups.values(), key=len, reverse=True))
    chosen = [harness for row in rounds for harness in row if harness is not None]
    return {harness.fullname: harness for harness in chosen[:SAMPLE]}


# Sorted, since JAX's own order changes from process to process.
HARNESSES = {
    h.fullname: h
    for h in sorted(all_harnesses, key=lambda h: h.fullname)
    if _is_candidate(h)
}
SAMPLED = _sampled(HARNESSES)


def _id(name: str) -> str:
    """Some names run to hundreds of characters."""
    return f"{name[:60]}-{zlib.crc32(name.encode()):08x}"


def _args(harness: Harness) -> list:
    return list(harness.dyn_args_maker(np.random.RandomState(_key(harness))))


# What JAX raises where it has no derivative, or not of such arguments.
_REFUSALS = AssertionError, NotImplementedError, TypeError, ValueError


def _why_not(fun, x) -> str | None:
    """Why there is nothing to compare, if so. A warning is never a reason."""
    flat, leaves = flatten(fun, x)
    outs = jax.eval_shape(flat, leaves)
    if not leaves or not outs:
        return "not from floats to floats"
    if any(jnp.iscomplexobj(leaf) for leaf in leaves):
        return "of complex numbers"
    num_inputs = sum(leaf.size for leaf in leaves)
    num_outputs = sum(out.size for out in outs)
    if num_inputs > MAX_INPUTS or num_inputs * num_outputs > MAX_ENTRIES:
        return "too large"
    try:
        jax.eval_shape(ft.partial(reference_jacobian, jax.jacfwd, flat), leaves)
    except _REFUSALS as error:
        return f"jax.jacfwd refuses: {type(error).__name__}"
    return None


def _check(harness: Harness):
    fun, x = lambda args: harness.dyn_fun(*args), _args(harness)
    reason = _why_not(fun, x)
    if reason is not None:
        pytest.skip(reason)
    assert_jacobian_close(fun, x, allow_zeros=True)


@pytest.mark.parametrize("name", SAMPLED, ids=_id)
def test_sample(name):
    _check(HARNESSES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in HARNESSES if n not in SAMPLED], ids=_id)
def test_all_others(name):
    _check(HARNESSES[name])
