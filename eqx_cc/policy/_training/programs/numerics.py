"""Linear algebra, solves, filters, and iterations."""

from __future__ import annotations

import itertools as it
import random

import jax.numpy as jnp

from .draft import constants, Draft


def solve(rng: random.Random) -> Draft:
    """A linear system with entries that depend on parameters."""
    n, m = rng.randint(2, 4), rng.randint(1, 4)
    maps = constants(rng, n, n, m)

    def fun(p, b):
        matrix = jnp.tensordot(maps, jnp.sin(p), 1) + 4.0 * jnp.eye(n, dtype=p.dtype)
        return [jnp.linalg.solve(matrix, b)]

    return Draft(fun, ((m,), (n,)))


def kalman(rng: random.Random) -> Draft:
    """Predicts and updates the mean and the covariance of a filter."""
    n, m = rng.randint(2, 4), rng.randint(1, 2)
    transition, measure = constants(rng, n, n), constants(rng, m, n)

    def fun(mean, covariance, observed):
        mean, covariance = transition @ mean, transition @ covariance @ transition.T
        covariance = covariance + 0.1 * jnp.eye(n, dtype=mean.dtype)
        spread = measure @ covariance @ measure.T + jnp.eye(m, dtype=mean.dtype)
        gain = jnp.linalg.solve(spread, measure @ covariance).T
        mean = mean + gain @ (observed - measure @ mean)
        return [mean, covariance - gain @ measure @ covariance]

    return Draft(fun, ((n,), (n, n), (m,)))


def extended_kalman(rng: random.Random) -> Draft:
    """Tracks a point by range and bearing, entry by entry."""
    steps = rng.randint(1, 2)

    def fun(state, variances, observed):
        x, y, speed, heading = state
        var = list(variances)
        for i in range(steps):
            x, y = x + speed * jnp.cos(heading), y + speed * jnp.sin(heading)
            r2 = x * x + y * y
            gaps = (
                observed[2 * i] - jnp.sqrt(r2),
                observed[2 * i + 1] - jnp.arctan2(y, x),
            )
            slopes = x / jnp.sqrt(r2), y / jnp.sqrt(r2), -y / r2, x / r2
            spread = [
                slopes[0] ** 2 * var[0] + slopes[1] ** 2 * var[1] + 0.1,
                slopes[2] ** 2 * var[0] + slopes[3] ** 2 * var[1] + 0.1,
            ]
            gains = [var[k % 2] * slopes[k] / spread[k // 2] for k in range(4)]
            x = x + gains[0] * gaps[0] + gains[2] * gaps[1]
            y = y + gains[1] * gaps[0] + gains[3] * gaps[1]
            var = [v * (1.0 - gains[k] * slopes[k]) for k, v in enumerate(var)]
        return [jnp.stack([x, y, speed, heading]), jnp.stack(var)]

    return Draft(fun, ((4,), (2,), (2 * steps,)))


def factorisation(rng: random.Random) -> Draft:
    """Cholesky's factor of a small matrix, entry by entry, and a substitution."""
    n, substitute = rng.randint(2, 5), rng.random() < 0.6

    def fun(matrix, b):
        factor: dict[tuple[int, int], jnp.ndarray] = {}
        for j in range(n):
            rest = sum((factor[j, k] ** 2 for k in range(j)), 0.0)
            factor[j, j] = jnp.sqrt(matrix[j, j] - rest)
            for i in range(j + 1, n):
                rest = sum((factor[i, k] * factor[j, k] for k in range(j)), 0.0)
                factor[i, j] = (matrix[i, j] - rest) / factor[j, j]
        if not substitute:
            return [jnp.stack(list(factor.values()))]
        y: list = []
        for i in range(n):
            rest = sum((factor[i, k] * y[k] for k in range(i)), 0.0)
            y.append((b[i] - rest) / factor[i, i])
        return [jnp.stack(y)]

    return Draft(fun, ((n, n), (n,)))


def orthogonalised(rng: random.Random) -> Draft:
    """Gram and Schmidt's orthogonalisation of a few vectors."""
    n, dim = rng.randint(2, 3), rng.randint(3, 4)

    def fun(vectors):
        basis: list = []
        for i in range(n):
            v = vectors[i]
            for b in basis:
                v = v - jnp.sum(b * v) * b
            basis.append(v / jnp.sqrt(jnp.sum(v * v)))
        return [jnp.stack(basis)]

    return Draft(fun, ((n, dim),))


def matrix_chain(rng: random.Random) -> Draft:
    """A product of matrices of different shapes, with something in between."""
    sizes = [rng.randint(1, 5) for _ in range(rng.randint(3, 5))]
    curved = [rng.random() < 0.4 for _ in sizes]

    def fun(*matrices):
        product = matrices[0]
        for matrix, curve in zip(matrices[1:], curved):
            product = (jnp.sin(product) if curve else product) @ matrix
        return [product]

    return Draft(fun, tuple(it.pairwise(sizes)))


def small_inverse(rng: random.Random) -> Draft:
    """The inverse of a 3 x 3 matrix by cofactors, or the stress of a material."""
    stress = rng.random() < 0.6

    def fun(a):
        cofactors = jnp.stack(
            [jnp.cross(a[1], a[2]), jnp.cross(a[2], a[0]), jnp.cross(a[0], a[1])]
        )
        det = jnp.sum(a[0] * cofactors[0])
        inverse = cofactors.T / det
        if not stress:
            return [inverse]
        log = jnp.log(det)
        return [0.6 * (a - inverse.T) + 0.8 * log * inverse.T]

    return Draft(fun, ((3, 3),))


def newton(rng: random.Random) -> Draft:
    """Unrolled Newton steps for a system of two equations, or for one."""
    steps, single = rng.randint(1, 4), rng.random() < 0.5

    def fun(x, p):
        u, v = x[0], x[1]
        for _ in range(steps):
            f = u * u * p[0] + jnp.sin(v) - p[1]
            if single:
                u = u - f / (2.0 * u * p[0])
                continue
            g = jnp.exp(-u) + v * p[2] - p[3]
            a, b, c, d = 2.0 * u * p[0], jnp.cos(v), -jnp.exp(-u), p[2]
            det = a * d - b * c
            u, v = u - (d * f - b * g) / det, v - (a * g - c * f) / det
        return [jnp.stack([u, v])]

    return Draft(fun, ((2,), (4,)))


def polynomial(rng: random.Random) -> Draft:
    """Horner's rule, or a recurrence of orthogonal polynomials, at several points."""
    n, points = rng.randint(3, 8), rng.randint(1, 3)
    recurrence = rng.random() < 0.5

    def fun(x, coefficients):
        if not recurrence:
            value = jnp.zeros_like(x)
            for i in range(n):
                value = value * x + coefficients[i]
            return [value]
        old, new = jnp.ones_like(x), x
        value = coefficients[0] * old
        for i in range(1, n):
            value = value + coefficients[i] * new
            old, new = new, 2.0 * x * new - old
        return [value]

    return Draft(fun, ((points,), (n,)))


def least_squares(rng: random.Random) -> Draft:
    """The residuals of a model of peaks, bends or decays at known points."""
    n, points, kind = rng.randint(1, 3), rng.randint(2, 6), rng.randrange(3)
    wave = (lambda z: jnp.exp(-z * z), jnp.tanh, lambda z: jnp.exp(-z))[kind]

    def fun(height, rate, centre):
        rows = []
        for k in range(points):
            t, value = 0.3 + 0.7 * k, 0.0
            for i in range(n):
                z = rate[i] * (t - centre[i])
                value = value + height[i] * wave(z)
            rows.append(value - 0.5)
        return [jnp.stack(rows)]

    return Draft(fun, ((n,), (n,), (n,)))


FAMILIES = (
    solve,
    kalman,
    extended_kalman,
    factorisation,
    orthogonalised,
    matrix_chain,
    small_inverse,
    newton,
    polynomial,
    least_squares,
)
