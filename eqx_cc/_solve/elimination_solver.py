"""A linear solver that builds the matrix by elimination and solves by its structure."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, PyTree

from .direct import AbstractDirectSolver, Factored
from .factorisations.dense import RefinedInverse
from .matrix.ravel import Flat, is_real
from .matrix.tags import believed, tags_of
from .system import MatrixRecipe, of_function, of_operator, stored_matrix


# Up to here two products take less time than the substitutions of LAPACK, and an
# inverse not much more than its factors, in batches as well. (Solves with 8 rows took
# 1.4 times less time, but a batch of 128 of them 2.3 times more.)
_INVERTED = 4
_TYPES = jnp.float32, jnp.float64


class EliminationSolver(AbstractDirectSolver):
    r"""A linear solver that builds the matrix of the operator by vertex elimination,
    and factors it by its structure.

    For any operator $A$, $x \mapsto A x$ is a linear computational graph. Eliminating
    its intermediate vertices builds the matrix of $A$. Its pattern is known while
    tracing, and selects the factorisation:

    - a diagonal, or equal blocks along it: inverses of these;
    - bands: $LU$ with partial pivoting, in linear time;
    - wide bands: block-tridiagonal $LU$;
    - a few full rows and columns (an arrowhead): the Schur complement of what is left;
    - one of these and low rank: the formula of Woodbury;
    - sparse in any other way (meshes, networks), on CPU: [`eqx_cc.KLU`][] if it is
        installed, or else [`eqx_cc.SuperLU`][], where that is expected to be faster;
    - anything else, and small, rectangular or complex matrices: the solver `inner`.

    Rows and columns are reordered (reverse Cuthill-McKee) where this makes the bands
    narrower, as for several species on a grid.

    It is an argument of all solvers of [lineax](https://docs.kidger.site/lineax/) and
    [optimistix](https://docs.kidger.site/optimistix/).

    **Arguments:**

    - `inner`: the linear solver for matrices without structure. By default, lineax
        selects it: by tags, $LU$ if the matrix is square, and $QR$ if not.

    Where pivots are not sought in the whole matrix, the solution is refined once. If
    its residual is large then `inner` solves systems of up to 2,048 rows. If the
    residual stays large relative to the right-hand side then lineax's result codes
    report a singular matrix.

    The guarantees of `inner` hold at every size. If `inner` is made for singular
    matrices, as `lx.AutoLinearSolver(well_posed=False)` is, then a structure is used
    only where its factors show that the matrix is regular. `inner` solves all other
    systems of up to 2,048 rows.

    !!! Example

        ```python
        operator = lx.JacobianLinearOperator(fn, y)
        print(lx.linear_solve(operator, vector, eqx_cc.EliminationSolver()).value)
        newton = optx.Newton(1e-8, 1e-8, linear_solver=eqx_cc.EliminationSolver())
        optx.root_find(fn, newton, y)
        ```

        ```text
        [0.25       0.07692308 0.03571429]
        ```

    ??? cite "References"

        G. H. Golub and C. F. Van Loan. *Matrix Computations*, chapters 3 and 4. Johns
        Hopkins University Press, 4th edition, 2013.

        E. Cuthill and J. McKee. Reducing the bandwidth of sparse symmetric matrices.
        *Proceedings of the 24th National Conference of the ACM*, 157-172, 1969.
    """

    inner: lx.AbstractLinearSolver = lx.AutoLinearSolver(well_posed=None)

    def init(self, operator: lx.AbstractLinearOperator, options: dict) -> Factored:
        """Builds and factors the matrix of `operator`; `options` are for `inner`."""
        flat = Flat.of(operator.in_structure(), operator.out_structure())
        stored = stored_matrix(operator)
        if stored is None and not is_real(flat.taken[0], flat.returned[0]):
            stored = operator.as_matrix
        recipe = of_operator(operator) if stored is None else MatrixRecipe(None, stored)
        tags = tags_of(operator)
        matrix, plan = recipe.matrix(), recipe.factorisation
        if plan is not None:
            return self.factored(plan, believed(matrix, tags), flat, tags)
        if self._inverts(matrix, tags):
            plan = RefinedInverse(len(matrix))
            return Factored(flat, plan, plan.factor(matrix), tags=tags)
        return self.of_dense(matrix, flat, options, tags)

    def system(
        self, fun: Callable, x: PyTree, tags: frozenset[object] = frozenset()
    ) -> MatrixRecipe:
        """The factorisation for the Jacobian of a function, at `x`, and a function that
        computes it."""
        del tags  # The pattern shows as much.
        return of_function(fun, x)

    def _inverts(self, matrix: Array, tags: frozenset[object]) -> bool:
        """True if the matrix is so small that it had better be inverted, and `inner`
        promises no more than the solution of a regular system."""
        rows, columns = matrix.shape
        is_small = 0 < rows == columns <= _INVERTED and matrix.dtype in _TYPES
        is_default = isinstance(self.inner, lx.AutoLinearSolver)
        is_default = is_default and self.assume_full_rank()
        return is_default and is_small and tags <= {lx.symmetric_tag}
