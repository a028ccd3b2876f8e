r"""A nonlinear boundary value problem on an unstructured mesh, by finite elements and
Newton's iteration:

$$-\nabla \cdot \big((1 + u^2) \nabla u\big) = f \;\text{in the unit square}, \qquad
u = 0 \;\text{on its boundary.}$$

The load is that of a solution which is known, so that the error can be measured.

??? cite "Reference"

    S. C. Brenner and L. R. Scott. *The Mathematical Theory of Finite Element Methods*.
    Springer, 3rd edition, 2008.
"""

# %% imports
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float
from scipy import spatial


jax.config.update("jax_enable_x64", True)


# %% problem
def exact(x: Float[Array, "2"]) -> Float[Array, ""]:
    return jnp.sin(jnp.pi * x[0]) * jnp.sin(jnp.pi * x[1])


def flux(x: Float[Array, "2"]) -> Float[Array, "2"]:
    return (1 + exact(x) ** 2) * jax.grad(exact)(x)


def load(x: Float[Array, "2"]) -> Float[Array, ""]:
    return -jnp.trace(jax.jacfwd(flux)(x))


# %% mesh
def mesh(side: int) -> tuple[np.ndarray, np.ndarray]:
    """The nodes, and the three nodes of each triangle: a Delaunay triangulation of a
    grid of which the inner nodes are moved at random."""
    line = np.linspace(0.0, 1.0, side)
    nodes = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    shift = np.random.default_rng(0).uniform(-0.3, 0.3, nodes.shape) / (side - 1)
    inner = np.all((nodes > 0) & (nodes < 1), axis=1)
    nodes = nodes + shift * inner[:, None]
    return nodes, spatial.Delaunay(nodes).simplices


# %% residual
class Poisson:
    """The residual of the equation, tested with each piecewise linear hat function."""

    def __init__(self, nodes: np.ndarray, triangles: np.ndarray):
        inside = np.all((nodes > 1e-9) & (nodes < 1 - 1e-9), axis=1)
        self.inner, self.triangles = np.flatnonzero(inside), triangles
        self.nodes = nodes
        # The gradients of the three hats of each triangle, and its area.
        edges = np.roll(nodes[triangles], 1, 1) - np.roll(nodes[triangles], -1, 1)
        (ax, ay), (bx, by) = edges[:, 0].T, edges[:, 1].T
        doubled = ax * by - ay * bx
        turned = np.stack([-edges[..., 1], edges[..., 0]], -1)
        self.gradients = turned / doubled[:, None, None]
        self.areas = np.abs(doubled) / 2

    def __call__(self, free: Float[Array, " inner"], args=None):
        values = jnp.zeros(len(self.nodes)).at[self.inner].set(free)
        corners = values[self.triangles]
        slope = jnp.einsum("tk,tkd->td", corners, self.gradients)
        centre = jnp.mean(corners, 1)
        stiffness = jnp.einsum("td,tkd->tk", slope, self.gradients)
        middle = jnp.mean(self.nodes[self.triangles], 1)
        source = jax.vmap(load)(middle)[:, None] / 3
        element = (stiffness * (1 + centre**2)[:, None] - source) * self.areas[:, None]
        total = jnp.zeros(len(self.nodes)).at[self.triangles].add(element)
        return total[self.inner]


# %% solve
newton = optx.Newton(rtol=1e-9, atol=1e-9, linear_solver=eqx_cc.EliminationSolver())

for side in (6, 11, 21):
    problem = Poisson(*mesh(side))
    solution = optx.root_find(problem, newton, jnp.zeros(len(problem.inner)))
    expected = jax.vmap(exact)(jnp.asarray(problem.nodes[problem.inner]))
    error = jnp.max(jnp.abs(solution.value - expected))
    steps = solution.stats["num_steps"]
    print(f"{len(problem.inner):4} unknowns: {steps} iterations, error {error:.3f}")
