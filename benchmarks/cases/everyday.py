"""Functions of a few dozen numbers, of kinds that the default has once lost with.

Each is the sample of a kind: orders of equal counts, sweeps through loops, linear
systems, functions so small that a call takes longer than they do.

??? cite "Reference"

    A. G. Barto, R. S. Sutton and C. W. Anderson, *Neuronlike adaptive elements that can
    solve difficult learning control problems*, IEEE Transactions on Systems, Man, and
    Cybernetics 13, 1983 (the cart and its pole). L. Luksan and J. Vlcek, *Sparse and
    partially separable test problems for unconstrained and equality constrained
    optimization*, 1999 (the residuals of "residuals in sixes").
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._case import Case


def residuals_in_sixes(x):
    """Six residuals of every five neighbours: all orders take as many
    multiplications."""
    first = 3 * jnp.arange((x.size - 2) // 3)
    a, b, c, d, e = (x[first + k] for k in range(5))
    bent = 10 * a**2 - 10 * b
    waves = d * a**2 + jnp.sin(d - e)
    rows = [bent, c - 1, (d - 1) ** 2, (e - 1) ** 3, waves, c**4 * d**2 + b]
    return jnp.stack(rows, axis=1).ravel()


def cart_and_pole(state, force):
    """The state after a step of 0.02 seconds."""
    _, angle, speed, turning = state
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    push = (force + 0.05 * turning**2 * sine) / 1.1
    bend = (9.81 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    rates = [speed, turning, push - 0.05 * bend * cosine / 1.1, bend]
    return state + 0.02 * jnp.stack(rates)


def rollout(forces):
    """All states of the cart."""

    def step(state, force):
        state = cart_and_pole(state, force)
        return state, state

    return lax.scan(step, jnp.array([0.0, 0.1, 0.0, 0.0], forces.dtype), forces)[1]


def last_state(state):
    step = lambda state, _: (cart_and_pole(state, 0.1), None)  # noqa: E731
    return lax.scan(step, state, None, length=100)[0]


def multiple_shooting(states):
    """The gaps between trajectories of ten steps."""
    step = lambda state, _: (cart_and_pole(state, 0.1), None)  # noqa: E731
    end = jax.vmap(lambda state: lax.scan(step, state, None, length=10)[0])
    return (end(states[:-1]) - states[1:]).ravel()


def kalman_smoother(observed):
    """The smoothed states by what was observed of them."""
    dtype = observed.dtype
    move = jnp.eye(4, dtype=dtype) + 0.1 * jnp.eye(4, k=2, dtype=dtype)
    see, noise = jnp.eye(2, 4, dtype=dtype), 0.01 * jnp.eye(4, dtype=dtype)

    def forward(carry, observation):
        mean, cov = carry
        mean, cov = move @ mean, move @ cov @ move.T + noise
        spread = see @ cov @ see.T + 0.1 * jnp.eye(2, dtype=dtype)
        gain = jnp.linalg.solve(spread, see @ cov).T
        new = mean + gain @ (jnp.sin(observation) - see @ mean), cov - gain @ see @ cov
        return new, (*new, mean, cov)

    def backward(later, each):
        mean, cov, moved, spread = each
        gain = cov @ move.T @ jnp.linalg.inv(spread)
        smoothed = mean + gain @ (later - moved)
        return smoothed, smoothed

    start = jnp.zeros(4, dtype), jnp.eye(4, dtype=dtype)
    _, (mean, cov, moved, spread) = lax.scan(forward, start, observed)
    steps = mean[:-1], cov[:-1], moved[1:], spread[1:]
    return lax.scan(backward, mean[-1], steps, reverse=True)[1]


def pendulum_with_links(state):
    """The rates of four links, by their angles and momenta: a linear system inside."""
    angles, rates = jnp.split(state, 2)
    number = np.arange(4)
    links = jnp.asarray(4 - np.maximum.outer(number, number), state.dtype)
    between = angles[:, None] - angles[None]
    mass = jnp.cos(between) * links + 0.1 * jnp.eye(4, dtype=state.dtype)
    force = -jnp.sin(between) @ rates**2 - 9.81 * jnp.sin(angles)
    return jnp.concatenate([rates, jnp.linalg.solve(mass, force)])


def running_products(x):
    def combine(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    return lax.associative_scan(combine, (jnp.sin(x), x))[1]


def gaussian_process(query):
    """The mean of a Gaussian process at ten points."""
    rng = np.random.default_rng(0)
    places = jnp.asarray(rng.random((30, 3)), query.dtype)

    def kernel(a, b):
        return jnp.exp(-0.5 * jnp.sum((a[:, None] - b[None]) ** 2, axis=-1))

    covariance = kernel(places, places) + 0.01 * jnp.eye(30, dtype=query.dtype)
    return kernel(query, places) @ jnp.linalg.solve(covariance, jnp.sin(places[:, 0]))


def pose_graph(poses):
    """The errors of the way from each pose to the next."""
    step, angle = poses[1:] - poses[:-1], poses[:-1, 2]
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    along = cosine * step[:, 0] + sine * step[:, 1] - 1
    across = cosine * step[:, 1] - sine * step[:, 0]
    return jnp.stack([along, across, step[:, 2] - 0.1], axis=1).ravel()


def epidemic(groups):
    """Susceptible, exposed, infected and removed, in several groups."""
    healthy, exposed, ill, _ = groups
    infected = 0.3 * healthy * jnp.sum(ill) / jnp.sum(groups)
    falls_ill, heals = 0.2 * exposed, 0.1 * ill
    return jnp.stack([-infected, infected - falls_ill, falls_ill - heals, heals])


def three_bodies(state):
    """The restricted problem of three bodies, in the plane."""
    x, y, u, v = state
    near = ((x + 0.012) ** 2 + y**2) ** 1.5
    far = ((x - 0.988) ** 2 + y**2) ** 1.5
    pull_x = 0.988 * (x + 0.012) / near + 0.012 * (x - 0.988) / far
    pull_y = 0.988 * y / near + 0.012 * y / far
    return jnp.stack([u, v, x + 2 * v - pull_x, y - 2 * u - pull_y])


def lorenz_96(x):
    return (jnp.roll(x, -1) - jnp.roll(x, 2)) * jnp.roll(x, 1) - x + 8


_RNG = np.random.default_rng(0)
_ONCE = "call", "loop"

CASES = [
    Case(name, "everyday", fun, point, _ONCE)
    for name, fun, point in [
        ("residuals in sixes, 98", residuals_in_sixes, _RNG.random(98)),
        ("cart and pole, a step", lambda x: cart_and_pole(x, 0.1), _RNG.random(4)),
        ("cart and pole, all states", rollout, _RNG.random(100)),
        ("cart and pole, last state", last_state, 0.1 * _RNG.random(4)),
        ("multiple shooting", multiple_shooting, 0.1 * _RNG.random((10, 4))),
        ("Kalman smoother", kalman_smoother, _RNG.random((30, 2))),
        ("pendulum with four links", pendulum_with_links, _RNG.random(8)),
        ("associative scan, 64", running_products, _RNG.random(64)),
        ("Gaussian process", gaussian_process, _RNG.random((10, 3))),
        ("pose graph, 20", pose_graph, _RNG.random((20, 3))),
        ("pose graph, 100", pose_graph, _RNG.random((100, 3))),
        ("epidemic, 20 groups", epidemic, _RNG.random((4, 20))),
        ("three bodies", three_bodies, _RNG.random(4)),
        ("Lorenz 96, 40", lorenz_96, _RNG.random(40)),
    ]
]
