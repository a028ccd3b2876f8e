"""An arm as MuJoCo XLA computes it.

??? cite "Reference"

    E. Todorov, T. Erez and Y. Tassa, *MuJoCo: A physics engine for model-based
    control*, IEEE/RSJ International Conference on Intelligent Robots and Systems 2012.
"""

import importlib
from collections.abc import Callable
from typing import Any

from .on_demand import cast, Function
from .panda import mjcf


def _model(dtype: Any) -> tuple[Any, Any, Callable]:
    """MJX, the arm, and the function from a state to its position and its bias."""
    mujoco: Any = importlib.import_module("mujoco")
    mjx: Any = importlib.import_module("mujoco.mjx")
    model = mujoco.MjModel.from_xml_string(mjcf())
    arm, data = cast((mjx.put_model(model), mjx.make_data(model)), dtype)

    def biased(state):
        moved = data.replace(qpos=state[:7], qvel=state[7:])
        moved = mjx.com_vel(arm, mjx.com_pos(arm, mjx.kinematics(arm, moved)))
        return mjx.rne(arm, moved)

    return mjx, arm, biased


def bias_forces(dtype: Any) -> Function:
    *_, biased = _model(dtype)
    return lambda state: biased(state).qfrc_bias


def forward_dynamics(dtype: Any) -> Function:
    """The accelerations without torques, with the factorisation of MJX."""
    mjx, arm, biased = _model(dtype)
    smooth: Any = importlib.import_module("mujoco.mjx._src.smooth")

    def fun(state):
        data = mjx.factor_m(arm, mjx.crb(arm, biased(state)))
        return smooth.solve_m(arm, data, -data.qfrc_bias)

    return fun
