"""Forward kinematics of an industrial arm with six revolute joints.

??? cite "References"

    B. Siciliano et al., *Robotics: Modelling, Planning and Control*, Springer 2009,
    chapter 2 (Denavit-Hartenberg frames and Euler angles).

    J. Lohoff and E. Neftci, *Optimizing Automatic Differentiation with Deep
    Reinforcement Learning*, NeurIPS 2024 (the benchmark).
"""

import jax.numpy as jnp

from ._task import Task


A1, A2, A3 = 175.0, 890.0, 50.0
D1, D4, D6 = 575.0, 1035.0, 185.0


def robot_arm_6dof(t1, t2, t3, t4, t5, t6):
    """Position (millimetres) and Tait-Bryan angles of the tool, from joint angles.

    The sign of `c1 s4` inside the second position is a plus, as published, where
    the approach vector has a minus.
    """
    c1, c2, c4, c5, c6 = (jnp.cos(t) for t in (t1, t2, t4, t5, t6))
    c23 = jnp.cos(t2) * jnp.cos(t3) - jnp.sin(t2) * jnp.sin(t3)
    s1, s2, s4, s5, s6 = (jnp.sin(t) for t in (t1, t2, t4, t5, t6))
    s23 = jnp.cos(t2) * jnp.sin(t3) + jnp.sin(t2) * jnp.cos(t3)

    ax = s5 * (c1 * c23 * c4 + s1 * s4) + c1 * s23 * c5
    ay = s5 * (s1 * c23 * c4 - c1 * s4) + s1 * s23 * c5
    az = s23 * c4 * s5 - c23 * c5
    nz = c6 * (c23 * s5 + s23 * c4 * c5) - s23 * s4 * s6
    oz = -s6 * (c23 * s5 + s23 * c4 * c5) - s23 * s4 * c6

    yaw = jnp.arctan2(ay, ax)
    pitch = jnp.arctan2(jnp.sqrt(1 - az**2), az)
    roll = jnp.arctan2(oz, -nz)

    px = D6 * (s5 * (c1 * c23 * c4 + s1 * s4) + c1 * s23 * c5) + c1 * (
        A1 + A2 * c2 + A3 * c23 + D4 * s23
    )
    py = D6 * (s5 * (s1 * c23 * c4 + c1 * s4) + s1 * s23 * c5) + s1 * (
        A1 + A2 * c2 + A3 * c23 + D4 * s23
    )
    pz = A2 * s2 + D1 + A3 * s23 - D4 * c23 + D6 * (s23 * c4 * s5 - c23 * c5)
    return px, py, pz, yaw, pitch, roll


TASKS = {
    "RobotArm_6DOF": Task(robot_arm_6dof, (0.3, -0.5, 0.7, 0.2, 0.9, -0.4)),
}
