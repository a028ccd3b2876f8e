"""Places of equations in the user's code."""

from pathlib import Path

import eqx_cc
import jax
import jax.numpy as jnp
from eqx_cc._jaxpr.source_info import place


WEIGHTS = jnp.cos(jnp.arange(1600.0)).reshape(40, 40)


def test_frames_of_the_package_are_left_out():
    def fun(x):
        return WEIGHTS @ jnp.sin(WEIGHTS @ x)  # No native call has a product.

    jacobian = eqx_cc.cc_jacobian(fun, granularity="array")
    equations = jax.make_jaxpr(jacobian)(jnp.ones(40)).jaxpr.eqns
    places = [place(eqn) for eqn in equations]
    package = str(Path(eqx_cc.__file__).parent)
    assert any(__file__ in text for text in places)
    assert not any(text.startswith(package) for text in places)
