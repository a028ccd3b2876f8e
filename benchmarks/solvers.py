"""How long stiff solves take with our root finder and linear solver.

    python -m benchmarks.solvers [--problem TEXT ...] [--contestant NAME ...]
        [--method Kvaerno5] [--mode forward|gradient|batch] [--repeats 15]

a row for every problem and contestant: those of one problem are run in turn, and
medians are compared with that of diffrax with its root finder repaired. `error` is the
largest difference from that solution, relative to its largest entry. `--mode gradient`
is of the sum of squares at the end; `--mode batch` is of 128 starts under `jax.vmap`.

    python -m benchmarks.solvers --parts

the parts of a step by themselves, in a compiled loop: Jacobian, factorisation, solve.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import diffrax
import eqx_cc
import jax
import jax.numpy as jnp
import jax.scipy as jsp
from eqx_cc._solve._approximate import Prepared
from jax import lax

from ._report import seconds
from ._stiff import FINDERS, Problem, PROBLEMS, solve


BASELINE = "repaired"
BATCH = 128


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solvers")
    several: dict[str, Any] = {"action": "extend", "nargs": "+"}
    parser.add_argument("--problem", default=[], **several)
    parser.add_argument("--contestant", default=[], choices=list(FINDERS), **several)
    parser.add_argument("--method", default="Kvaerno5")
    modes = "forward", "gradient", "batch"
    parser.add_argument("--mode", default="forward", choices=modes)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--parts", action="store_true")
    return parser.parse_args()


def _function(problem: Problem, method: str, contestant: str, mode: str) -> Callable:
    def forward(start):
        found = solve(problem, method, contestant, start)
        steps = found.stats["num_steps"], found.stats["num_rejected_steps"]
        assert found.ys is not None
        return found.ys[0], steps, found.result == diffrax.RESULTS.successful

    def loss(start):
        return jnp.sum(forward(start)[0] ** 2)

    def gradient(start):
        return jax.grad(loss)(start), (jnp.nan, jnp.nan), True

    def batch(starts):
        found, steps, good = jax.vmap(forward)(starts)
        return found, [jnp.max(x) for x in steps], jnp.all(good)

    return jax.jit({"forward": forward, "gradient": gradient, "batch": batch}[mode])


def _compare(name: str, options: argparse.Namespace) -> None:
    problem = PROBLEMS[name]()
    start = jnp.asarray(problem.start)
    if options.mode == "batch":
        start = start * (1 + 0.01 * jnp.linspace(0.0, 1.0, BATCH)[:, None])
    programs, first, compiling = {}, {}, {}
    for contestant in options.contestant or _default(name, options.mode):
        begun = time.perf_counter()
        function = _function(problem, options.method, contestant, options.mode)
        program = function.lower(start).compile()
        compiling[contestant] = time.perf_counter() - begun
        try:
            first[contestant] = jax.block_until_ready(program(start))
        except Exception:  # A linear system of the gradient, say.
            print(f"{name:20} {contestant:24} raises an error", flush=True)
            continue
        programs[contestant] = program
    times = {contestant: [] for contestant in programs}
    for _ in range(options.repeats):
        for contestant, program in programs.items():
            begun = time.perf_counter()
            jax.block_until_ready(program(start))
            times[contestant].append(time.perf_counter() - begun)
    medians = {c: statistics.median(own) for c, own in times.items()}
    if not first:
        return
    reference = first.get(BASELINE, first[next(iter(first))])[0]
    for contestant, median in medians.items():
        found, (steps, rejected), good = first[contestant]
        error = jnp.max(jnp.abs(found - reference)) / jnp.max(jnp.abs(reference))
        ratio = medians[BASELINE] / median if BASELINE in medians else float("nan")
        status = "" if good else "  FAILED"
        print(
            f"{name:20} {contestant:24} {seconds(median):>8} {ratio:6.2f}x  steps "
            f"{float(steps):5.0f} ({float(rejected):4.0f} rejected)  compile "
            f"{compiling[contestant]:5.1f} s  error {float(error):.0e}{status}",
            flush=True,
        )


def _default(name: str, mode: str) -> list[str]:
    """All but those that would take minutes."""
    size = PROBLEMS[name]().start.size
    listed = [c for c in FINDERS if mode == "gradient" or "preacc" not in c]
    if mode != "forward":
        listed.remove("diffrax")
    if size > 500:
        listed = [c for c in listed if c != "diffrax"]
    if size > 2000:
        listed = ["CCChord"]
    return listed


#
# Parts
#


def _parts(name: str) -> None:
    problem = PROBLEMS[name]()
    start = jnp.asarray(problem.start)
    relation = lambda k: k - 1e-3 * problem.field(start + 0.25 * k)  # noqa: E731
    size = start.size
    matrix = jax.jit(jax.jacfwd(relation))(start)
    solver = eqx_cc.EliminationSolver()

    def ours(k):
        return Prepared(solver, relation, k)

    factors = jax.jit(lambda k: ours(k).factored().factors)(start)
    lu = jax.jit(jsp.linalg.lu_factor)(matrix)
    rows = {
        "jax.jacfwd": _each(jax.jacfwd(relation), start),
        "LAPACK factors": _each(lambda m: jsp.linalg.lu_factor(m)[0], matrix),
        "LAPACK solves": _each(lambda b: jsp.linalg.lu_solve(lu, b), start),
        "Jacobian": _each(lambda k: ours(k)._system.matrix(), start),
        "with factors": _each(lambda k: ours(k).factored().factors, start),
        "solves": _each(lambda b: factors.solve(b, False), start),
    }
    times = "  ".join(f"{key} {seconds(value)}" for key, value in rows.items())
    print(f"{name:20} {size:6} {type(factors).__name__:16} {times}", flush=True)


def _each(fun: Callable, x: jax.Array, most: float = 0.3) -> float:
    """Seconds of one call in a compiled loop that consumes all results."""

    @jax.jit
    def run(count, x):
        def step(_, carry):
            leaves = jax.tree.leaves(fun(x + 1e-30 * carry))
            return carry + sum(jnp.sum(leaf).astype(float) for leaf in leaves)

        return lax.fori_loop(0, count, step, jnp.zeros(()))

    count, elapsed = 1, 0.0
    while elapsed < most / 8:
        count *= 4
        jax.block_until_ready(run(count, x))
        begun = time.perf_counter()
        jax.block_until_ready(run(count, x))
        elapsed = time.perf_counter() - begun
    found = [elapsed]
    for _ in range(6):
        begun = time.perf_counter()
        jax.block_until_ready(run(count, x))
        found.append(time.perf_counter() - begun)
    return statistics.median(found) / count


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    options = _options()
    for name in PROBLEMS:
        if options.problem and not any(text in name for text in options.problem):
            continue
        if options.parts:
            if PROBLEMS[name]().start.size <= 2000:
                _parts(name)
        else:
            _compare(name, options)


if __name__ == "__main__":
    main()
