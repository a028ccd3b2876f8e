"""Problems whose Jacobians are sparse, at positions that follow no rule: meshes,
networks, reactions, sparse matrices, and equations that are written one by one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.sparse import BCOO, BCSR

from ._case import Case
from .meshes import delaunay, MeshReaction


Vector = jax.Array


def _rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def _like(constant: np.ndarray, x: Vector) -> Vector:
    """A constant in the floating-point type of a vector."""
    return jnp.asarray(constant, x.dtype)


#
# Meshes
#


def truss(size: int) -> Callable[[Vector], Vector]:
    """Elements of three nodes near each other, with a force that is not linear."""
    rng, count = _rng(), 2 * size
    first = rng.integers(0, size - 8, count)
    nodes = np.stack([first, first + 1, first + rng.integers(2, 8, count)], 1)
    weights = rng.random((count, 1))

    def residual(u):
        corners = u[nodes]
        offsets = corners - corners.mean(1, keepdims=True)
        energy = jnp.sum(offsets**2, 1, keepdims=True)
        force = jnp.tanh(offsets * _like(weights, u)) * energy
        return jnp.zeros_like(u).at[nodes].add(force)

    return residual


def springs(size: int) -> Callable[[Vector], Vector]:
    """Forces in the plane along the edges of a triangulation, two numbers a node."""
    _, triangles = delaunay(size)
    pairs = np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)), axis=0)

    def forces(x):
        position = x.reshape(-1, 2)
        along = position[pairs[:, 1]] - position[pairs[:, 0]]
        length = jnp.sqrt(jnp.sum(along**2, 1, keepdims=True) + 1e-3)
        force = (length - 0.1) / length * along
        total = jnp.zeros_like(position).at[pairs[:, 0]].add(force)
        return total.at[pairs[:, 1]].add(-force).ravel()

    return forces


def upwind(size: int) -> Callable[[Vector], Vector]:
    """Fluxes over the faces of a triangulation, from cell to cell."""
    _, triangles = delaunay(size)
    edges: dict[tuple[int, int], list[int]] = {}
    for cell, corners in enumerate(triangles):
        for a, b in ((0, 1), (1, 2), (2, 0)):
            first, last = sorted((int(corners[a]), int(corners[b])))
            edges.setdefault((first, last), []).append(cell)
    faces = np.array([cells for cells in edges.values() if len(cells) == 2])
    speed = _rng().normal(size=len(faces))

    def change(u):
        left, right = u[faces[:, 0]], u[faces[:, 1]]
        flux = _like(speed, u) * jnp.where(speed > 0, left, right) ** 2
        return jnp.zeros_like(u).at[faces[:, 0]].add(-flux).at[faces[:, 1]].add(flux)

    return change


#
# Networks
#


def _edges(size: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    rng = _rng()
    return rng.integers(0, size, degree * size), rng.integers(0, size, degree * size)


def kuramoto(size: int) -> Callable[[Vector], Vector]:
    """Coupled oscillators on a random graph."""
    source, target = _edges(size, 4)

    def change(phase):
        pull = jnp.sin(phase[source] - phase[target])
        return 1.0 + jax.ops.segment_sum(pull, target, num_segments=size)

    return change


def epidemic(size: int) -> Callable[[Vector], Vector]:
    """Susceptible and infected shares of the nodes of a network."""
    source, target = _edges(size, 3)

    def change(state):
        healthy, ill = jnp.split(state, 2)
        contact = jnp.zeros_like(ill).at[target].add(ill[source])
        new = 0.3 * healthy * contact
        return jnp.concatenate([-new, new - 0.1 * ill])

    return change


def power_flow(size: int) -> Callable[[Vector], Vector]:
    """Balances of power at the nodes, from branches in polar coordinates."""
    source, target = _edges(size, 2)
    admittance = _rng().random((2, len(source)))

    def balance(state):
        conductance, susceptance = _like(admittance, state)
        angle, voltage = jnp.split(state, 2)
        difference = angle[source] - angle[target]
        product = voltage[source] * voltage[target]
        real = product * (
            conductance * jnp.cos(difference) + susceptance * jnp.sin(difference)
        )
        imaginary = product * (
            conductance * jnp.sin(difference) - susceptance * jnp.cos(difference)
        )
        add = lambda flow: jnp.zeros_like(angle).at[source].add(flow)  # noqa: E731
        return jnp.concatenate([add(real), add(imaginary)])

    return balance


def message_passing(size: int) -> Callable[[Vector], Vector]:
    """A layer of a graph network with three features a node."""
    source, target = _edges(size, 3)
    weights = _rng().normal(size=(6, 3))

    def layer(x):
        nodes = x.reshape(-1, 3)
        pairs = jnp.concatenate([nodes[source], nodes[target]], 1)
        messages = jnp.tanh(pairs @ _like(weights, x))
        return (nodes + jnp.zeros_like(nodes).at[target].add(messages)).ravel()

    return layer


def tree(size: int) -> Callable[[Vector], Vector]:
    """Flow in a tree, each node of which has one parent."""
    parents = np.array([0, *(_rng().integers(0, np.arange(1, size)))])

    def change(level):
        flow = jnp.sqrt(1.0 + (level - level[parents]) ** 2) * (level - level[parents])
        return jnp.zeros_like(level).at[parents].add(flow) - flow

    return change


#
# Particles and reactions
#


def neighbours(size: int) -> Callable[[Vector], Vector]:
    """The gradient of an energy of pairs, from a table of six neighbours each."""
    table = (np.arange(size)[:, None] + _rng().integers(1, 20, (size, 6))) % size

    def energy(x):
        return jnp.sum(jnp.exp(-((x[:, None] - x[table]) ** 2)))

    return jax.grad(energy)


def mass_action(size: int) -> Callable[[Vector], Vector]:
    """Reactions of two species to two others, by a stoichiometric matrix."""
    rng, count = _rng(), 3 * size
    reactants = rng.integers(0, size, (count, 2))
    matrix = np.zeros((size, count))
    for reaction, (a, b) in enumerate(reactants):
        matrix[[a, b], reaction] -= 1
        matrix[rng.integers(0, size, 2), reaction] += 1
    rates = rng.random(count)

    def change(y):
        flow = _like(rates, y) * y[reactants[:, 0]] * y[reactants[:, 1]]
        return _like(matrix, y) @ flow

    return change


def reactors(size: int) -> Callable[[Vector], Vector]:
    """A small network of reactions in each cell, and exchange between cells."""
    matrix = np.array([[-1.0, 0, 1], [1, -1, 0], [0, 1, -1], [0, 0, 1]])
    source, target = _edges(size // 4, 2)

    def change(state):
        cells = state.reshape(-1, 4)
        speed = jnp.stack([cells[:, 0] * cells[:, 1], cells[:, 1], cells[:, 2] ** 2], 1)
        flow = cells[source] - cells[target]
        exchange = jnp.zeros_like(cells).at[target].add(flow)
        return (speed @ _like(matrix.T, state) + 0.1 * exchange).ravel()

    return change


#
# Sparse matrices and windows
#


def _banded(size: int) -> np.ndarray:
    return 2.0 * np.eye(size) - np.eye(size, k=3) - 0.5 * np.eye(size, k=-7)


def coordinates(size: int) -> Callable[[Vector], Vector]:
    """Products with a constant matrix that lists its entries."""
    matrix = BCOO.fromdense(jnp.asarray(_banded(size)))
    return lambda x: jnp.sin(matrix.astype(x.dtype) @ jnp.sin(x))


def rows(size: int) -> Callable[[Vector], Vector]:
    """Products with a constant matrix that lists its rows."""
    matrix = BCSR.fromdense(jnp.asarray(_banded(size)))
    places = matrix.indices, matrix.indptr

    def change(x):
        typed = BCSR((matrix.data.astype(x.dtype), *places), shape=matrix.shape)
        return x + typed @ x**2

    return change


def random_layers(size: int) -> Callable[[Vector], Vector]:
    """Two sparse layers of a network, as dense constants."""
    rng = _rng()
    first, second = (
        np.where(rng.random((size, size)) < 3 / size, rng.normal(size=(size, size)), 0)
        for _ in range(2)
    )
    return lambda x: _like(second, x) @ jnp.tanh(_like(first, x) @ x)


def convolution(size: int) -> Callable[[Vector], Vector]:
    """A convolution in two dimensions, and a function of each entry."""
    kernel = _rng().normal(size=(1, 1, 3, 3))
    side = int(size**0.5)

    def layer(x):
        image = x.reshape(1, 1, side, side)
        return jnp.tanh(lax.conv(image, _like(kernel, x), (1, 1), "SAME")).ravel()

    return layer


def interpolation(size: int) -> Callable[[Vector], Vector]:
    """Values between those of a coarse grid, at points that are known."""
    points = _rng().random(2 * size) * (size - 1.001)
    left = points.astype(int)

    def values(u):
        share = _like(points % 1, u)
        return jnp.exp((1 - share) * u[left] + share * u[left + 1])

    return values


def index_arithmetic(size: int) -> Callable[[Vector], Vector]:
    """Neighbours by arithmetic of indices that is not affine."""

    def change(x):
        i = jnp.arange(size)
        return (x - x[(i * 7 + 3) % size]) ** 2 + x * x[(i * i) % size]

    return change


#
# Loops, and equations one by one
#


def stencil_steps(size: int) -> Callable[[Vector], Vector]:
    """Three steps of a stencil in a loop."""

    def step(_, y):
        return y + 0.1 * (jnp.roll(y, 1) - 2 * y + jnp.roll(y, -1)) * y

    return lambda x: lax.fori_loop(0, 3, step, x)


def lorenz96(size: int) -> Callable[[Vector], Vector]:
    """The model of Lorenz, written entry by entry."""

    def change(x):
        return jnp.stack(
            [(x[(i + 1) % size] - x[i - 2]) * x[i - 1] - x[i] for i in range(size)]
        )

    return change


def collocation(size: int) -> Callable[[Vector], Vector]:
    """The gradient of a control problem; the dynamics are a stack of entries."""

    def dynamics(s):
        return jnp.stack([s[1], -jnp.sin(s[0]) + s[2], -s[2]])

    def loss(z):
        x = z.reshape(-1, 3)
        slopes = jax.vmap(dynamics)(x)
        defects = x[1:] - x[:-1] - 0.05 * (slopes[1:] + slopes[:-1])
        return jnp.sum(defects**2) + 0.01 * jnp.sum(x**2)

    return jax.grad(loss)


def _case(name: str, fun: Callable[[Vector], Vector], size: int) -> Case:
    point = 0.1 + _rng(1).random(size)
    return Case(name, "sparse", fun, point, settings=("call",), structured=True)


CASES = tuple(
    _case(*row)
    for row in (
        ("truss, 1,000 nodes", truss(1000), 1000),
        ("springs, 500 nodes", springs(500), 1000),
        ("upwind fluxes, 500 nodes", upwind(500), len(delaunay(500)[1])),
        ("finite elements, 1,000 nodes", MeshReaction(1000), 1000),
        ("Kuramoto, 500 oscillators", kuramoto(500), 500),
        ("epidemic on 400 nodes", epidemic(400), 800),
        ("power flow, 400 nodes", power_flow(400), 800),
        ("message passing, 300 nodes", message_passing(300), 900),
        ("tree, 1,000 nodes", tree(1000), 1000),
        ("pairs from a neighbour table, 300", neighbours(300), 300),
        ("mass action, 300 species", mass_action(300), 300),
        ("reactors, 250 cells", reactors(1000), 1000),
        ("BCOO, 800 rows", coordinates(800), 800),
        ("BCSR, 800 rows", rows(800), 800),
        ("two sparse layers, 500", random_layers(500), 500),
        ("convolution, 30 by 30", convolution(900), 900),
        ("interpolation, 500 nodes", interpolation(500), 500),
        ("index arithmetic, 1,000", index_arithmetic(1000), 1000),
        ("steps of a stencil, 500", stencil_steps(500), 500),
        ("Lorenz 96 by entries, 40", lorenz96(40), 40),
        ("collocation, 300 unknowns", collocation(300), 300),
    )
)
