"""Shares of Jacobian, factorisation and linear solves in the time of a whole solve.

Each part is timed by itself, in a compiled loop, and counted: with diffrax, two
Jacobians and factorisations a step, of which one is that of the identity; with
`CCChord` one; and a solve for every iteration.
"""

import statistics
from collections.abc import Callable
from typing import Any

import eqx_cc
import jax
import jax.numpy as jnp
import lineax as lx
from eqx_cc._solve.prepared import PreparedJacobian
from eqx_cc._solve.system import of_operator
from jax import lax

from ..cases.stiff import Problem
from ..harness.root_finders import finder, solve
from ..harness.timing import Program, sample


PARTS = "jacobian", "factorisation", "solves"


def iterations(problem: Problem, method: str, contestant: str) -> int:
    """Number of linear systems in a whole solve."""
    count = [0]

    def add():
        count[0] += 1

    # As `diffrax.with_stepsize_controller_tols` does it, around a finder that counts.
    tols = dict(rtol=problem.tol, atol=problem.tol)
    root_finder = finder(contestant, method, **tols)

    class Counting(type(root_finder)):
        def step(self, *args):
            jax.debug.callback(add)
            return super().step(*args)

    fields = root_finder.__dataclass_fields__
    counting = Counting(**{name: getattr(root_finder, name) for name in fields})
    start = jnp.asarray(problem.start)
    run = jax.jit(lambda y: solve(problem, method, contestant, y, counting).ys)
    jax.block_until_ready(run(start))
    jax.effects_barrier()
    return count[0]


def seconds(problem: Problem, contestant: str) -> dict[str, float]:
    """Seconds of one Jacobian, one factorisation and one linear solve."""
    start = jnp.asarray(problem.start)
    relation = lambda k: k - 1e-3 * problem.field(start + 0.25 * k)  # noqa: E731
    ours = contestant.startswith("CCChord")
    solver: Any = eqx_cc.EliminationSolver()
    if contestant == "repaired":
        solver = lx.AutoLinearSolver(well_posed=None)

    def jacobian(k):
        if ours:
            return PreparedJacobian(solver, relation, k, shifted=True)._system.matrix()
        if contestant == "repaired":
            return jax.jacfwd(relation)(k)
        return of_operator(_operator(k)).matrix()

    def _operator(k):
        return lx.linearise(lx.JacobianLinearOperator(lambda k, _: relation(k), k))

    def factored(k):
        if ours:
            return PreparedJacobian(solver, relation, k, shifted=True).factored()
        return solver.init(_operator(k), {})

    state = jax.jit(factored)(start)
    static = jax.tree.map(lambda x: x, state)
    whole = each(lambda k: jax.tree.leaves(factored(k)), start)
    alone = each(lambda k: jax.tree.leaves(jacobian(k)), start)
    return {
        "jacobian": min(alone, whole),
        "factorisation": max(0.0, whole - alone),
        "solves": each(lambda b: solver.compute(static, b, {})[0], start),
    }


def shares(
    problem: Problem, method: str, contestant: str, steps: int, median: float
) -> dict[str, float]:
    """Share of each part in the time of a whole solve, and what they are made of."""
    times = seconds(problem, contestant)
    factored = steps * (1 if contestant.startswith("CCChord") else 2)
    counts = factored, factored, iterations(problem, method, contestant)
    parts = {k: n * times[k] / median for k, n in zip(PARTS, counts)}
    return {**parts, "iterations": counts[-1], **{f"{k} s": times[k] for k in PARTS}}


def each(fun: Callable, x: jax.Array, most: float = 0.35) -> float:
    """Seconds of one call in a compiled loop that consumes all results."""

    @jax.jit
    def run(count, x):
        def step(_, carry):
            leaves = jax.tree.leaves(fun(x + 1e-30 * carry))
            return carry + sum(jnp.sum(leaf).astype(float) for leaf in leaves)

        return lax.fori_loop(0, count, step, jnp.zeros(()))

    program = Program(lambda count: jax.block_until_ready(run(count, x)))
    return statistics.median(sample({"": program}, most)[""])
