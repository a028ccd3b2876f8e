"""Robots: the position and the dynamics of serial arms.

??? cite "References"

    B. Siciliano, L. Sciavicco, L. Villani and G. Oriolo, *Robotics: Modelling, Planning
    and Control*, Springer 2009, section 2.8 (Denavit-Hartenberg) and 7.5 (recursive
    Newton-Euler).

    J. Y. S. Luh, M. W. Walker and R. P. C. Paul, *On-line computational scheme for
    mechanical manipulators*, Journal of Dynamic Systems, Measurement, and Control 102
    (1980) 69-76.

    M. W. Walker and D. E. Orin, *Efficient dynamic computer simulation of robotic
    mechanisms*, ibid. 104 (1982) 205-211 (the mass matrix, a column at a time).
"""

import functools as ft

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._case import Case, Constant


class Arm(eqx.Module):
    """The first three rows of the homogeneous transform of the tool of an arm of
    revolute joints, the product of one transform for each link.

    The twists are quarter turns; lengths are in metres.
    """

    length: tuple[float, ...] = (0.175, 0.89, 0.05, 0.0, 0.0, 0.0)
    quarter_turns: tuple[int, ...] = (1, 0, 1, -1, 1, 0)
    offset: tuple[float, ...] = (0.575, 0.0, 0.0, 1.035, 0.0, 0.185)

    def __call__(self, q: Float[Array, "6"]) -> Float[Array, "12"]:
        links = zip(q, self.length, self.quarter_turns, self.offset)
        transform = ft.reduce(jnp.matmul, [_link(*link) for link in links])
        return transform[:3].reshape(12)


def _link(angle, length, turns, offset):
    """The transform of a link: a turn about z, shifts along z and x, a turn about x."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    ca, sa = (1, 0, -1, 0)[turns % 4], (0, 1, 0, -1)[turns % 4]
    return jnp.array(
        [
            [cos, -sin * ca, sin * sa, length * cos],
            [sin, cos * ca, -cos * sa, length * sin],
            [0.0, sa, ca, offset],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


class Robot(eqx.Module):
    """The rigid links of an arm of revolute joints about their own z axes.

    `fixed` turns each joint's frame into its parent's at angle zero; `position` is that
    of the joint in its parent's frame, `centre` that of the mass in the link's own.
    """

    fixed: Float[Constant, "links 3 3"]
    position: Float[Constant, "links 3"]
    mass: Float[Constant, " links"]
    centre: Float[Constant, "links 3"]
    inertia: Float[Constant, "links 3 3"]

    def inverse_dynamics(self, q, qd, qdd, gravity=9.81):
        """The torques that it takes, by recursive Newton-Euler."""
        axis = jnp.array([0.0, 0.0, 1.0], q.dtype)
        w = wd = jnp.zeros(3, q.dtype)
        a = gravity * axis  # The base is accelerated upwards in place of gravity.
        turns, wrenches = [], []
        for i in range(len(self.mass)):
            turn = self.fixed[i] @ _turn(q[i])
            a = a + jnp.cross(wd, self.position[i])
            a = turn.T @ (a + jnp.cross(w, jnp.cross(w, self.position[i])))
            w_parent = turn.T @ w
            w = w_parent + qd[i] * axis
            wd = turn.T @ wd + qdd[i] * axis + jnp.cross(w_parent, qd[i] * axis)
            centre = self.centre[i]
            ac = a + jnp.cross(wd, centre) + jnp.cross(w, jnp.cross(w, centre))
            force = self.mass[i] * ac
            moment = self.inertia[i] @ wd + jnp.cross(w, self.inertia[i] @ w)
            turns.append(turn)
            wrenches.append((force, moment + jnp.cross(centre, force)))
        return jnp.stack(self._torques(turns, wrenches))

    def _torques(self, turns, wrenches):
        """From the wrenches that accelerate the links to the torques, tip to base."""
        force = moment = jnp.zeros_like(wrenches[0][0])
        torques = []
        for i in reversed(range(len(wrenches))):
            force, moment = force + wrenches[i][0], moment + wrenches[i][1]
            torques.append(moment[2])
            force, moment = turns[i] @ force, turns[i] @ moment
            moment = moment + jnp.cross(self.position[i], force)
        return torques[::-1]

    def forward_dynamics(self, q, qd, torque):
        """The accelerations: the mass matrix is solved with what is left of the torque
        when the arm does not accelerate."""

        def column(qdd):
            return self.inverse_dynamics(q, 0.0 * qd, qdd, gravity=0.0)

        mass = jax.vmap(column)(jnp.eye(len(self.mass), dtype=q.dtype))
        bias = self.inverse_dynamics(q, qd, jnp.zeros_like(q))
        return jnp.linalg.solve(mass, torque - bias)


def _turn(angle):
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


class InverseDynamics(eqx.Module):
    """Torques from joint angles, velocities and accelerations."""

    robot: Robot

    def __call__(self, motion):
        q, qd, qdd = motion
        return self.robot.inverse_dynamics(q, qd, qdd)


class ForwardDynamics(eqx.Module):
    """The derivative of the state, angles and velocities, at given torques."""

    robot: Robot
    torque: Float[Constant, " links"]

    def __call__(self, state):
        q, qd = jnp.split(state, 2)
        return jnp.concatenate([qd, self.robot.forward_dynamics(q, qd, self.torque)])


def seven_links() -> Robot:
    """An arm of the size of a human one: shoulder, elbow and wrist, redundant."""
    back, forth = [[1, 0, 0], [0, 0, 1], [0, -1, 0]], [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    fixed = np.array([np.eye(3), back, forth, forth, back, forth, forth], float)
    lengths = (0.33, 0.0, 0.32, 0.08, 0.38, 0.0, 0.09)
    position = np.array([[0.01 * i, 0.0, z] for i, z in enumerate(lengths)])
    draw = np.random.default_rng(0)
    centre = draw.uniform(-0.05, 0.05, (7, 3))
    factor = draw.uniform(-0.1, 0.1, (7, 3, 3))
    inertia = factor @ factor.transpose(0, 2, 1) + 0.01 * np.eye(3)
    mass = np.linspace(4.5, 0.8, 7)
    return Robot(fixed, position, mass, centre, inertia)


_Q = np.array([0.3, -0.5, 0.7, 0.2, 0.9, -0.4])
_Q7, _V7 = np.linspace(-1.2, 1.5, 7), np.linspace(0.8, -0.6, 7)

CASES = [
    Case("6-DOF arm, matrices", "robots", Arm(), _Q),
    Case(
        "7-DOF inverse dynamics",
        "robots",
        InverseDynamics(seven_links()),
        (_Q7, _V7, np.linspace(-0.5, 0.5, 7)),
    ),
    Case(
        "7-DOF forward dynamics",
        "robots",
        ForwardDynamics(seven_links(), np.linspace(5.0, -1.0, 7)),
        np.concatenate([_Q7, _V7]),
        settings=("call", "loop", "batch 512"),
    ),
]
