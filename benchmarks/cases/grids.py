"""Partial differential equations on grids, by the method of lines.

??? cite "References"

    E. Hairer and G. Wanner, *Solving Ordinary Differential Equations II*, Springer
    1996, section IV.1 (the Brusselator with diffusion).

    J. E. Pearson, *Complex patterns in a simple system*, Science 261 (1993) 189-192
    (the model of Gray and Scott, and its constants).

    H. S. Carslaw and J. C. Jaeger, *Conduction of Heat in Solids*, Oxford 1959, section
    1.6 (conductivity that depends on the temperature).
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._case import Case


class Brusselator(eqx.Module):
    """Two species that react and diffuse in `n` cells of a tube between reservoirs."""

    a: float = 1.0
    b: float = 3.0
    diffusion: float = 0.02

    def __call__(self, state: Float[Array, " 2n"]) -> Float[Array, " 2n"]:
        u, v = jnp.split(state, 2)
        reaction = u * u * v
        du = self.a + reaction - (self.b + 1.0) * u + self._diffused(u, self.a)
        dv = self.b * u - reaction + self._diffused(v, self.b / self.a)
        return jnp.concatenate([du, dv])

    def _diffused(self, u, end):
        padded = jnp.pad(u, 1, constant_values=end)
        scale = self.diffusion * (len(u) + 1) ** 2
        return scale * (padded[:-2] - 2.0 * u + padded[2:])


class Heat(eqx.Module):
    """Conduction in a plate whose rim is kept at zero; it conducts better when hot."""

    slope: float = 0.5

    def __call__(self, u: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
        padded = jnp.pad(u, 1)
        rows = self._flux(padded[:, 1:-1])
        columns = self._flux(padded[1:-1].T)
        return jnp.diff(rows, axis=0) + jnp.diff(columns, axis=0).T

    def _flux(self, u):
        """Heat flux through each face along the first axis, from both neighbours."""
        conductivity = 1.0 + self.slope * 0.5 * (u[1:] + u[:-1])
        return conductivity * (u[1:] - u[:-1])


class GrayScott(eqx.Module):
    """Two species on a torus: `v` feeds on `u`, which is supplied everywhere."""

    feed: float = 0.04
    kill: float = 0.06

    def __call__(self, state: Float[Array, "2 rows columns"]):
        u, v = state
        reaction = u * v * v
        du = 0.2 * _laplacian(u) - reaction + self.feed * (1.0 - u)
        dv = 0.1 * _laplacian(v) + reaction - (self.feed + self.kill) * v
        return jnp.stack([du, dv])


def _laplacian(u):
    neighbours = jnp.roll(u, 1, 0) + jnp.roll(u, -1, 0)
    return neighbours + jnp.roll(u, 1, 1) + jnp.roll(u, -1, 1) - 4.0 * u


def _field(shape: tuple[int, ...]) -> np.ndarray:
    axes = np.ogrid[tuple(slice(0.0, i + 2.0, n * 1j) for i, n in enumerate(shape))]
    return 1.0 + 0.5 * np.sin(sum(axis * axis for axis in axes))


def _cases(name: str, fun: Callable, shapes: list[tuple[int, ...]]) -> list[Case]:
    return [
        Case(
            f"{name}, {math.prod(shape):,} states",
            "grids",
            fun,
            _field(shape),
            structured=math.prod(shape) > 64,
        )
        for shape in shapes
    ]


CASES = _cases("1-D Brusselator", Brusselator(), [(64,), (1024,), (100_000,)])
CASES += _cases("2-D heat", Heat(), [(8, 8), (32, 32), (400, 250)])
CASES += _cases("2-D Gray-Scott", GrayScott(), [(2, 4, 8), (2, 16, 32), (2, 250, 200)])
