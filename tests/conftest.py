"""Settings for every test. Nothing here may import `eqx_cc`: jaxtyping's pytest option
has to instrument it first."""

import os

import jax
import jax.random as jr
import pytest
from checked import install


# Most of the tests' time went into compiling programs that run for microseconds.
# Nothing here is timed, so that they are compiled as quickly as XLA can, in the
# processes that tests start as well. `EQX_CC_TESTS_OPTIMISED=1` has them compiled as
# users have them.
if os.environ.get("EQX_CC_TESTS_OPTIMISED", "0") == "0":
    jax.config.update("jax_disable_most_optimizations", True)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    if jax.__version_info__[:2] == (0, 10):  # XLA dies of flags that it does not know.
        flags = os.environ.get("XLA_FLAGS", ""), "--xla_cpu_use_fusion_emitters=false"
        os.environ["XLA_FLAGS"] = " ".join(flags).strip()

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
