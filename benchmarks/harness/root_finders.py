"""Solves of stiff problems by diffrax, with one of several root finders.

??? cite "Reference"

    E. Hairer and G. Wanner, *Solving Ordinary Differential Equations II*, Springer
    1996, section IV.8 (when to stop the iteration).
"""

from typing import Any

import diffrax
import eqx_cc
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx

from ..cases.stiff import Problem
from .coloured import coloured


class Repaired(diffrax.VeryChord):
    """The root finder of diffrax, with the stopping rule of its releases after 0.7.2.

    An iteration that has not converged after two steps goes on, unless it diverges.
    `negligible` is the fraction of `kappa` that counts as rounding: in the methods of
    Kennedy and Carpenter the explicit stages leave more than diffrax expects, and most
    steps are rejected; 1e-4 repairs that too.
    """

    negligible: float | None = None

    def terminate(self, fn, y, args, options, state, tags):
        rate = state.diffsize / state.diffsize_prev
        error = state.diffsize * rate / (1 - rate)
        least = 10 ** (2 - jnp.finfo(state.diffsize.dtype).precision)
        if self.negligible is not None:
            least = self.negligible * self.kappa
        small = state.diffsize < least
        diverged = ~jnp.isfinite(rate) | (rate > 2)
        converged = (error > 0) & (error < self.kappa)
        enough = state.step >= 2
        result = optx.RESULTS.where(
            enough & diverged & ~small & ~converged,
            optx.RESULTS.nonlinear_divergence,
            optx.RESULTS.successful,
        )
        failed = state.result != optx.RESULTS.successful
        result = optx.RESULTS.where(failed, state.result, result)
        return failed | (enough & (small | diverged | converged)), result


COLOURED = "asdex and KLU"
FINDERS = [
    *("diffrax", "repaired", COLOURED, "EliminationSolver", "CCChord"),
    # The gradient's own linear systems too, which no root finder reaches.
    "CCChord, preaccumulated",
]


def finder(contestant: str, method: str, linear: Any = None, **tols: Any) -> Any:
    """The root finder, which takes the tolerances of the steps if it has none; `linear`
    is a linear solver for a problem."""
    linear, kwargs = linear or lx.AutoLinearSolver(well_posed=None), {}
    if contestant == "diffrax":
        kind = diffrax.VeryChord
    elif contestant.startswith("CCChord"):
        kind, linear = eqx_cc.CCChord, eqx_cc.EliminationSolver()
    else:
        kind = Repaired
        kwargs["negligible"] = 1e-4 if method.startswith("KenCarp") else None
        if contestant == "EliminationSolver":
            linear = eqx_cc.EliminationSolver()
    build = kind if tols else diffrax.with_stepsize_controller_tols(kind)
    return build(**tols, linear_solver=linear, **kwargs)


def solve(
    problem: Problem,
    method: str,
    contestant: str,
    start: jax.Array,
    root_finder: Any = None,
):
    """The solution of `diffrax.diffeqsolve`, by the contestant's root finder unless
    another is given."""
    if root_finder is None:
        linear = coloured(problem) if contestant == COLOURED else None
        root_finder = finder(contestant, method, linear)
    field = problem.field
    if contestant.endswith("preaccumulated"):
        field = eqx_cc.preaccumulate(field)
    term: Any = diffrax.ODETerm(lambda t, y, args: field(y))
    if method.startswith("KenCarp"):  # With nothing to be solved explicitly.
        nothing = diffrax.ODETerm(lambda t, y, args: jnp.zeros_like(y))
        term = diffrax.MultiTerm(nothing, term)
    return diffrax.diffeqsolve(
        term,
        getattr(diffrax, method)(root_finder=root_finder),
        0.0,
        problem.end,
        None,
        start,
        stepsize_controller=diffrax.PIDController(
            rtol=problem.tol, atol=problem.tol if problem.atol is None else problem.atol
        ),
        max_steps=200_000,
        throw=False,
    )
