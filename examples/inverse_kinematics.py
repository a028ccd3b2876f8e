"""Joint angles that bring the tool of a robot arm to a pose, by least squares.

Every iteration of Levenberg and Marquardt takes the Jacobian of the forward kinematics,
which is most of its work.
See section 3.7 of B. Siciliano, L. Sciavicco, L. Villani and G. Oriolo, *Robotics:
Modelling, Planning and Control*, Springer 2009.
"""

import functools as ft

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)
LENGTH = (0.175, 0.89, 0.05, 0.0, 0.0, 0.0)
TWIST = (1, 0, 1, -1, 1, 0)  # In quarter turns.
OFFSET = (0.575, 0.0, 0.0, 1.035, 0.0, 0.185)


def link(angle, length, twist, offset):
    """The transform of a link, with the parameters of Denavit and Hartenberg."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    ca, sa = (1, 0, -1, 0)[twist % 4], (0, 1, 0, -1)[twist % 4]
    return jnp.array(
        [
            [cos, -sin * ca, sin * sa, length * cos],
            [sin, cos * ca, -cos * sa, length * sin],
            [0.0, sa, ca, offset],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


# --8<-- [start:solve]
def pose(q: Float[Array, "6"]) -> Float[Array, "3 4"]:
    links = zip(q, LENGTH, TWIST, OFFSET)
    return ft.reduce(jnp.matmul, [link(*own) for own in links])[:3]


def error(q, target):
    return pose(q) - target


@eqx.filter_jit
def angles(target, guess):
    solver = optx.LevenbergMarquardt(
        rtol=1e-10, atol=1e-10, linear_solver=eqx_cc.EliminationSolver()
    )
    return optx.least_squares(error, solver, guess, target, max_steps=100)


# --8<-- [end:solve]

truth = jnp.array([0.3, -0.5, 0.7, 0.2, 0.9, -0.4])
found = angles(pose(truth), truth + 0.2)
print(f"Iterations: {found.stats['num_steps']}")
remaining = jnp.max(jnp.abs(error(found.value, pose(truth))))
print(f"Largest error of the pose: {remaining:.0e}")
