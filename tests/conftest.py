"""Settings for every test. Nothing here may import `eqx_cc`: jaxtyping's pytest option
has to instrument it first."""

import gc
import os

import jax
import jax.random as jr
import pytest
from checked import install
from compiled import compile_quickly


compile_quickly()
if os.environ.get("EQX_CC_TESTS_CHECKED", "1") != "0":
    install("eqx_cc")

# What was found on this machine before must not decide what is tested.
os.environ["EQX_CC_CACHE"] = "off"

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# What an earlier run left on disk must not decide what this one compiles.
jax.config.update("jax_enable_compilation_cache", False)


# Their tests start processes of their own, and go wherever there is time at the end.
_APART = "test_documentation", "test_examples", "test_optimised"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """The tests of a file run in one process, as they share what is compiled."""
    is_shared_out = config.pluginmanager.hasplugin("xdist")
    for item in items:
        if is_shared_out and item.path.stem not in _APART:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_collection_finish():
    """What was imported is there to stay: nothing is gained by looking at it in every
    collection of garbage, nor by collecting a hundred times a second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


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
