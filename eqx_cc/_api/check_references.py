"""Reference Jacobians: JAX's forward and reverse mode, and finite differences."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class FunctionAtPoint(NamedTuple):
    """A function from a list of real arrays to a list of inexact arrays, at a point."""

    fun: Callable
    leaves: list
    outs: list

    def matrices(self, blocks: list[list]) -> list[list[np.ndarray]]:
        """The blocks as matrices of shape `(out.size, leaf.size)`."""
        return [
            [
                to_numpy(block).reshape(out.size, leaf.size)
                for leaf, block in zip(self.leaves, row)
            ]
            for out, row in zip(self.outs, blocks)
        ]


class Reference(NamedTuple):
    """A matrix for each output and input, and the allowed error of its entries.

    The slack is allowed in addition to rounding. It is infinite for an entry that is
    not trusted.
    """

    blocks: list[list[np.ndarray]]
    slack: list[list[np.ndarray]]


def to_numpy(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def precision(*arrays: Any) -> float:
    """The spacing of floating-point numbers at one, in the coarsest of the dtypes."""
    return max(float(jnp.finfo(array.dtype).eps) for array in arrays)


#
# JAX
#


def forward(problem: FunctionAtPoint) -> Reference:
    """The Jacobian by `jax.jacfwd`, one input leaf at a time, as dtypes may differ."""

    def column(j):
        def by_leaf(leaves):
            return jax.jacfwd(lambda x: problem.fun(_put(leaves, j, x)))(leaves[j])

        return jax.jit(by_leaf)(problem.leaves)

    columns = [column(j) for j in range(len(problem.leaves))]
    return _exact(problem, [list(row) for row in zip(*columns)])


def reverse(problem: FunctionAtPoint) -> Reference:
    """The Jacobian by `jax.jacrev`, one output leaf at a time, as dtypes may differ."""

    def row(part):
        return jax.jit(jax.jacrev(lambda leaves: part(problem.fun(leaves))))(
            problem.leaves
        )

    def complex_row(i, out):
        if not jnp.iscomplexobj(out):
            return row(lambda outs: outs[i])
        real, imag = row(lambda outs: outs[i].real), row(lambda outs: outs[i].imag)
        return [to_numpy(re) + 1j * to_numpy(im) for re, im in zip(real, imag)]

    return _exact(problem, [complex_row(i, out) for i, out in enumerate(problem.outs)])


def _put(leaves: list, j: int, leaf: Any) -> list:
    return [*leaves[:j], leaf, *leaves[j + 1 :]]


def _exact(problem: FunctionAtPoint, blocks: list[list]) -> Reference:
    matrices = problem.matrices(blocks)
    return Reference(matrices, [[np.zeros(m.shape) for m in row] for row in matrices])


#
# Finite differences
#


def finite_differences(problem: FunctionAtPoint, eps: float | None) -> Reference:
    """The Jacobian by central differences, with an estimate of each error."""
    columns = [_by_leaf(problem, j, eps) for j in range(len(problem.leaves))]
    rows = [[column[i] for column in columns] for i in range(len(problem.outs))]
    return Reference(
        [[matrix for matrix, _ in row] for row in rows],
        [[slack for _, slack in row] for row in rows],
    )


def _by_leaf(problem: FunctionAtPoint, j: int, eps: float | None) -> list[tuple]:
    leaf = problem.leaves[j]
    x = to_numpy(leaf).ravel()
    if eps is None:
        # Balances the errors of truncation and of rounding.
        eps = precision(leaf, *problem.outs) ** (1 / 3)
    typical = np.mean(abs(x)) if x.size else 0.0
    size = np.maximum(abs(x), typical)
    step = eps * np.where(size > 0, size, 1.0)
    points = jnp.asarray(x + step * np.array([[1.0], [-1.0], [0.5], [-0.5]]))
    points = points.astype(leaf.dtype)
    # The steps are taken from the points as they are rounded to the dtype.
    return [
        _central_difference(out, leaf, to_numpy(points), value)
        for out, value in zip(problem.outs, _evaluate(problem, j, points))
    ]


def _evaluate(problem: FunctionAtPoint, j: int, points: jax.Array) -> list[np.ndarray]:
    """The outputs at each row of `points`, for one number of the leaf at a time."""
    displacements, size = points.shape
    if size == 0:
        return [np.zeros((displacements, size, out.size)) for out in problem.outs]
    indices = jnp.tile(jnp.arange(size), displacements)

    @jax.jit
    def evaluate(leaves, indices, points):
        def at(index_and_point):
            index, point = index_and_point
            moved = jnp.ravel(leaves[j]).at[index].set(point)
            return problem.fun(_put(leaves, j, moved.reshape(leaves[j].shape)))

        # A loop, as some functions cannot be vmapped.
        return jax.lax.map(at, (indices, points))

    values = evaluate(problem.leaves, indices, points.ravel())
    return [
        to_numpy(value).reshape(displacements, size, out.size)
        for out, value in zip(problem.outs, values)
    ]


def _central_difference(out: Any, leaf: Any, points: np.ndarray, values: np.ndarray):
    """The difference at half the step, and its slack, as matrices (out, leaf)."""
    f, x = to_numpy(out).ravel(), to_numpy(leaf).ravel()[:, None]
    with np.errstate(all="ignore"):
        rise, run = values - f, points[..., None] - x
        sides = rise / run
        # Rows: the full step to the right and to the left, then half of it.
        whole, half = ((rise[i] - rise[i + 1]) / (run[i] - run[i + 1]) for i in (0, 2))
        gap, half_gap = (abs(sides[i] - sides[i + 1]) for i in (0, 2))
        rounding = 8 * precision(out) * np.max(abs(values), axis=0) / abs(run[2])
        slack = 4 * abs(whole - half) + np.where(np.any(rise, axis=0), rounding, 0.0)
        scale = np.max(abs(half), where=np.isfinite(half), initial=0.0)
        # For a smooth function, the difference between the two sides is proportional to
        # the step. At a kink it does not shrink with the step.
        kink = (half_gap > 0.75 * gap) & (half_gap > slack + 1e-3 * scale)
        trusted = np.isfinite(half) & (slack <= 0.5 * scale) & ~kink
    return half.T, np.where(trusted, slack, np.inf).T
