"""Root finds and least squares, from the usual starts, end where they do without us.

The problems are those of J. J. Moré, B. S. Garbow and K. E. Hillstrom, *Testing
unconstrained optimization software*, ACM Transactions on Mathematical Software 7
(1981), with a parameter `a` that is 1 there; and the equation of Bratu.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from eqx_cc import CCChord, EliminationSolver, preaccumulate


def _rosenbrock(y, a):
    return jnp.stack([10 * (y[1] - y[0] ** 2), a - y[0]])


def _freudenstein_roth(y, a):
    u, v = y
    return jnp.stack(
        [
            -13 * a + u + ((5 - v) * v - 2) * v,
            -29 * a + u + ((v + 1) * v - 14) * v,
        ]
    )


def _helical_valley(y, a):
    u, v, w = y
    angle = jnp.arctan2(v, u) / (2 * jnp.pi)
    return jnp.stack([10 * (w - 10 * angle), 10 * (jnp.hypot(u, v) - a), w])


def _powell_singular(y, a):
    p, q, r, s = y
    return jnp.stack(
        [
            p + 10 * q,
            jnp.sqrt(5.0) * (r - s),
            (q - 2 * r) ** 2 + (1 - a),
            jnp.sqrt(10.0) * (p - s) ** 2,
        ]
    )


def _powell_badly_scaled(y, a):
    u, v = y
    return jnp.stack([1e4 * u * v - a, jnp.exp(-u) + jnp.exp(-v) - 1.0001])


def _broyden(y, a):
    left, right = jnp.pad(y[:-1], (1, 0)), jnp.pad(y[1:], (0, 1))
    return (3 - 2 * y) * y - left - 2 * right + a


def _bratu(y, a):
    grid = len(y) + 1
    padded = jnp.pad(y, 1)
    second = (padded[2:] - 2 * y + padded[:-2]) * grid**2
    return second / 10 + a * jnp.exp(y) / 10


def _integral(y, a):
    """A discrete integral equation, with a dense Jacobian."""
    t = jnp.arange(1, len(y) + 1) / (len(y) + 1)
    cubes = (y + t + 1) ** 3
    below = (1 - t) * jnp.cumsum(t * cubes)
    above = t * (jnp.sum((1 - t) * cubes) - jnp.cumsum((1 - t) * cubes))
    return y + a * (below + above) / (2 * (len(y) + 1))


def _brown_badly_scaled(y, a):
    u, v = y
    return jnp.stack([u - 1e6 * a, v - 2e-6, u * v - 2])


def _beale(y, a):
    u, v = y
    power = jnp.arange(1.0, 4.0)
    return jnp.array([1.5, 2.25, 2.625]) * a - u * (1 - v**power)


def _wood(y, a):
    p, q, r, s = y
    return jnp.stack(
        [
            10 * (q - p**2),
            a - p,
            jnp.sqrt(90.0) * (s - r**2),
            1 - r,
            jnp.sqrt(10.0) * (q + s - 2),
            (q - s) / jnp.sqrt(10.0),
        ]
    )


N = 26
# The start, and the solution if it is one that can be written down.
ROOTS = {
    "rosenbrock": (_rosenbrock, [-1.2, 1.0], [1.0, 1.0]),
    "freudenstein roth": (_freudenstein_roth, [6.0, 3.0], [5.0, 4.0]),
    "helical valley": (_helical_valley, [-1.0, 0.5, 0.0], [1.0, 0.0, 0.0]),
    "powell singular": (_powell_singular, [3.0, -1.0, 0.0, 1.0], [0.0] * 4),
    "powell badly scaled": (_powell_badly_scaled, [0.0, 1.0], None),
    "broyden": (_broyden, [-1.0] * N, None),
    "bratu": (_bratu, [0.0] * N, None),
    "integral equation": (_integral, [t / N * (t / N - 1) for t in range(1, N)], None),
}
LEAST_SQUARES = {
    "brown badly scaled": (_brown_badly_scaled, [1.0, 1.0], [1e6, 2e-6]),
    "beale": (_beale, [1.0, 1.0], [3.0, 0.5]),
    "wood": (_wood, [-3.0, -1.0, -3.0, -1.0], [1.0] * 4),
    "rosenbrock": (_rosenbrock, [-1.2, 1.0], [1.0, 1.0]),
}
CHORD = "broyden", "bratu", "integral equation"
NEWTON = *CHORD, "powell singular"
FAST = "helical valley", "powell singular", "broyden", "integral equation", "wood"


def _names(zoo):
    slow = pytest.mark.slow
    return [n if n in FAST else pytest.param(n, marks=slow) for n in zoo]


def _compare(name, fun, start, expected, solve, solvers):
    """The same points, and derivatives that are those of differences."""
    start = jnp.array(start)

    def value(a, solver, wrap):
        function = preaccumulate(fun) if wrap else fun
        linear = EliminationSolver() if solver is not solvers[0] else None
        adjoint = optx.ImplicitAdjoint(*[] if linear is None else [linear])
        return solve(function, solver, start, a, adjoint=adjoint, max_steps=2000).value

    variants = [*((solver, False) for solver in solvers), (solvers[0], True)]
    direct = jax.jit(lambda a: [value(a, *variant) for variant in variants])
    one = jnp.array(1.0)
    # At the root of this one the Jacobian is singular: it has no derivative.
    if name == "powell singular":
        actual = direct(one)
    else:
        moved = lambda a, v: jax.jvp(lambda a: value(a, *v), (a,), (one,))  # noqa: E731
        both = jax.jit(lambda a: [moved(a, variant) for variant in variants])
        actual, tangents = zip(*both(one))
        h = 1e-5
        before, after = (both(one + s)[0][0] for s in (-h, h))
        difference = (after - before) / (2 * h)
        scale = np.max(np.abs(difference))
        for tangent in tangents:
            np.testing.assert_allclose(
                tangent, difference, rtol=1e-4, atol=1e-4 * scale
            )
    tolerance = 1e-4 if name == "powell singular" else 1e-8
    for other in actual[1:]:
        np.testing.assert_allclose(other, actual[0], rtol=1e-6, atol=tolerance)
    if expected is not None:
        np.testing.assert_allclose(actual[0], expected, rtol=1e-6, atol=tolerance)
    return actual


@pytest.mark.parametrize("name", _names(ROOTS))
def test_roots(name):
    fun, start, expected = ROOTS[name]
    kind = optx.Newton if name in NEWTON else optx.Dogleg
    tol = 1e-7 if name == "powell singular" else 1e-9
    solvers: list[Any] = [
        kind(tol, tol),
        kind(tol, tol, linear_solver=EliminationSolver()),
    ]
    if name in CHORD:
        solvers.append(CCChord(tol, tol))
    actual = _compare(name, fun, start, expected, optx.root_find, solvers)
    np.testing.assert_allclose(fun(actual[1], 1.0), 0.0, atol=1e-7)


@pytest.mark.parametrize("name", _names(LEAST_SQUARES))
def test_least_squares(name):
    kind, tol = optx.LevenbergMarquardt, 1e-10
    solvers = [kind(tol, tol), kind(tol, tol, linear_solver=EliminationSolver())]
    fun, start, expected = LEAST_SQUARES[name]
    _compare(name, fun, start, expected, optx.least_squares, solvers)
