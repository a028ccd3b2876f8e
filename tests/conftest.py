"""Settings for every test. Nothing here may import `eqx_cc`: jaxtyping's pytest option
has to instrument it first."""

import os

import jax
import jax.random as jr
import pytest
from checked import install
from compiled import compile_quickly


compile_quickly()
install("eqx_cc")

# What was found on this machine before must not decide what is tested.
os.environ["EQX_CC_CACHE"] = "off"

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# What an earlier run left on disk must not decide what this one compiles.
jax.config.update("jax_enable_compilation_cache", False)


@pytest.fixture
def getkey():
    """Returns a new random key at every call, and the same ones in every run."""
    key = jr.key(0)

    def _getkey():
        nonlocal key
        key, subkey = jr.split(key)
        return subkey

    return _getkey


@pytest.fixture
def quickly_compiled():
    """Without most optimisations, where compiling takes far longer than running."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
