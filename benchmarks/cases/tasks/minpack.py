"""Problems of the MINPACK-2 test collection.

??? cite "Reference"

    B. M. Averick, R. G. Carter, J. J. Moré and G.-L. Xue, *The MINPACK-2 test
    problem collection*, Argonne National Laboratory MCS-P153-0694 (1992).
"""

import jax.numpy as jnp

from ._task import Task


def human_heart_dipole(x1, x2, x3, x4, x5, x6, x7, x8):
    """Residual of the human heart dipole equations, all eight constants being 1."""
    f1 = x1 + x2 - 1.0
    f2 = x3 + x4 - 1.0
    f3 = x5 * x1 + x6 * x2 - x7 * x3 - x8 * x4 - 1.0
    f4 = x7 * x1 + x8 * x2 + x5 * x3 + x6 * x4 - 1.0

    x57, x68 = x5**2 - x7**2, x6**2 - x8**2
    f5 = x1 * x57 - 2.0 * x3 * x5 * x7 + x2 * x68 - 2.0 * x4 * x6 * x8 - 1.0
    f6 = x3 * x57 - 2.0 * x1 * x5 * x7 + x4 * x68 - 2.0 * x2 * x6 * x8 - 1.0

    a = x5 * (x5**2 - 3.0 * x7**2)
    b = x7 * (x7**2 - 3.0 * x5**2)
    c = x6 * (x6**2 - 3.0 * x8**2)
    d = x8 * (x8**2 - 3.0 * x6**2)
    f7 = x1 * a + x3 * b + x2 * c + x4 * d - 1.0
    f8 = x3 * a - x1 * b + x4 * c - x2 * d - 1.0
    return f1, f2, f3, f4, f5, f6, f7, f8


def propane_combustion(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11):
    """Residual of the combustion of propane in air, in its full formulation."""
    p, air = 40.0, 10.0
    s = jnp.sqrt(p / x11)
    f1 = x1 + x4 - 3.0
    f2 = 2.0 * x1 + x2 + x4 + x7 + x8 + x9 + 2.0 * x10 - air
    f3 = 2.0 * x2 + 2.0 * x5 + x6 + x7 - 8.0
    f4 = 2.0 * x3 + x9 - 4.0 * air
    f5 = x2 * x4 - x1 * x5
    f6 = jnp.sqrt(x2 * x4) - jnp.sqrt(x1) * s * x6
    f7 = jnp.sqrt(x1 * x2) - jnp.sqrt(x4) * x7 * s
    f8 = x1 - x4 * x8 * p / x11
    f9 = x1 * jnp.sqrt(x3) - x4 * x9 * s
    f10 = x1**2 - x4**2 * x10 * p / x11
    f11 = x11 - (x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10)
    return f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11


def gaussian_data_fitting(x):
    r"""Residuals of an exponential and three Gaussians, from eleven parameters.

    $x_1 e^{-t x_5} + \sum_{k=2}^4 x_k e^{-(t - x_{k+7})^2 x_{k+4}} - y(t)$, at
    seven times, for smooth synthetic data $y$.
    """
    t = jnp.linspace(0.0, 6.0, 7, dtype=x.dtype)
    data = 1.0 / (1.0 + t)
    height, width, centre = x[1:4, None], x[5:8, None], x[8:11, None]
    bells = height * jnp.exp(-((t[None, :] - centre) ** 2) * width)
    return x[0] * jnp.exp(-t * x[4]) + jnp.sum(bells, axis=0) - data


def steady_state_combustion(u):
    r"""Residual of $-\Delta u = \lambda e^u$ with $u = 0$ around a square.

    Five-point differences on a grid of the shape of `u`, with $\lambda = 5$.
    """
    spacing = 1.0 / (u.shape[0] + 1)
    padded = jnp.pad(u, 1)
    neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2]
    neighbours = neighbours + padded[1:-1, 2:]
    return (4.0 * u - neighbours) / spacing**2 - 5.0 * jnp.exp(u)


TASKS = {
    "HumanHeartDipole": Task(
        human_heart_dipole, (0.3, 0.7, -0.2, 1.2, 1.1, 0.4, -0.6, 0.8)
    ),
    "PropaneCombustion": Task(
        propane_combustion,
        (2.5, 3.0, 30.0, 0.5, 0.9, 0.05, 0.8, 0.1, 1.1, 0.2, 39.0),
    ),
    "GaussianDataFitting": Task(
        gaussian_data_fitting,
        ([1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5],),
    ),
    "SteadyStateCombustion": Task(
        steady_state_combustion,
        ([[0.1, 0.2, 0.1], [0.2, 0.4, 0.2], [0.1, 0.2, 0.3]],),
    ),
}
