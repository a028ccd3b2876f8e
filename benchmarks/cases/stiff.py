"""Stiff initial value problems.

??? cite "References"

    E. Hairer and G. Wanner, *Solving Ordinary Differential Equations II*, Springer
    1996, section IV.1.

    F. Mazzia and C. Magherini, *Test Set for Initial Value Problem Solvers*, release
    2.4, University of Bari 2008.
"""

import functools as ft
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .grids import Brusselator, GrayScott
from .kinetics import hires, HIRES_START, oregonator, pollu, POLLU_START, robertson
from .meshes import delaunay, MeshReaction
from .robots import ForwardDynamics, Robot, seven_links


class Problem(NamedTuple):
    """An equation $y' = f(y)$, from time zero to `end`."""

    field: Callable
    start: Any
    end: float
    tol: float = 1e-6
    atol: float | None = None


def van_der_pol(y, stiffness=1e3):
    """The oscillator, in the time of its slow phase."""
    a, b = y
    return jnp.stack([b, stiffness * (1 - a**2) * b - a])


class NeuralField(eqx.Module):
    """A network, and decay that is faster in some states than in others."""

    network: eqx.nn.MLP
    rates: jax.Array

    def __call__(self, y):
        return 3.0 * self.network(y) - self.rates * y


def _neural(size: int) -> Problem:
    network = eqx.nn.MLP(size, size, size, 2, jnp.tanh, key=jr.key(0))
    rates = jnp.logspace(0.0, 3.0, size)
    return Problem(NeuralField(network, rates), np.linspace(-1.0, 1.0, size), 2.0)


def _brusselator(size: int) -> Problem:
    x = np.linspace(0.0, 1.0, size // 2 + 2)[1:-1]
    start = np.concatenate([1 + np.sin(2 * np.pi * x), np.full(size // 2, 3.0)])
    return Problem(Brusselator(), start, 10.0)


def _gray_scott(side: int) -> Problem:
    x = np.linspace(-1.0, 1.0, side, endpoint=False)
    bump = np.exp(-20 * (x[:, None] ** 2 + x[None] ** 2))
    model = GrayScott()
    flat = lambda y: model(y.reshape(2, side, side)).reshape(-1)  # noqa: E731
    return Problem(flat, np.stack([1 - bump / 2, bump / 4]).reshape(-1), 50.0)


def _mesh(size: int) -> Problem:
    points, _ = delaunay(size)
    start = np.exp(-50 * np.sum((points - 0.3) ** 2, 1))
    return Problem(MeshReaction(size), start, 2.0)


def _robot() -> Problem:
    whole = seven_links()
    arm = Robot(*[x[:6] for x in jax.tree.leaves(whole)])
    field = ForwardDynamics(arm, np.linspace(5.0, -1.0, 6))
    damped = lambda y: field(y) - jnp.concatenate([0 * y[:6], 20.0 * y[6:]])  # noqa: E731
    return Problem(
        damped, np.concatenate([np.linspace(-1.2, 1.0, 6), np.zeros(6)]), 0.5
    )


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "Robertson": lambda: Problem(robertson, np.array([1.0, 0.0, 0.0]), 1e5, 1e-8),
    "Van der Pol": lambda: Problem(van_der_pol, np.array([2.0, 0.0]), 2e3),
    "OREGO": lambda: Problem(oregonator, np.array([1.0, 2.0, 3.0]), 360.0),
    "HIRES": lambda: Problem(hires, HIRES_START, 321.8122),
    "POLLU": lambda: Problem(pollu, POLLU_START, 60.0),
    "Brusselator 64": ft.partial(_brusselator, 64),
    "Brusselator 128": ft.partial(_brusselator, 128),
    "Brusselator 1024": ft.partial(_brusselator, 1024),
    "Brusselator 10000": ft.partial(_brusselator, 10_000),
    "Gray-Scott 2x16x16": ft.partial(_gray_scott, 16),
    "mesh 1000": ft.partial(_mesh, 1000),
    "mesh 10000": ft.partial(_mesh, 10_000),
    "neural ODE 16": ft.partial(_neural, 16),
    "neural ODE 64": ft.partial(_neural, 64),
    "robot 12": _robot,
}
