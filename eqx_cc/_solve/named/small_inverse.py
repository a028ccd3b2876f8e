"""A solver for small matrices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import lineax as lx
from jaxtyping import PyTree

from ..direct import AbstractDirectSolver, Factored
from ..factorisations.dense import MOST_INVERTED, RefinedInverse
from ..factorisations.residual import is_regular
from ..matrix.ravel import Flat, size_of
from ..matrix.tags import tags_of
from ..system import DENSE, MatrixRecipe, of_function, of_operator, stored_matrix
from .base import AUTO, check_real_and_square, named


class SmallInverse(AbstractDirectSolver):
    """Inverts a small matrix by Gauss-Jordan elimination with row pivoting, and refines
    the solution once.

    On CPU, this is native code. It takes less time than LAPACK for up to four rows, and
    for many right-hand sides with larger matrices.

    **Arguments:**

    - `inner`: the solver for systems whose residual is larger than that of an $LU$
        factorisation.

    Matrices of more than 64 rows raise a `ValueError`.

    !!! Example

        ```python
        print(lx.linear_solve(operator, vector, eqx_cc.SmallInverse()).value)
        ```

        ```text
        [0.25       0.07692308 0.03571429]
        ```
    """

    inner: lx.AbstractLinearSolver = AUTO

    def init(self, operator: lx.AbstractLinearOperator, options: dict) -> Factored:
        """Builds and inverts the matrix of `operator`."""
        del options
        flat = Flat.of(operator.in_structure(), operator.out_structure())
        self._check(flat)
        tags = tags_of(operator)
        size = size_of(flat.taken[0])
        if size == 0:
            return Factored(flat, tags=tags)
        matrix = stored_matrix(operator) or of_operator(operator, DENSE).matrix
        plan = RefinedInverse(size)
        factors = plan.factor(matrix().astype(flat.dtype))
        state = Factored(flat, plan, factors, tags=tags)
        if self.assume_full_rank():
            return state
        regular = is_regular(factors[0], state.solve)
        return dataclasses.replace(state, is_regular=regular)

    def system(
        self, fun: Callable, x: PyTree, tags: frozenset[object] = frozenset()
    ) -> MatrixRecipe:
        """The dense Jacobian of a function, at `x`."""
        del tags
        self._check(Flat.of(x, x))
        return of_function(fun, x, DENSE)

    def _check(self, flat: Flat) -> None:
        check_real_and_square(self, flat)
        size = size_of(flat.taken[0])
        if size > MOST_INVERTED:
            raise ValueError(
                f"`{named(self)}` is for up to {MOST_INVERTED} rows, but got "
                f"`operator` with {size}. Use `lx.LU()`."
            )
