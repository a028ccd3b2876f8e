"""The table of primitives, against those that JAX has."""

import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._jaxpr.primitives import FACTS
from eqx_cc._rules import rules
from jax import lax
from jax.extend.core import primitives


# Without a row: random bits, references, tokens, devices, and what has no operand that
# is an array of numbers. Their names begin with these words.
OTHERS = (
    "after_all all_ axis_index call create_token dce_sink device_put empty2 eq_to "
    "eval_jaxpr get le_to lt_to name pmax pmin ppermute psum ragged_all_to_all random_ "
    "rng_ sharding_constraint stage swap threefry2x32"
).split()
# Names that not every supported release has.
SOMEWHERE = set(
    "closed_call log2 mulhi one_minus_square polynomial stack unstack".split()
)
# Those of ours, and of `jax.experimental.sparse`.
OURS = {"native_call", "preaccumulated", "bcoo_dot_general", "bcsr_dot_general"}
# What is no part of JAX's public names: JAX 0.12 finds non-zeros by it.
PRIVATE = {"call_hi_primitive"}


def _of_jax() -> set[str]:
    values = [*vars(primitives).values(), *vars(lax).values()]
    return {value.name for value in values if isinstance(value, jex.Primitive)}


def test_every_primitive_has_a_row():
    missing = _of_jax() - FACTS.keys()
    assert {name for name in missing if not name.startswith(tuple(OTHERS))} == set()


def test_every_row_has_a_primitive():
    assert FACTS.keys() - _of_jax() - SOMEWHERE <= OURS | PRIVATE


def test_every_rule_has_a_row():
    assert {primitive.name for primitive in rules()} <= FACTS.keys()


@pytest.mark.parametrize("name", sorted((SOMEWHERE - {"closed_call"}) & _of_jax()))
def test_newer_primitives_are_differentiated(name):
    """One that a new release brought is in what JAX derives from older functions."""
    import eqx_cc
    import jax

    functions = {
        "log2": jnp.log2,
        "mulhi": lambda x: x * lax.mulhi(*jnp.int32([1 << 30, 8])).astype(x.dtype),
        "one_minus_square": lambda x: jnp.tanh(x) * jnp.arcsin(x),
        "polynomial": lambda x: getattr(lax, "polynomial")(x, [jnp.ones_like(x), x]),  # noqa: B009
        "stack": lambda x: jnp.stack([x, 2 * x]),
        "unstack": lambda x: sum(jnp.unstack(x[:, None] * x[None])),
    }
    fun, x = functions[name], jnp.array([0.3, 0.6])
    for granularity in ("scalar", "array"):
        ours = jax.jit(eqx_cc.cc_jacobian(fun, granularity=granularity))(x)
        np.testing.assert_allclose(ours, jax.jacfwd(fun)(x), rtol=1e-14)
