"""The KUKA LBR iiwa 14 that frax has.

??? cite "Reference"

    D. Morton, *frax: fast robot kinematics and dynamics in JAX* (`frax`).
"""

import importlib
from typing import Any

import jax.numpy as jnp

from .on_demand import Function


def bias_forces(dtype: Any) -> Function:
    robot = importlib.import_module("frax").load_iiwa()
    return lambda state: robot.nonlinear_bias(state[:7], state[7:])


def forward_dynamics(dtype: Any) -> Function:
    robot = importlib.import_module("frax").load_iiwa()
    torque = jnp.zeros(7, dtype)
    return lambda x: robot.forward_dynamics(x[:7], x[7:], torque, None)
