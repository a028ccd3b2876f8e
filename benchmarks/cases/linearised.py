"""Filters, flows and least squares, of which the Jacobian is nearly all the work.

As in `examples/`, in the sizes that such problems have.
"""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx

from .robots import Arm


def move(state, dt=0.1):
    """A coordinated turn in space: positions, speeds, headings and their rates."""
    x, y, z, heading, climb, speed, turn, pitch, drag = state
    middle, up = heading + turn * dt / 2, climb + pitch * dt / 2
    along = speed * jnp.cos(up) * dt
    return jnp.stack(
        [
            x + along * jnp.cos(middle),
            y + along * jnp.sin(middle),
            z + speed * jnp.sin(up) * dt,
            heading + turn * dt,
            climb + pitch * dt,
            speed * jnp.exp(-drag * speed * dt),
            turn,
            pitch,
            drag,
        ]
    )


def measure(state):
    """Range, bearing, elevation and the rate of the range."""
    x, y, z, heading, climb, speed = state[:6]
    flat = jnp.hypot(x, y)
    reach = jnp.hypot(flat, z)
    velocity = speed * (
        jnp.cos(climb) * (x * jnp.cos(heading) + y * jnp.sin(heading))
        + jnp.sin(climb) * z
    )
    angles = jnp.arctan2(y, x), jnp.arctan2(z, flat)
    return jnp.stack([reach, *angles, velocity / reach])


def _filter(linearise: Callable) -> Callable:
    """An extended Kalman filter over 200 measurements."""
    noise, sensor = 1e-4 * jnp.eye(9), 1e-3 * jnp.eye(4)

    def step(belief, observed):
        mean, cov = belief
        mean, F = linearise(move)(mean)
        cov = F @ cov @ F.T + noise
        expected, H = linearise(measure)(mean)
        gain = jnp.linalg.solve(H @ cov @ H.T + sensor, H @ cov).T
        mean, cov = mean + gain @ (observed - expected), cov - gain @ H @ cov
        return (mean, cov), mean

    def run(observations):
        start = jnp.array([9.0, 2.0, 3.0, 1.0, 0.1, 1.0, 0.1, 0.0, 0.01])
        return jax.lax.scan(step, (start, jnp.eye(9)), observations)[1]

    return run


def _observations():
    start = jnp.array([10.0, 1.0, 2.0, 1.5, 0.1, 1.0, 0.1, 0.0, 0.01])
    _, truth = jax.lax.scan(lambda s, _: (move(s), move(s)), start, length=200)
    return jax.vmap(measure)(truth) + 0.01 * jr.normal(jr.key(0), (200, 4))


def _flow(linearise: Callable) -> Callable:
    """The logarithms of the density of a continuous normalising flow with the exact
    trace, 16 dimensions, at 32 points."""
    network = eqx.nn.MLP(16, 16, 32, 2, jnp.tanh, key=jr.key(0))

    def field(t, state, args):
        velocity, jacobian = linearise(network)(state[0])
        return velocity, jnp.trace(jacobian)

    def density(x):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Tsit5(),
            1.0,
            0.0,
            -0.1,
            (x, jnp.zeros(())),
            stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-5),
        )
        assert solution.ys is not None
        return jnp.sum(solution.ys[0][0] ** 2) + solution.ys[1][0]

    return jax.vmap(density)


def _kinematics(linearise: Callable) -> Callable:
    """The angles of an arm with six joints for a pose, by Levenberg-Marquardt."""
    arm = Arm()
    fun: Any = lambda q, target: arm(q) - target  # noqa: E731
    ours = linearise is eqx_cc.filter_value_and_jacobian
    kwargs: dict[str, Any] = (
        {"linear_solver": eqx_cc.EliminationSolver()} if ours else {}
    )
    solver = optx.LevenbergMarquardt(1e-9, 1e-9, **kwargs)

    def run(truth):
        target = arm(truth)
        solution = optx.least_squares(fun, solver, truth + 0.2, target, max_steps=200)
        return arm(solution.value)

    return run


def with_jax(fun: Callable) -> Callable:
    """The value and the Jacobian by forward mode, which share their work."""

    def run(x):
        def both(x):
            value = fun(x)
            return value, value

        jacobian, value = jax.jacfwd(both, has_aux=True)(x)
        return value, jacobian

    return run


LINEARISED: dict[str, tuple[Callable, Callable]] = {
    "extended Kalman filter": (_filter, _observations),
    "trace of a normalising flow": (_flow, lambda: jr.normal(jr.key(1), (32, 16))),
    "inverse kinematics": (_kinematics, lambda: jnp.asarray(np.linspace(-0.6, 0.9, 6))),
}
