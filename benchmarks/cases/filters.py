"""The measurements that an extended Kalman filter linearises at every step.

??? cite "Reference"

    Y. Bar-Shalom, X. R. Li and T. Kirubarajan, *Estimation with Applications to
    Tracking and Navigation*, Wiley 2001, chapter 10 (range, bearings and range rate).
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._case import Case, Constant


class Measurement(eqx.Module):
    """Range, two bearings and range rate of each landmark, as a vehicle sees them.

    Its twelve states: position, velocity, roll, pitch and yaw, and the errors of its
    sensors, of which the bearings share one.
    """

    landmarks: Float[Constant, "landmarks 3"]

    def __call__(self, state: Float[Array, "12"]) -> Float[Array, " 4*landmarks"]:
        position, velocity, angles, errors = jnp.split(state, 4)
        sight = self.landmarks - position[None]
        span = jnp.sqrt(jnp.sum(sight**2, axis=1))
        local = sight @ _attitude(angles)
        azimuth = jnp.arctan2(local[:, 1], local[:, 0]) + errors[1]
        elevation = jnp.arcsin(local[:, 2] / span) + errors[1]
        rate = -(sight @ velocity) / span
        measured = [span + errors[0], azimuth, elevation, rate + errors[2]]
        return jnp.concatenate(measured)


def _attitude(angles):
    """From the axes of the vehicle to those of the world."""
    (cr, cp, cy), (sr, sp, sy) = jnp.cos(angles), jnp.sin(angles)
    return jnp.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


_LANDMARKS = np.array(
    [[9.0, 3.0, 1.0], [-4.0, 8.0, 2.0], [2.0, -7.0, 0.5], [6.0, 6.0, 5.0]]
)
_STATE = np.array([0.5, -0.2, 0.1, 1.0, 0.3, -0.1, 0.05, -0.1, 0.7, 0.2, 0.01, 0.05])

CASES = [Case("Kalman measurements", "filters", Measurement(_LANDMARKS), _STATE)]
