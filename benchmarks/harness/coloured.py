"""What one would write without eqx_cc for a sparse implicit solve: asdex's colouring of
the Jacobian, whose columns of one colour are computed together, and KLU."""

import importlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from eqx_cc._solve.factorisations.klu import NativeKLU
from eqx_cc._solve.matrix.assemble import Matrix
from eqx_cc._solve.matrix.positions import Positions
from jaxtyping import Array

from ..cases.stiff import Problem


class Coloured(lx.AbstractLinearSolver[Any]):
    """A linear solver for operators with the pattern of a problem's Jacobian."""

    factorisation: NativeKLU = eqx.field(static=True)
    positions: Positions = eqx.field(static=True)
    num_colours: int = eqx.field(static=True)
    colours: Array

    def init(self, operator: lx.AbstractLinearOperator, options: dict) -> Any:
        seeds = jax.nn.one_hot(self.colours, self.num_colours, axis=0)
        compressed = jax.vmap(operator.mv)(seeds)
        colours = self.colours[self.positions.columns]
        matrix = Matrix.of_entries(
            compressed[colours, self.positions.rows], self.positions
        )
        return self.factorisation.factor(matrix)

    def compute(self, state: Any, vector: Any, options: dict) -> Any:
        solution = self.factorisation.solve(state, vector, transposed=False)
        return solution, lx.RESULTS.successful, {}

    def transpose(self, state: Any, options: dict) -> Any:
        raise NotImplementedError

    def conj(self, state: Any, options: dict) -> Any:
        return state, options

    def assume_full_rank(self) -> bool:
        return True


def coloured(problem: Problem) -> Coloured:
    """The solver for the systems of a problem, the identity less a Jacobian."""
    asdex: Any = importlib.import_module("asdex")
    shifted = lambda y: y + problem.field(y)  # noqa: E731
    coloring = asdex.jacobian_coloring(shifted, jnp.asarray(problem.start), mode="fwd")
    rows, columns = np.asarray(coloring.sparsity.to_bcoo().indices).T.astype(np.int32)
    positions = Positions(rows, columns, coloring.sparsity.m, coloring.sparsity.n)
    return Coloured(
        NativeKLU.of(positions),
        positions,
        int(coloring.num_colors),
        jnp.asarray(coloring.colors),
    )
