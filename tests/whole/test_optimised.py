"""Native code as users have it, with every optimisation of XLA and LLVM, which the
other tests do without (`compiled.py`)."""

import os
import sys

import pytest
from helpers import run_to_its_end
from tests.compiled import as_users_have_it


NATIVE = """
scalarise/test_scalars.py::test_native_call[native]
scalarise/test_scalars.py::test_elementwise
scalarise/test_scalars.py::test_blocks_of_batches[float64]
solve/test_solve.py::test_bands_with_pivots[7-2-1]
solve/test_solve.py::test_inverses[40-5]
"""


@pytest.mark.skipif(
    os.environ.get("EQX_CC_TESTS_OPTIMISED", "0") != "0", reason="all of them are"
)
def test_native_code():
    env = os.environ | as_users_have_it() | {"EQX_CC_TESTS_OPTIMISED": "1"}
    env |= {"PYTEST_ADDOPTS": "", "JAX_PLATFORMS": "cpu"}
    # The same tests run with types checked as well, optimised less.
    env |= {"EQX_CC_TESTS_CHECKED": "0"}
    settings = ["-o", "addopts=", "--strict-config", "--strict-markers"]
    tests = [os.path.join("tests", name) for name in NATIVE.split()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist"]
    command += ["-p", "no:cacheprovider", *settings, *tests]
    run_to_its_end(command, env)
