"""An arm with seven joints, in the formats that libraries of robots read.

??? cite "References"

    Franka Robotics, *Denavit-Hartenberg parameters* of the Franka Emika Panda, in the
    documentation of its control interface (the frames of the joints).

    C. Gaz, M. Cognetti, A. Oliva, P. Robuffo Giordano and A. De Luca, *Dynamic
    identification of the Franka Emika Panda robot with retrieval of feasible parameters
    using penalty-based optimization*, IEEE Robotics and Automation Letters 4 (2019)
    4147-4154 (masses, centres and moments of inertia, rounded).
"""

import math
from typing import NamedTuple


class _Link(NamedTuple):
    """A link that turns about its z axis.

    Its frame is turned about the x axis of its parent, in quarter turns, and shifted.
    In metres and kilograms; `inertia` is about the centre of mass, without products.
    """

    quarter_turns: int
    position: tuple[float, float, float]
    mass: float
    centre: tuple[float, float, float]
    inertia: tuple[float, float, float]


_LINKS = (
    _Link(0, (0, 0, 0.333), 4.97, (0.004, 0.002, -0.048), (0.703, 0.707, 0.009)),
    _Link(-1, (0, 0, 0), 0.65, (-0.003, -0.029, 0.003), (0.008, 0.028, 0.026)),
    _Link(1, (0, -0.316, 0), 3.23, (0.028, 0.039, -0.067), (0.037, 0.036, 0.011)),
    _Link(1, (0.0825, 0, 0), 3.59, (-0.053, 0.104, 0.027), (0.026, 0.02, 0.028)),
    _Link(-1, (-0.0825, 0.384, 0), 1.23, (-0.012, 0.041, -0.038), (0.036, 0.03, 0.009)),
    _Link(1, (0, 0, 0), 1.67, (0.06, -0.014, -0.011), (0.002, 0.004, 0.005)),
    _Link(1, (0.088, 0, 0), 0.74, (0.011, -0.004, 0.062), (0.013, 0.01, 0.005)),
)


def urdf() -> str:
    """The arm in URDF: links are "link0" (the base) to "link7"."""
    parts = ['<robot name="panda"><link name="link0"/>']
    for i, link in enumerate(_LINKS, 1):
        roll = link.quarter_turns * math.pi / 2
        ixx, iyy, izz = link.inertia
        parts.append(
            f"""
            <link name="link{i}"><inertial>
              <origin xyz="{_words(link.centre)}" rpy="0 0 0"/>
              <mass value="{link.mass}"/>
              <inertia ixx="{ixx}" iyy="{iyy}" izz="{izz}" ixy="0" ixz="0" iyz="0"/>
            </inertial></link>
            <joint name="joint{i}" type="revolute">
              <origin xyz="{_words(link.position)}" rpy="{roll!r} 0 0"/>
              <parent link="link{i - 1}"/><child link="link{i}"/><axis xyz="0 0 1"/>
              <limit lower="-3" upper="3" effort="87" velocity="2"/>
            </joint>"""
        )
    return "".join([*parts, "</robot>"])


def mjcf() -> str:
    """The arm in MJCF, the format of MuJoCo."""
    bodies = ""
    for link in reversed(_LINKS):
        bodies = f"""
            <body pos="{_words(link.position)}" euler="{90 * link.quarter_turns} 0 0">
              <joint axis="0 0 1"/>
              <inertial mass="{link.mass}" pos="{_words(link.centre)}"
                diaginertia="{_words(link.inertia)}"/>{bodies}
            </body>"""
    return f"<mujoco><worldbody>{bodies}</worldbody></mujoco>"


def _words(numbers: tuple[float, ...]) -> str:
    return " ".join(map(str, numbers))
