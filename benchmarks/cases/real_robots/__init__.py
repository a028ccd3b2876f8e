"""Robots as libraries compute them: adam, Brax, frax and MuJoCo XLA (MJX).

A case is there if its library is installed (`pip install "eqx_cc[robots]"`). The
library is imported, and the model built, when the function is first called.
"""

import importlib.metadata

import numpy as np

from .._case import Case
from . import adam, brax, frax, mjx
from .on_demand import Builder, on_demand


GROUP = "real robots"

_Q, _V = np.linspace(-1.2, 1.5, 7), np.linspace(0.8, -0.6, 7)
_ARM = np.concatenate([_Q, _V])
_WALKER = np.concatenate([np.linspace(-0.4, 0.5, 9), np.linspace(0.8, -0.6, 9)])
# The base is at a height, and turned by a quaternion.
_HUMANOID = np.array([0.0, 0.0, 1.4, 0.8, 0.0, 0.6, 0.0, *np.linspace(-0.4, 0.5, 17)])

# A distribution, the name of the case, its function, and where that is differentiated.
_ALL: tuple[tuple[str, str, Builder, np.ndarray], ...] = (
    ("adam-robotics", "adam arm, kinematics", adam.positions, _Q),
    ("adam-robotics", "adam arm, bias forces", adam.bias_forces, _ARM),
    ("adam-robotics", "adam arm, forward dynamics", adam.forward_dynamics, _ARM),
    ("brax", "Brax humanoid, kinematics", brax.positions, _HUMANOID),
    ("brax", "Brax walker, bias forces", brax.bias_forces, _WALKER),
    ("brax", "Brax walker, forward dynamics", brax.forward_dynamics, _WALKER),
    ("frax", "frax arm, bias forces", frax.bias_forces, _ARM),
    ("frax", "frax arm, forward dynamics", frax.forward_dynamics, _ARM),
    ("mujoco-mjx", "MJX arm, bias forces", mjx.bias_forces, _ARM),
    ("mujoco-mjx", "MJX arm, forward dynamics", mjx.forward_dynamics, _ARM),
)


def _is_installed(distribution: str) -> bool:
    """True if a distribution is there. Unlike a search for the module, this imports
    nothing: MJX is a part of the package of MuJoCo."""
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


CASES = [
    Case(name, GROUP, on_demand(build), point, ("call", "loop", "batch 512"))
    for distribution, name, build, point in _ALL
    if _is_installed(distribution)
]
