"""A linear solver that builds the matrix by elimination and solves by its structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Num, PyTree

from ._base import AbstractFactors
from ._matrix import Matrix
from ._small import Small
from ._system import is_real, of_operator, size_of, structure_of, System


# How large a residual may be, relative to the matrix, the solution and the right-hand
# side, in units of rounding; and the rows up to which what fails is solved as dense.
_RESIDUAL = 1e4
_DENSE = 2048
# Up to here two products take less time than the substitutions of LAPACK, and an
# inverse not much more than its factors, in batches as well. (Solves with 8 rows took
# 1.4 times less time, but a batch of 128 of them 2.3 times more.)
_INVERTED = 4
_TYPES = jnp.float32, jnp.float64

_TAGS = (
    (lx.is_symmetric, lx.symmetric_tag),
    (lx.is_diagonal, lx.diagonal_tag),
    (lx.is_tridiagonal, lx.tridiagonal_tag),
    (lx.has_unit_diagonal, lx.unit_diagonal_tag),
    (lx.is_lower_triangular, lx.lower_triangular_tag),
    (lx.is_upper_triangular, lx.upper_triangular_tag),
    (lx.is_positive_semidefinite, lx.positive_semidefinite_tag),
    (lx.is_negative_semidefinite, lx.negative_semidefinite_tag),
)
_TURNED: dict[Any, Any] = {
    lx.lower_triangular_tag: lx.upper_triangular_tag,
    lx.upper_triangular_tag: lx.lower_triangular_tag,
}


class Flat(eqx.Module):
    """The structures of what an operator takes and returns, which may be PyTrees."""

    taken: tuple = eqx.field(static=True)
    returned: tuple = eqx.field(static=True)

    @classmethod
    def of(cls, taken: PyTree, returned: PyTree) -> Flat:
        flat = (jtu.tree_flatten(structure_of(x)) for x in (taken, returned))
        taken, returned = ((tuple(leaves), tree) for leaves, tree in flat)
        return cls(taken, returned)

    @property
    def transpose(self) -> Flat:
        return Flat(self.returned, self.taken)

    @property
    def dtype(self) -> np.dtype:
        leaves = *self.taken[0], *self.returned[0]
        return np.result_type(*[x.dtype for x in leaves]) if leaves else np.dtype(float)

    def ravel(self, vector: PyTree) -> Num[Array, " out"]:
        """What the operator returned as one vector."""
        leaves = [jnp.ravel(x).astype(self.dtype) for x in jtu.tree_leaves(vector)]
        if len(leaves) == 1:
            return leaves[0]
        return jnp.concatenate(leaves) if leaves else jnp.zeros(0, self.dtype)

    def unravel(self, vector: Num[Array, " in"]) -> PyTree:
        """One vector as what the operator takes."""
        structs, tree = self.taken
        ends = np.cumsum([0, *(s.size for s in structs)])
        parts = [vector[a:b] for a, b in zip(ends, ends[1:])]
        leaves = [x.reshape(s.shape).astype(s.dtype) for x, s in zip(parts, structs)]
        return jtu.tree_unflatten(tree, leaves)


class Factored(eqx.Module):
    """A state: factors, or the state of the inner solver; and the matrix, with its
    tags, where residuals are to be looked at."""

    factors: AbstractFactors | None
    inner: Any
    matrix: Matrix | None
    flat: Flat
    transposed: bool = eqx.field(static=True)
    tags: frozenset[object] = eqx.field(static=True, default=frozenset())


class EliminationSolver(lx.AbstractLinearSolver[Factored]):
    r"""A linear solver that builds the matrix of the operator by vertex elimination,
    and factors it by the structure that is found.

    Whatever operator $A$ is, $x \mapsto A x$ is a linear computational graph. To
    eliminate its intermediate vertices is to build the matrix of $A$, and the pattern
    that is known when tracing selects the factorisation:

    - a diagonal, or equal blocks along it: inverses of these;
    - bands: $LU$ with partial pivoting, in linear time;
    - wide bands: block-tridiagonal $LU$;
    - a few full rows and columns (an arrowhead): the Schur complement of what is left;
    - one of these and low rank: the formula of Woodbury;
    - anything else, what is small, what is not square, and complex numbers: the solver
        `inner`.

    Rows and columns are reordered (reverse Cuthill-McKee) where that makes bands
    narrower, as for several species on a grid, one after the other.

    It is an argument for all of [lineax](https://docs.kidger.site/lineax/) and
    [optimistix](https://docs.kidger.site/optimistix/).

    **Arguments:**

    - `inner`: the linear solver for matrices without structure. By default that which
        lineax selects: by tags, $LU$ if square, and $QR$ if not.

    Where pivots are not sought in all of the matrix, the solution is refined once and
    its residual is looked at. If that is large then `inner` solves the system (of up to
    2,048 rows). What is singular is reported by lineax's result codes.

    !!! Example

        ```python
        operator = lx.JacobianLinearOperator(fn, y)
        lx.linear_solve(operator, vector, eqx_cc.EliminationSolver())
        newton = optx.Newton(1e-8, 1e-8, linear_solver=eqx_cc.EliminationSolver())
        optx.root_find(fn, newton, y)
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
        given = lx.MatrixLinearOperator, lx.PyTreeLinearOperator
        if isinstance(operator, given) or not is_real(flat.taken[0], flat.returned[0]):
            system = System(None, operator.as_matrix)
        else:
            system = of_operator(operator)
        tags = frozenset(tag for has, tag in _TAGS if has(operator))
        matrix, plan = system.matrix(), system.plan
        if plan is None and self._inverts(matrix, tags):
            return Factored(Small.of(matrix), None, None, flat, False, tags)
        if plan is None:
            return self.of_dense(matrix, flat, options, tags)
        kept = None if plan.is_stable else matrix
        return Factored(plan.factor(matrix), None, kept, flat, False, tags)

    def _inverts(self, matrix: Array, tags: frozenset[object]) -> bool:
        """Whether it is so small that it had better be inverted."""
        rows, columns = matrix.shape
        is_default = isinstance(self.inner, lx.AutoLinearSolver)
        is_small = 0 < rows == columns <= _INVERTED and matrix.dtype in _TYPES
        return is_default and is_small and tags <= {lx.symmetric_tag}

    def of_dense(self, matrix: Array, flat: Flat, options: dict, tags) -> Factored:
        """The state of the inner solver, for a matrix without structure."""
        operator = lx.MatrixLinearOperator(matrix, tags)
        inner = self.inner.init(operator, options) if matrix.size else None
        return Factored(None, inner, None, flat, False)

    def compute(
        self, state: Factored, vector: PyTree[Array], options: dict
    ) -> tuple[PyTree[Array], lx.RESULTS, dict[str, Any]]:
        """Solves a system with the factors."""
        flat = state.flat
        known = flat.ravel(vector)
        result, stats = lx.RESULTS.successful, {}
        if state.inner is not None:
            found, result, stats = self.inner.compute(state.inner, known, options)
        elif state.factors is None:
            found = jnp.zeros(size_of(flat.taken[0]), flat.dtype)
        elif isinstance(state.factors, Small):
            found, is_good = self._small(state, known)
            result = lx.RESULTS.where(is_good, result, lx.RESULTS.singular)
        else:
            found = state.factors.solve(known, state.transposed)
            if state.matrix is not None:
                found, is_good = self._looked_at(state, known, found)
                result = lx.RESULTS.where(is_good, result, lx.RESULTS.singular)
        return flat.unravel(found), result, stats

    def _small(self, state: Factored, known: Array) -> tuple[Array, Bool[Array, ""]]:
        """By the inverse; by the inner solver if that is not as good."""
        own = state.factors
        assert isinstance(own, Small)
        own = own.transpose if state.transposed else own

        def dense(matrix, known):
            return self._densely(matrix, state, known)

        return _unless(*own.checked(known), dense, own.matrix, known)

    def _looked_at(
        self, state: Factored, known: Array, found: Array
    ) -> tuple[Array, Bool[Array, ""]]:
        """A solution refined, or what the inner solver finds where the structure was of
        no use: where a part that is eliminated first is singular, though the whole is
        not."""
        found = _refined(state, known, found)
        is_good = _is_solution(state, known, found)
        matrix = _oriented(state)
        if matrix.size > _DENSE:
            return found, is_good

        def dense(matrix, known):
            new, is_good = self._densely(matrix.dense(), state, known)
            return new, is_good & _is_solution(state, known, new)

        return _unless(found, is_good, dense, matrix, known)

    def _densely(
        self, matrix: Array, state: Factored, known: Array
    ) -> tuple[Array, Bool[Array, ""]]:
        """What the inner solver finds for a matrix."""
        inner = self.of_dense(matrix, state.flat, {}, state.tags).inner
        found, result, _ = self.inner.compute(inner, known, {})
        is_finite = jnp.all(jnp.isfinite(found))
        return found, is_finite & (result == lx.RESULTS.successful)

    def transpose(self, state: Factored, options: dict) -> tuple[Factored, dict]:
        """The state of the transposed operator."""
        inner = state.inner
        if inner is not None:
            inner, options = self.inner.transpose(inner, options)
        transposed = not state.transposed
        flat = state.flat.transpose
        tags = frozenset(_TURNED.get(tag, tag) for tag in state.tags)
        state = Factored(state.factors, inner, state.matrix, flat, transposed, tags)
        return state, options

    def conj(self, state: Factored, options: dict) -> tuple[Factored, dict]:
        """The state of the conjugate operator: what is factored here is real."""
        if state.inner is None:
            return state, options
        inner, options = self.inner.conj(state.inner, options)
        return eqx.tree_at(lambda s: s.inner, state, inner), options

    def assume_full_rank(self) -> bool:
        """As `inner`."""
        return self.inner.assume_full_rank()


def _unless(
    found: Array, is_good: Bool[Array, ""], other: Callable, *args: PyTree
) -> tuple[Array, Bool[Array, ""]]:
    """What was found, or else what `other` makes of its arguments. A loop of at most
    one iteration: in a batch, a branch would always be taken. The barrier keeps XLA
    from moving what is the same in all iterations to before the loop."""
    start = is_good, found, is_good
    dynamic, static = eqx.partition(args, eqx.is_array)

    def step(carry):
        own, _ = lax.optimization_barrier((dynamic, carry))
        return jnp.array(True), *other(*eqx.combine(own, static))

    return lax.while_loop(lambda carry: ~carry[0], step, start)[1:]


def _oriented(state: Factored) -> Matrix:
    assert state.matrix is not None
    return state.matrix.transpose if state.transposed else state.matrix


def _refined(state: Factored, known: Array, found: Array) -> Array:
    """The solution after one step of refinement."""
    assert state.factors is not None
    residual = known - _oriented(state) @ found
    return found + state.factors.solve(residual, state.transposed)


def _is_solution(state: Factored, known: Array, found: Array) -> Bool[Array, ""]:
    """Whether the residual is small, and the solution not so large that rounding alone
    may have made it. What is not a number is no solution."""
    matrix = _oriented(state)
    residual = jnp.max(jnp.abs(known - matrix @ found))
    size = jnp.max(jnp.abs(known))
    reach = matrix.norm() * jnp.max(jnp.abs(found))
    eps = jnp.finfo(found.dtype).eps
    return (residual <= _RESIDUAL * eps * (size + reach)) & (eps * reach <= size)
