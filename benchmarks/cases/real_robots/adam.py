"""An arm as adam computes it.

??? cite "Reference"

    G. L'Erario, *adam: automatic differentiation for rigid-body-dynamics algorithms*
    (`adam-robotics`).
"""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .on_demand import Function
from .panda import urdf


def _model(dtype: Any) -> tuple[Any, jax.Array, jax.Array]:
    """The arm, where its base is, and how fast that moves."""
    adam: Any = importlib.import_module("adam.jax")
    names = [f"joint{i}" for i in range(1, 8)]
    gravity = np.array([0.0, 0.0, -9.81, 0.0, 0.0, 0.0])  # As in the other libraries.
    robot = adam.KinDynComputations(urdf(), names, dtype=dtype, gravity=gravity)
    # JAX 0.12 has no tangents of `jnp.asarray(..., device=...)`.
    robot.rbdalgos.math.factory._device = None
    return robot, jnp.eye(4, dtype=dtype), jnp.zeros(6, dtype)


def positions(dtype: Any) -> Function:
    robot, base, _ = _model(dtype)
    return lambda q: robot.forward_kinematics("link7", base, q)[:3].reshape(12)


def bias_forces(dtype: Any) -> Function:
    robot, base, still = _model(dtype)
    return lambda state: robot.bias_force(base, state[:7], still, state[7:])[6:]


def forward_dynamics(dtype: Any) -> Function:
    """The accelerations without torques, of an arm whose base is fixed."""
    robot, base, _ = _model(dtype)
    bias = bias_forces(dtype)

    def fun(state):
        mass = robot.mass_matrix(base, state[:7])[6:, 6:]
        return jnp.linalg.solve(mass, -bias(state))

    return fun
