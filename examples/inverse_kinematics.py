"""Joint angles that bring the tool of a robot arm to a pose.

By Newton's method, which is written out here, and by that of Levenberg and Marquardt.
Every iteration takes the Jacobian of the forward kinematics, which is most of its work.
See section 3.7 of B. Siciliano, L. Sciavicco, L. Villani and G. Oriolo, *Robotics:
Modelling, Planning and Control*, Springer 2009.
"""

# %% imports
import functools as ft

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)

# %% arm
LENGTH = (0.175, 0.89, 0.05, 0.0, 0.0, 0.0)  # In metres.
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


def pose(q: Float[Array, "6"]) -> Float[Array, "3 4"]:
    links = zip(q, LENGTH, TWIST, OFFSET)
    return ft.reduce(jnp.matmul, [link(*own) for own in links])[:3]


# %% newton
def misfit(q: Float[Array, "6"], target: Float[Array, "3 4"]) -> Float[Array, "6"]:
    """How far the tool is from its target, and how far it is turned away from it."""
    now = pose(q)
    turned = jnp.cross(now[:, :3].T, target[:, :3].T).sum(axis=0) / 2
    return jnp.concatenate([now[:, 3] - target[:, 3], -turned])


@eqx.filter_jit
def newton(q: Float[Array, "6"], target: Float[Array, "3 4"]):
    def step(q, _):
        value, jacobian = eqx_cc.filter_value_and_jacobian(misfit)(q, target)
        return q - jnp.linalg.solve(jacobian, value), jnp.max(jnp.abs(value))

    return jax.lax.scan(step, q, length=6)


# %% solve
def error(q, target):
    return pose(q) - target


@eqx.filter_jit
def angles(target, guess):
    solver = optx.LevenbergMarquardt(
        rtol=1e-10, atol=1e-10, linear_solver=eqx_cc.EliminationSolver()
    )
    return optx.least_squares(error, solver, guess, target, max_steps=100)


# %% run
truth = jnp.array([0.3, -0.5, 0.7, 0.2, 0.9, -0.4])
q, misfits = newton(truth + 0.1, pose(truth))
for iteration, size in enumerate(misfits):
    print(f"Newton, iteration {iteration}: misfit {size:.0e}")

# %% least
found = angles(pose(truth), truth + 0.2)
remaining = jnp.max(jnp.abs(error(found.value, pose(truth))))
print(f"Levenberg and Marquardt: {found.stats['num_steps']} iterations")
print(f"Largest error of the pose: {remaining:.0e}")
