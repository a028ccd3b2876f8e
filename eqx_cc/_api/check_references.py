"""Other ways to the same Jacobian: JAX's two modes, and finite differences."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Problem(NamedTuple):
    """A function from a list of real arrays to a list of inexact arrays, at a point."""

    fun: Callable
    leaves: list
    outs: list

    def matrices(self, blocks: list[list]) -> list[list[np.ndarray]]:
        """Every block as a matrix of shape `(out.size, leaf.size)`."""
        return [
            [
                to_numpy(block).reshape(out.size, leaf.size)
                for leaf, block in zip(self.leaves, row)
            ]
            for out, row in zip(self.outs, blocks)
        ]


class Verdict(NamedTuple):
    """A matrix for every output and input, and what its entries may be off by.

    The slack is on top of what rounding explains. It is infinite for an entry that is
    not to be trusted at all.
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


def forward(problem: Problem) -> Verdict:
    """`jax.jacfwd`, one input leaf at a time, for it cannot mix dtypes."""

    def column(j):
        def by_leaf(leaves):
            return jax.jacfwd(lambda x: problem.fun(_put(leaves, j, x)))(leaves[j])

        return jax.jit(by_leaf)(problem.leaves)

    columns = [column(j) for j in range(len(problem.leaves))]
    return _exact(problem, [list(row) for row in zip(*columns)])


def reverse(problem: Problem) -> Verdict:
    """`jax.jacrev`, one output leaf at a time, for it cannot mix dtypes."""

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


def _exact(problem: Problem, blocks: list[list]) -> Verdict:
    matrices = problem.matrices(blocks)
    return Verdict(matrices, [[np.zeros(m.shape) for m in row] for row in matrices])


#
# Finite differences
#


def finite_differences(problem: Problem, eps: float | None) -> Verdict:
    """Central differences, each with an estimate of its own error."""
    columns = [_by_leaf(problem, j, eps) for j in range(len(problem.leaves))]
    rows = [[column[i] for column in columns] for i in range(len(problem.outs))]
    return Verdict(
        [[matrix for matrix, _ in row] for row in rows],
        [[slack for _, slack in row] for row in rows],
    )


def _by_leaf(problem: Problem, j: int, eps: float | None) -> list[tuple]:
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
    # `points` are where they are once rounded, not where they should have been.
    return [
        _central_difference(out, leaf, to_numpy(points), value)
        for out, value in zip(problem.outs, _evaluate(problem, j, points))
    ]


def _evaluate(problem: Problem, j: int, points: jax.Array) -> list[np.ndarray]:
    """The outputs for every row of `points`, moving the numbers of a leaf in turn."""
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

        # A loop, since not everything can be vmapped.
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
        # The left and the right of a smooth function meet as the step shrinks.
        kink = (half_gap > 0.75 * gap) & (half_gap > slack + 1e-3 * scale)
        trusted = np.isfinite(half) & (slack <= 0.5 * scale) & ~kink
    return half.T, np.where(trusted, slack, np.inf).T
