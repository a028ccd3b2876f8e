"""Programs of several dtypes keep the precision that JAX keeps."""

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax


_W = jnp.asarray(np.random.default_rng(0).normal(size=(8, 8)), jnp.float32)


def _accumulated_wide(x):
    narrow = jnp.sin(x).astype(jnp.float32)
    dims = (((0,), (0,)), ((), ()))
    return lax.dot_general(narrow, _W, dims, preferred_element_type=jnp.float64)


def _product_wide(x):
    narrow = x.astype(jnp.float32)
    return jnp.dot(narrow, _W @ narrow, preferred_element_type=jnp.float64)


def _wide_after(x):
    return jnp.exp((x.astype(jnp.float32) * _W[0]).astype(jnp.float64))


@pytest.mark.parametrize("fun", [_accumulated_wide, _product_wide, _wide_after])
@pytest.mark.parametrize("order", ["forward", "reverse", "markowitz"])
def test_mixed_precision(fun, order):
    x = jnp.linspace(0.1, 1.0, 8)
    ours = eqx_cc.cc_jacobian(fun, order=order)(x)
    expected = jax.jacfwd(fun)(x)
    assert ours.dtype == expected.dtype
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
