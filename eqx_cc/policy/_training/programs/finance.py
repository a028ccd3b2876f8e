"""Finance, statistics, and loops that are unrolled."""

from __future__ import annotations

import random

import jax.numpy as jnp
from jax.scipy.special import erf

from .draft import constants, Draft


def exchange(rng: random.Random) -> Draft:
    """The price of an option to exchange one asset for another, for several terms."""
    n = rng.randint(1, 4)
    terms = [0.25 + 0.5 * i for i in range(n)]

    def fun(assets, volatilities, correlation):
        first, second = volatilities[0], volatilities[1]
        spread = first * first + second * second - 2.0 * correlation * first * second
        prices = []
        for term in terms:
            width = jnp.sqrt(spread * term)
            high = jnp.log(assets[0] / assets[1]) / width + 0.5 * width
            ends = [0.5 * (1.0 + erf(d / 1.414)) for d in (high, high - width)]
            prices.append(assets[0] * ends[0] - assets[1] * ends[1])
        return [jnp.stack(prices)]

    return Draft(fun, ((2,), (2,), ()))


def tree(rng: random.Random) -> Draft:
    """A binomial tree: the value of an option, from its end to its beginning."""
    n, american = rng.randint(2, 5), rng.random() < 0.5

    def fun(spot, up, rate):
        down = 1.0 / up
        share = (jnp.exp(rate) - down) / (up - down)
        spots = [spot * up ** (2 * i - n) for i in range(n + 1)]
        values = [jnp.maximum(1.0 - s, 0.0) for s in spots]
        for k in range(n, 0, -1):
            values = [
                jnp.exp(-rate) * (share * values[i + 1] + (1.0 - share) * values[i])
                for i in range(k)
            ]
            if american:
                values = [jnp.maximum(v, 1.0 - s) for v, s in zip(values, spots)]
        return [values[0]]

    return Draft(fun, ((), (), ()))


def path(rng: random.Random) -> Draft:
    """A path with stochastic volatility, driven by known shocks."""
    n, shocks = rng.randint(2, 8), constants(rng, 8, 2)

    def fun(spot, variance, p):
        total = 0.0
        for i in range(n):
            root = jnp.sqrt(variance)
            spot = spot * jnp.exp(p[0] - 0.5 * variance + root * shocks[i, 0])
            variance = variance + p[1] * (p[2] - variance) + p[3] * root * shocks[i, 1]
            total = total + spot
        return [spot, total / n]

    return Draft(fun, ((), (), (4,)))


def likelihood(rng: random.Random) -> Draft:
    """Minus the logarithm of the density of known samples of a mixture."""
    n, samples = rng.randint(1, 3), rng.randint(2, 5)

    def fun(mean, scale, weight):
        total = jnp.sum(jnp.exp(weight))
        terms = []
        for k in range(samples):
            z = (0.4 * k - mean) / scale
            density = jnp.exp(weight - 0.5 * z * z) / scale
            terms.append(jnp.log(total) - jnp.log(jnp.sum(density)))
        return [jnp.stack(terms)]

    return Draft(fun, ((n,), (n,), (n,)))


def descent(rng: random.Random) -> Draft:
    """Steps of gradient descent with momentum on a curved valley."""
    n, steps = rng.randint(2, 4), rng.randint(1, 4)

    def fun(x, rate, decay):
        speed = jnp.zeros_like(x)
        for _ in range(steps):
            bend = x[1:] - x[:-1] ** 2
            slope = jnp.concatenate([-4.0 * bend * x[:-1], jnp.zeros(1, x.dtype)])
            slope = slope + jnp.concatenate([jnp.zeros(1, x.dtype), 2.0 * bend])
            speed = decay * speed - rate * slope
            x = x + speed
        return [x]

    return Draft(fun, ((n,), (), ()))


def runge_kutta(rng: random.Random) -> Draft:
    """Steps of Heun's or the classical method for a system of products."""
    n, classical, steps = rng.randint(2, 4), rng.random() < 0.5, rng.randint(1, 2)
    pairs = [(rng.randrange(n), rng.randrange(n), rng.randrange(n)) for _ in range(n)]

    def field(x, p):
        return jnp.stack(
            [p[i] * x[a] * x[b] - x[c] for i, (a, b, c) in enumerate(pairs)]
        )

    def fun(x, p):
        h = 0.05
        for _ in range(steps):
            first = field(x, p)
            if not classical:
                x = x + 0.5 * h * (first + field(x + h * first, p))
                continue
            second = field(x + 0.5 * h * first, p)
            third = field(x + 0.5 * h * second, p)
            last = field(x + h * third, p)
            x = x + h / 6.0 * (first + 2.0 * second + 2.0 * third + last)
        return [x]

    return Draft(fun, ((n,), (n,)))


def geometry(rng: random.Random) -> Draft:
    """Angles, areas and distances of a chain of points, entry by entry."""
    n, dim = rng.randint(3, 5), rng.randint(2, 3)

    def fun(x):
        results = []
        for i in range(1, n - 1):
            a, b = x[i - 1] - x[i], x[i + 1] - x[i]
            lengths = jnp.sqrt(jnp.sum(a * a)) * jnp.sqrt(jnp.sum(b * b))
            cosine = jnp.sum(a * b) / lengths
            results += [jnp.arccos(cosine), jnp.sqrt(1.0 - cosine**2) * lengths]
        return [jnp.stack(results)]

    return Draft(fun, ((n, dim),))


def camera(rng: random.Random) -> Draft:
    """Points seen by a camera with distortion of its lens."""
    n = rng.randint(1, 4)

    def fun(turn, place, lens, points):
        pixels = []
        for i in range(n):
            p = points[i]
            p = p + jnp.cross(turn, p) + 0.5 * jnp.cross(turn, jnp.cross(turn, p))
            p = p + place
            x, y = p[0] / p[2], p[1] / p[2]
            r2 = x * x + y * y
            scale = lens[0] * (1.0 + r2 * (lens[1] + r2 * lens[2]))
            pixels += [scale * x, scale * y]
        return [jnp.stack(pixels)]

    return Draft(fun, ((3,), (3,), (3,), (n, 3)))


FAMILIES = exchange, tree, path, likelihood, descent, runge_kutta, geometry, camera
