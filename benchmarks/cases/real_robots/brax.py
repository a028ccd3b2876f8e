"""Robots of the environments of Brax, as its generalised coordinates have them.

??? cite "Reference"

    C. D. Freeman, E. Frey, A. Raichuk, S. Girgin, I. Mordatch and O. Bachem, *Brax - A
    Differentiable Physics Engine for Large Scale Rigid Body Simulation*, NeurIPS
    Datasets and Benchmarks 2021.
"""

import importlib
import pathlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from .on_demand import cast, Function


def _model(model: str, dtype: Any) -> tuple[Any, Callable]:
    """A system of Brax, and the function from a state to what its dynamics need."""
    brax = importlib.import_module("brax")
    mjcf: Any = importlib.import_module("brax.io.mjcf")
    kinematics: Any = importlib.import_module("brax.kinematics")
    dynamics: Any = importlib.import_module("brax.generalized.dynamics")
    base: Any = importlib.import_module("brax.generalized.base")
    assert brax.__file__ is not None
    path = pathlib.Path(brax.__file__).parent / "envs" / "assets" / f"{model}.xml"
    system = cast(mjcf.load(path), dtype)

    def prepared(state):
        q, qd = state[: system.q_size()], state[system.q_size() :]
        state = base.State.init(q, qd, *kinematics.forward(system, q, qd))
        return dynamics.transform_com(system, state)

    return system, prepared


def positions(dtype: Any) -> Function:
    """The positions of the links of a humanoid."""
    kinematics: Any = importlib.import_module("brax.kinematics")
    system, _ = _model("humanoid", dtype)
    still = jnp.zeros(system.qd_size(), dtype)
    return lambda q: kinematics.forward(system, q, still)[0].pos.reshape(-1)


def bias_forces(dtype: Any) -> Function:
    dynamics: Any = importlib.import_module("brax.generalized.dynamics")
    system, prepared = _model("walker2d", dtype)
    return lambda state: dynamics.inverse(system, prepared(state))


def forward_dynamics(dtype: Any) -> Function:
    """The accelerations without torques."""
    dynamics: Any = importlib.import_module("brax.generalized.dynamics")
    mass: Any = importlib.import_module("brax.generalized.mass")
    system, prepared = _model("walker2d", dtype)

    def fun(state):
        state = prepared(state)
        force = dynamics.forward(system, state, jnp.zeros_like(state.qd))
        return jnp.linalg.solve(mass.matrix(system, state), force)

    return fun
