"""A root finder for implicit methods: Newton's iteration with one Jacobian a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import optimistix as optx
from jax import lax
from jaxtyping import Array, Bool, Int, PyTree, Scalar

from .direct import AbstractDirectSolver, DIRECT
from .elimination_solver import EliminationSolver
from .matrix.ravel import is_real, size_of
from .native_parts import MIN_NATIVE, natively
from .operator import jacobian_operator
from .prepared import PreparedJacobian
from .stage import is_identity


class Progress(eqx.Module):
    """The size of the last correction, the number of them, and the result."""

    size: Scalar
    step: Int[Array, ""]
    done: Bool[Array, ""]
    result: optx.RESULTS


class ChordState(eqx.Module):
    """The factors of the Jacobian, and the progress of the iteration."""

    factors: PyTree
    progress: Progress


class CCChord(optx.AbstractRootFinder):
    r"""The chord method with a Jacobian by vertex elimination: a root finder for the
    implicit solvers of [diffrax](https://docs.kidger.site/diffrax/).

    It solves $f(y) = 0$ by $y \leftarrow y - M^{-1} f(y)$, where $M$ is the Jacobian at
    the start of the step. It replaces `diffrax.VeryChord`, with four differences:

    - $M$ is accumulated by elimination, and factored by its structure, as by
        [`eqx_cc.EliminationSolver`][]. Small dense matrices are inverted, because one
        inverse serves all stages and iterations of a step.
    - The identity, from which the stages of a Runge-Kutta method start, is not
        factored. Only factors are carried.
    - Slow convergence does not count as divergence. diffrax 0.7.2 rejects steps that
        have not converged after two iterations, which are most steps.
    - Corrections far below the tolerances count as converged, at any rate. In explicit
        stages they are rounding errors.

    **Arguments:**

    - `rtol`, `atol`, `norm`: the tolerances, which are required, and the norm of
        corrections relative to them. `diffrax.with_stepsize_controller_tols` takes them
        from the step size controller.
    - `kappa`: the largest error of the iteration, relative to the tolerances.
    - `linear_solver`: an [`eqx_cc.EliminationSolver`][], one for a named structure, or
        any other linear solver of lineax. The operator of `lx.Diagonal()`,
        `lx.Tridiagonal()` and `lx.Triangular()` has the tags that its pattern shows.
    - `cauchy_termination`: if `True` then the iteration stops when the correction and
        $f(y)$ are both within the tolerances, as `optimistix.Chord` does by default.
        Otherwise it stops by the rate at which corrections shrink.

    As for `optimistix.Chord`, the `options` of `optimistix.root_find` may have `lower`
    and `upper`, PyTrees of arrays like `y`, to which iterates are clipped. Convergence
    is judged by the corrections before they are clipped, because a bound need not be a
    root.

    States may be complex; the matrix is then dense. There may be more or fewer
    equations than unknowns. Corrections are then least-squares or minimum-norm
    solutions, and the iteration stops as with `cauchy_termination=True`.

    !!! Example

        ```python
        solver = diffrax.Kvaerno5(root_finder=eqx_cc.CCChord(rtol=1e-6, atol=1e-6))
        term = diffrax.ODETerm(lambda t, y, args: -1000 * (y - jnp.cos(t)))
        controller = diffrax.PIDController(rtol=1e-6, atol=1e-6)
        solution = diffrax.diffeqsolve(
            term, solver, 0.0, 1.0, None, jnp.ones(1), stepsize_controller=controller
        )
        print(solution.ys[0].round(3))
        ```

        ```text
        [0.541]
        ```

    ??? cite "Reference"

        E. Hairer and G. Wanner. *Solving Ordinary Differential Equations II: Stiff and
        Differential-Algebraic Problems*, section IV.8. Springer, 2nd edition, 1996.
    """

    rtol: float | None = None
    atol: float | None = None
    norm: Callable[[PyTree], Scalar] = optx.max_norm
    kappa: float = 1e-2
    linear_solver: lx.AbstractLinearSolver = EliminationSolver()
    cauchy_termination: bool = False

    def __check_init__(self):
        if self.rtol is None or self.atol is None:
            raise _without_tolerances(self)

    def init(self, fn, y, args, options, f_struct, aux_struct, tags) -> ChordState:
        """Factors the Jacobian at `y`."""
        del aux_struct
        if "init_state" in options:  # That of an earlier stage.
            return options["init_state"]
        if not (eqx.is_array_like(self.rtol) and eqx.is_array_like(self.atol)):
            raise _without_tolerances(self)
        is_square = size_of(f_struct) == size_of(y)
        factors = self._factors(fn, y, args, tags, is_square)
        leaves = [x.dtype for x in jtu.tree_leaves(y)]
        dtype = jnp.finfo(jnp.result_type(*leaves)).dtype if leaves else jnp.float32
        progress = Progress(
            size=jnp.array(jnp.inf, dtype),
            step=jnp.array(0),
            done=jnp.array(False),
            result=optx.RESULTS.successful,
        )
        return ChordState(_stopped(factors), progress)

    def _factors(self, fn, y, args, tags, is_square: bool) -> Any:
        fun = lambda y: fn(y, args)[0]  # noqa: E731
        solver = self.linear_solver
        if not isinstance(solver, AbstractDirectSolver):
            operator = jacobian_operator(lambda y, _: fun(y), y, tags=tags)
            is_direct = isinstance(solver, (*DIRECT, lx.SVD))
            return solver.init(operator if is_direct else lx.linearise(operator), {})
        if not (is_square and is_real(y) and solver.assume_full_rank()):
            operator = lx.JacobianLinearOperator(lambda y, _: fun(y), y, tags=tags)
            return solver.init(operator, {})
        identity = is_identity(lambda y, args: fn(y, args)[0], y, args)
        jacobian = PreparedJacobian(
            solver, fun, y, shifted=identity is not None, tags=tags
        )
        if identity is None:
            return jacobian.factored()
        return lax.cond(identity, jacobian.identity, jacobian.factored)

    def step(self, fn, y, args, options, state: ChordState, tags):
        """Performs an iteration."""
        del tags
        bounds = options.get("lower"), options.get("upper")
        run = natively if size_of(y) >= MIN_NATIVE else lambda fun, *args: fun(*args)
        value, aux = run(lambda y: fn(y, args), y)
        factors = _stopped(state.factors)
        correction, result, _ = self.linear_solver.compute(factors, value, {})
        arguments = y, value, correction, result, bounds, state.progress
        y, progress = run(self._corrected, *arguments)
        return y, ChordState(state.factors, progress), aux

    def _corrected(self, y, value, correction, result, bounds, before: Progress):
        """The next iterate, and the progress."""
        plain = jtu.tree_map(lambda a, b: a - b, y, correction)
        size = jnp.asarray(self._scaled_norm(correction, plain), before.size.dtype)
        # Where it fails the last iterate stays: diffrax's step size controllers divide
        # by the state, and gradients of steps that were rejected linearise there.
        is_finite = jnp.isfinite(size)
        new = _clipped(plain, *bounds)
        new = jtu.tree_map(lambda a, b: jnp.where(is_finite, a, b), new, y)
        result = optx.RESULTS.promote(result)
        # A least-squares correction is zero at the smallest residual, root or not.
        is_least_squares = not self.linear_solver.assume_full_rank()
        is_square = size_of(value) == size_of(y)
        if self.cauchy_termination or is_least_squares or not is_square:
            is_root = self._scaled_norm(value) < 1
            result = _finite(size, result)
            done = (size < 1) & is_root | (result != optx.RESULTS.successful)
            return new, Progress(size, before.step + 1, done, result)
        after = self._by_rate(size, result, before)
        if bounds == (None, None):
            return new, after
        # What was clipped says nothing of the rate.
        size = jnp.where(_differ(new, plain), jnp.inf, size)
        return new, eqx.tree_at(lambda progress: progress.size, after, size)

    def _scaled_norm(self, values: PyTree, reference: PyTree | None = None) -> Scalar:
        """The norm relative to the tolerances; the absolute one without reference."""
        assert self.rtol is not None and self.atol is not None
        rtol, atol = self.rtol, self.atol

        def scaled(value, reference=None):
            if reference is None:
                return value / atol
            return value / (atol + rtol * jnp.abs(reference))

        with jax.numpy_dtype_promotion("standard"):
            trees = [values] if reference is None else [values, reference]
            return self.norm(jtu.tree_map(scaled, *trees))

    def _by_rate(
        self, size: Scalar, result: optx.RESULTS, before: Progress
    ) -> Progress:
        """The progress by the rate at which corrections shrink.

        Corrections of 1, then 0.1 shrink at the rate 0.1. The next ones would be 0.01,
        0.001, ...: the error is at most 0.1 * 0.1 / (1 - 0.1).
        """
        result = _finite(size, result)
        rate = size / before.size
        error = size * rate / (1 - rate)
        is_second = before.step >= 1
        small = size < _NEGLIGIBLE * self.kappa
        converged = small | (is_second & (error > 0) & (error < self.kappa))
        diverged = is_second & (~jnp.isfinite(rate) | (rate > 2))
        failed = result != optx.RESULTS.successful
        result = optx.RESULTS.where(
            diverged & ~converged & ~failed,
            optx.RESULTS.nonlinear_divergence,
            result,
        )
        return Progress(size, before.step + 1, converged | diverged | failed, result)

    def terminate(
        self, fn, y, args, options, state: ChordState, tags
    ) -> tuple[Bool[Array, ""], optx.RESULTS]:
        """Returns whether to stop, and the result."""
        del fn, y, args, options, tags
        return state.progress.done, state.progress.result

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        """Nothing is left to do."""
        del fn, args, options, state, tags, result
        return y, aux, {}


# A correction of this part of what the error may be is as good as none.
_NEGLIGIBLE = 1e-4


def _without_tolerances(finder: CCChord) -> ValueError:
    return ValueError(
        f"`eqx_cc.CCChord` needs tolerances, but got `rtol={finder.rtol}` and "
        f"`atol={finder.atol}`. Give numbers, as in "
        "`eqx_cc.CCChord(rtol=1e-6, atol=1e-6)`; for an implicit solver of diffrax, "
        "`diffrax.with_stepsize_controller_tols(eqx_cc.CCChord)()` takes those of its "
        "step size controller."
    )


def _finite(size: Scalar, result: optx.RESULTS) -> optx.RESULTS:
    """The result, singular if a correction is not finite."""
    return optx.RESULTS.where(
        (result == optx.RESULTS.successful) & ~jnp.isfinite(size),
        optx.RESULTS.promote(lx.RESULTS.singular),
        result,
    )


def _clipped(y: PyTree, lower: PyTree | None, upper: PyTree | None) -> PyTree:
    """An iterate between the bounds that are not None."""
    for limit, bound in ((jnp.maximum, lower), (jnp.minimum, upper)):
        if bound is not None:
            bound = jtu.tree_map(lambda a, b: jnp.asarray(b, a.dtype), y, bound)
            y = jtu.tree_map(limit, y, bound)
    return y


def _differ(one: PyTree, other: PyTree) -> Bool[Array, ""]:
    pairs = zip(jtu.tree_leaves(one), jtu.tree_leaves(other))
    return jnp.any(jnp.stack([jnp.any(a != b) for a, b in pairs]))


def _stopped(state: PyTree) -> PyTree:
    dynamic, static = eqx.partition(state, eqx.is_inexact_array)
    return eqx.combine(lax.stop_gradient(dynamic), static)
