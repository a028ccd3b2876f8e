"""Partial differential equations on unstructured meshes, by finite elements.

??? cite "Reference"

    V. Thomée, *Galerkin Finite Element Methods for Parabolic Problems*, Springer, 2nd
    edition, 2006, chapter 15 (lumped masses).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import spatial


def delaunay(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Points anywhere in the unit square, and the three points of each triangle between
    them."""
    points = np.random.default_rng(0).random((size, 2))
    return points, spatial.Delaunay(points).simplices


class MeshReaction:
    """Two phases that separate, at 1 and -1 (the equation of Allen and Cahn), with
    masses lumped at the nodes."""

    def __init__(self, size: int, diffusion: float = 1e-3, growth: float = 5.0):
        points, self.triangles = delaunay(size)
        corners = points[self.triangles]
        edges = np.roll(corners, 1, 1) - np.roll(corners, -1, 1)
        (ax, ay), (bx, by) = edges[:, 0].T, edges[:, 1].T
        areas = np.abs(ax * by - ay * bx) / 2
        products = np.einsum("tid,tjd->tij", edges, edges)
        self.stiffness = diffusion * products / (4 * areas)[:, None, None]
        shares = np.repeat(areas / 3, 3)
        self.masses = np.bincount(self.triangles.ravel(), shares, size)
        self.growth = growth

    def __call__(self, u: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        stiffness = jnp.asarray(self.stiffness, u.dtype)
        flow = jnp.einsum("tij,tj->ti", stiffness, u[self.triangles])
        outflow = jnp.zeros_like(u).at[self.triangles].add(flow)
        return self.growth * (u - u**3) - outflow / jnp.asarray(self.masses, u.dtype)
