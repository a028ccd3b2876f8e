"""Fields on grids, fluxes, reactions, and circuits."""

from __future__ import annotations

import random

import jax.numpy as jnp

from .draft import Draft


def diffusion(rng: random.Random) -> Draft:
    """A stencil with coefficients that depend on the field."""
    n, kind = rng.randint(4, 12), rng.randrange(3)

    def fun(u, k):
        left = jnp.concatenate([u[:1], u[:-1]]) if kind else jnp.roll(u, 1)
        right = jnp.concatenate([u[1:], u[-1:]]) if kind else jnp.roll(u, -1)
        if kind == 2:
            flux = (1.0 + k * u[1:] * u[:-1]) * (u[1:] - u[:-1])
            return [flux[1:] - flux[:-1]]
        return [k * (left - 2.0 * u + right) + u * (1.0 - u * u)]

    return Draft(fun, ((n,), ()))


def two_species(rng: random.Random) -> Draft:
    """Two fields that react and spread."""
    n = rng.randint(3, 8)

    def fun(u, v, rates):
        reaction = u * u * v
        grow = rates[0] - u + reaction + rates[1] * (jnp.roll(u, 1) - u)
        return [grow, rates[2] - reaction + rates[3] * (jnp.roll(v, -1) - v)]

    return Draft(fun, ((n,), (n,), (4,)))


def plane(rng: random.Random) -> Draft:
    """A stencil of five or nine points in the plane, with a nonlinear source."""
    n, m, nine = rng.randint(3, 5), rng.randint(3, 4), rng.random() < 0.4

    def fun(u, k):
        inner = u[1:-1, 1:-1]
        near = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        if nine:
            far = u[:-2, :-2] + u[2:, 2:] + u[:-2, 2:] + u[2:, :-2]
            near = 0.8 * near + 0.2 * far
        return [near - 4.0 * inner + k * jnp.exp(inner)]

    return Draft(fun, ((n, m), ()))


def shallow_flux(rng: random.Random) -> Draft:
    """The flux between two cells of a wave, with the speeds of both sides."""
    dims, average = rng.randint(1, 2), rng.random() < 0.5

    def flux(state, gravity):
        height, momenta = state[0], state[1:]
        speed = momenta[0] / height
        flow = [momenta[0], momenta[0] * speed + 0.5 * gravity * height * height]
        flow += [momentum * speed for momentum in momenta[1:]]
        return flow, speed, jnp.sqrt(gravity * height)

    def fun(left, right, gravity):
        one, other = flux(list(left), gravity), flux(list(right), gravity)
        if average:
            fast = jnp.maximum(jnp.abs(one[1]) + one[2], jnp.abs(other[1]) + other[2])
            parts = zip(one[0], other[0], left, right)
            return [
                jnp.stack(
                    [0.5 * (f + g) - 0.5 * fast * (b - a) for f, g, a, b in parts]
                )
            ]
        low = jnp.minimum(one[1] - one[2], other[1] - other[2])
        high = jnp.maximum(one[1] + one[2], other[1] + other[2])
        parts = zip(one[0], other[0], left, right)
        return [
            jnp.stack(
                [
                    (high * f - low * g + low * high * (b - a)) / (high - low)
                    for f, g, a, b in parts
                ]
            )
        ]

    return Draft(fun, ((2 + dims - 1,), (2 + dims - 1,), ()))


def gas(rng: random.Random) -> Draft:
    """Primitive variables of a gas, its flux, and the speeds of its waves."""
    dims, steps = rng.randint(1, 3), rng.random() < 0.5

    def fun(state, normal, gamma):
        density, energy, momenta = state[0], state[1], state[2:]
        velocity = momenta / density
        kinetic = 0.5 * jnp.sum(momenta * velocity)
        pressure = (gamma - 1.0) * (energy - kinetic)
        through = jnp.sum(velocity * normal)
        flow = momenta * through + pressure * normal
        sound = jnp.sqrt(gamma * pressure / density)
        ends = [density * through, (energy + pressure) * through]
        if steps:
            return [jnp.stack(ends), flow]
        return [jnp.stack(ends), flow, jnp.stack([through - sound, through + sound])]

    return Draft(fun, ((2 + dims,), (dims,), ()))


def limited(rng: random.Random) -> Draft:
    """Advection with a limiter of slopes, cell by cell."""
    n, kind = rng.randint(4, 8), rng.randrange(2)

    def fun(u, speed):
        steps = u[1:] - u[:-1]
        ratio = steps[:-1] / (steps[1:] + 1e-3)
        if kind:
            limit = (ratio + jnp.abs(ratio)) / (1.0 + jnp.abs(ratio))
        else:
            limit = jnp.maximum(0.0, jnp.minimum(1.0, ratio))
        face = u[1:-1] + 0.5 * limit * steps[1:]
        flow = speed * face
        return [flow[1:] - flow[:-1]]

    return Draft(fun, ((n,), ()))


def reactions(rng: random.Random) -> Draft:
    """Mass action in a random network of reactions, rate by rate."""
    n, count = rng.randint(3, 8), rng.randint(3, 10)
    steps = [
        (rng.choices(range(n), k=rng.randint(1, 2)), rng.choices(range(n), k=2))
        for _ in range(count)
    ]
    hot = rng.random() < 0.3

    def fun(c, k):
        rates = [jnp.zeros((), c.dtype) for _ in range(n)]
        for i, (before, after) in enumerate(steps):
            rate = k[i] * jnp.exp(-k[i] / (1.0 + c[0])) if hot else k[i]
            for j in before:
                rate = rate * c[j]
            for j in before:
                rates[j] = rates[j] - rate
            for j in after:
                rates[j] = rates[j] + rate
        return [jnp.stack(rates)]

    return Draft(fun, ((n,), (count,)))


def enzymes(rng: random.Random) -> Draft:
    """Genes that switch each other: Hill's functions of concentrations."""
    n, power = rng.randint(2, 5), rng.choice((1, 2))

    def fun(c, most, half):
        rates = []
        for i in range(n):
            other = c[(i + 1) % n] ** power
            rate = most[i] * other / (half[i] ** power + other)
            rates.append(rate / (1.0 + c[i - 1]) - 0.2 * c[i])
        return [jnp.stack(rates)]

    return Draft(fun, ((n,), (n,), (n,)))


def circuit(rng: random.Random) -> Draft:
    """Currents into the nodes of a circuit of resistors and diodes."""
    n = rng.randint(3, 7)
    parts = [(*rng.sample(range(n), 2), rng.random() < 0.4) for _ in range(n + 2)]

    def fun(volt, conductance):
        currents = [jnp.zeros((), volt.dtype) for _ in range(n)]
        for k, (i, j, diode) in enumerate(parts):
            drop = volt[i] - volt[j]
            if diode:
                current = conductance[k] * (jnp.exp(drop / 0.026) - 1.0)
            else:
                current = conductance[k] * drop
            currents[i], currents[j] = currents[i] - current, currents[j] + current
        return [jnp.stack(currents)]

    return Draft(fun, ((n,), (len(parts),)))


FAMILIES = (
    diffusion,
    two_species,
    plane,
    shallow_flux,
    gas,
    limited,
    reactions,
    enzymes,
    circuit,
)
