"""Types are checked at every call in these tests."""

import sys
from typing import Any

import eqx_cc
import eqx_cc.policy
import jax.numpy as jnp
import numpy as np
import pytest
from beartype.roar import BeartypeCallHintParamViolation
from eqx_cc._graph.elimination import plan, Step
from eqx_cc._solve.matrix.assemble import Matrix
from eqx_cc._solve.matrix.positions import merge
from jaxtyping import TypeCheckError


NOTHING: Any = "nothing"


def test_every_module_is_checked():
    """Those that import jaxtyping by it, and the others by beartype alone."""
    loaders = {
        name: type(module.__spec__.loader).__name__
        for name, module in sys.modules.items()
        if name.partition(".")[0] == "eqx_cc" and module.__spec__ is not None
    }
    assert loaders["eqx_cc._graph.elimination"] == loaders["eqx_cc"] == "_Loader"
    assert loaders["eqx_cc._solve.matrix.assemble"] == "_JaxtypingLoader"
    assert {*loaders.values()} == {"_Loader", "_JaxtypingLoader"}


def test_arguments_and_fields():
    with pytest.raises(BeartypeCallHintParamViolation):
        plan(NOTHING, ())
    with pytest.raises(BeartypeCallHintParamViolation):
        Step(*[NOTHING] * len(Step.__dataclass_fields__))
    with pytest.raises(BeartypeCallHintParamViolation):
        eqx_cc.Traffic(itemsize=NOTHING)


def test_shapes():
    positions, _ = merge(np.arange(2), np.arange(2), (2, 2))
    none = jnp.zeros((2, 0))
    Matrix(jnp.ones(2), none, none.T, positions)
    with pytest.raises(TypeCheckError):
        Matrix(jnp.ones((2, 2)), none, none.T, positions)
