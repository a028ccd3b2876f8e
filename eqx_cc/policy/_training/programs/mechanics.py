"""Kinematics and dynamics."""

from __future__ import annotations

import random

import jax.numpy as jnp

from .draft import constants, Draft


def _rotation(axis: int, angle):
    c, s, one, zero = jnp.cos(angle), jnp.sin(angle), 1.0, 0.0
    rows = (
        [[one, zero, zero], [zero, c, -s], [zero, s, c]],
        [[c, zero, s], [zero, one, zero], [-s, zero, c]],
        [[c, -s, zero], [s, c, zero], [zero, zero, one]],
    )
    return jnp.array(rows[axis])


def arm(rng: random.Random) -> Draft:
    """The tool of a serial arm: joints about one of the axes, and links."""
    n, whole = rng.randint(2, 7), rng.random() < 0.5
    axes, links = [rng.randrange(3) for _ in range(n)], constants(rng, n, 3)

    def fun(q):
        turn, place = jnp.eye(3, dtype=q.dtype), jnp.zeros(3, q.dtype)
        for i, axis in enumerate(axes):
            turn = turn @ _rotation(axis, q[i])
            place = place + turn @ links[i]
        return [place, turn] if whole else [place]

    return Draft(fun, ((n,),))


def arm_backwards(rng: random.Random) -> Draft:
    """A point of the tool, carried from the tip to the base of an arm."""
    n = rng.randint(2, 8)
    axes, links = [rng.randrange(3) for _ in range(n)], constants(rng, n, 3)

    def fun(q, point):
        for i in range(n - 1, -1, -1):
            point = _rotation(axes[i], q[i]) @ (point + links[i])
        return [point]

    return Draft(fun, ((n,), (3,)))


def _quaternion_product(a, b):
    return jnp.stack(
        [
            a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
            a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
            a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
            a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
        ]
    )


def attitude(rng: random.Random) -> Draft:
    """A rigid body that turns: Euler's equations, and its attitude as a quaternion."""
    inertia, steps = constants(rng, 3) + 2.0, rng.randint(1, 3)

    def fun(q, rate, torque):
        for _ in range(steps):
            turn = jnp.concatenate([jnp.zeros(1, q.dtype), rate])
            q = q + 0.05 * _quaternion_product(q, turn)
            q = q / jnp.sqrt(jnp.sum(q * q))
            spin = torque - jnp.cross(rate, inertia * rate)
            rate = rate + 0.1 * spin / inertia
        return [q, rate]

    return Draft(fun, ((4,), (3,), (3,)))


def pendulum(rng: random.Random) -> Draft:
    """Accelerations of a chain of masses on rods: a mass matrix, and a solve."""
    n, damping = rng.randint(2, 4), rng.choice((0.0, 0.1))

    def fun(angle, rate):
        apart = angle[:, None] - angle[None]
        counts = n - jnp.maximum(jnp.arange(n)[:, None], jnp.arange(n)[None])
        mass = counts.astype(angle.dtype) * jnp.cos(apart)
        pull = counts.astype(angle.dtype) * jnp.sin(apart)
        force = -pull @ (rate * rate) - 9.81 * jnp.sin(angle) - damping * rate
        return [jnp.linalg.solve(mass, force)]

    return Draft(fun, ((n,), (n,)))


def bodies(rng: random.Random) -> Draft:
    """Accelerations of a few masses that attract each other, pair by pair."""
    n, dim, power = rng.randint(2, 4), rng.randint(2, 3), rng.choice((1.5, 1.0))

    def fun(x, mass):
        pulls = [jnp.zeros(dim, x.dtype) for _ in range(n)]
        for i in range(n):
            for j in range(i):
                apart = x[i] - x[j]
                weight = (jnp.sum(apart * apart) + 0.01) ** -power
                pulls[i] = pulls[i] - mass[j] * weight * apart
                pulls[j] = pulls[j] + mass[i] * weight * apart
        return [jnp.stack(pulls)]

    return Draft(fun, ((n, dim), (n,)))


def springs(rng: random.Random) -> Draft:
    """Forces in a network of springs with dampers, spring by spring."""
    n = rng.randint(3, 7)
    links = [(rng.randrange(i), i) for i in range(1, n)]
    links += [tuple(sorted(rng.sample(range(n), 2))) for _ in range(n // 2)]

    def fun(x, v, stiffness):
        forces = [jnp.zeros(2, x.dtype) for _ in range(n)]
        for k, (i, j) in enumerate(links):
            apart = x[j] - x[i]
            length = jnp.sqrt(jnp.sum(apart * apart))
            slide = jnp.sum(apart * (v[j] - v[i])) / length
            force = (stiffness[k] * (length - 1.0) + 0.2 * slide) * apart / length
            forces[i], forces[j] = forces[i] + force, forces[j] - force
        return [jnp.stack(forces)]

    return Draft(fun, ((n, 2), (n, 2), (len(links),)))


def vehicle(rng: random.Random) -> Draft:
    """A bicycle model of a car: slip angles, tyre forces, and a few steps."""
    steps, shape = rng.randint(1, 4), rng.choice((1.3, 1.6))

    def fun(state, steer, drive):
        x, y, heading, speed, slide, turn = state
        for i in range(steps):
            front = steer[i] - jnp.arctan2(slide + 1.2 * turn, speed)
            rear = -jnp.arctan2(slide - 1.4 * turn, speed)
            push = [jnp.sin(shape * jnp.arctan(8.0 * a)) for a in (front, rear)]
            along = drive[i] - push[0] * jnp.sin(steer[i]) + slide * turn
            across = push[0] * jnp.cos(steer[i]) + push[1] - speed * turn
            twist = 1.2 * push[0] * jnp.cos(steer[i]) - 1.4 * push[1]
            x = x + 0.1 * (speed * jnp.cos(heading) - slide * jnp.sin(heading))
            y = y + 0.1 * (speed * jnp.sin(heading) + slide * jnp.cos(heading))
            heading = heading + 0.1 * turn
            speed, slide = speed + 0.1 * along, slide + 0.1 * across
            turn = turn + 0.1 * twist
        return [jnp.stack([x, y, heading, speed, slide, turn])]

    return Draft(fun, ((6,), (steps,), (steps,)))


FAMILIES = arm, arm_backwards, attitude, pendulum, bodies, springs, vehicle
