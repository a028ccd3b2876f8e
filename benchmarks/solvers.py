"""Times of stiff solves with our root finder and linear solver.

    python -m benchmarks.solvers [--problem TEXT ...] [--contestant NAME ...]
        [--mode forward gradient batch linearised] [--method Kvaerno5] [--repeats 15]
        [--json FILE]

a row for every problem, mode and contestant: those of one problem are run in turn, and
medians are compared with that of diffrax with its root finder repaired. `error` is the
largest difference from that solution, relative to its largest entry. The mode
"gradient" is of the sum of squares at the end; "batch" is of 128 starts under
`jax.vmap`; "linearised" are filters, flows and least squares, next to `jax.jacfwd`.

With `--json`, rows are added to those that the file has; `docs/tools/pages.py` makes
the tables of the pages from them. `--shares` adds what Jacobian, factorisation and
solves take of each forward solve.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import diffrax
import eqx_cc
import jax
import jax.numpy as jnp

from .cases.linearised import LINEARISED, with_jax
from .cases.stiff import Problem, PROBLEMS
from .harness.root_finders import COLOURED, FINDERS, solve
from .harness.rows import add
from .reports.shares import shares
from .reports.tables import seconds


BASELINE = "repaired"
BATCH = 128
MODES = "forward", "gradient", "batch", "linearised"
METHOD = "Kvaerno5"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solvers")
    several: dict[str, Any] = {"action": "extend", "nargs": "+"}
    parser.add_argument("--problem", default=[], **several)
    parser.add_argument("--contestant", default=[], choices=list(FINDERS), **several)
    parser.add_argument("--mode", default=[], choices=MODES, **several)
    parser.add_argument("--method", default=METHOD)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--shares", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def _function(problem: Problem, contestant: str, mode: str, method: str) -> Callable:
    def forward(start):
        solution = solve(problem, method, contestant, start)
        stats = solution.stats
        steps = stats["num_steps"], stats["num_rejected_steps"]
        assert solution.ys is not None
        return solution.ys[0], steps, solution.result == diffrax.RESULTS.successful

    def loss(start):
        end, *rest = forward(start)
        return jnp.sum(end**2), rest

    def gradient(start):
        cotangent, rest = jax.grad(loss, has_aux=True)(start)
        return cotangent, *rest

    def batch(starts):
        ends, steps, good = jax.vmap(forward)(starts)
        return ends, [jnp.max(x) for x in steps], jnp.all(good)

    return {"forward": forward, "gradient": gradient, "batch": batch}[mode]


def _linearised(name: str, contestant: str) -> Callable:
    make, _ = LINEARISED[name]
    ours = contestant == "eqx_cc"
    run = make(eqx_cc.filter_value_and_jacobian if ours else with_jax)
    nothing = jnp.nan, jnp.nan
    return lambda x: (run(x), nothing, jnp.array(True))


def compiled(
    name: str, mode: str, contestants: list[str], method: str = METHOD
) -> dict[str, tuple]:
    """The programs, how long each took to trace and compile, and their argument."""
    programs = {}
    if mode == "linearised":
        start = LINEARISED[name][1]()
    else:
        problem = PROBLEMS[name]()
        start = jnp.asarray(problem.start)
        if mode == "batch":
            start = start * (1 + 0.01 * jnp.linspace(0.0, 1.0, BATCH)[:, None])
    for contestant in contestants:
        begun = time.perf_counter()
        if mode == "linearised":
            function = _linearised(name, contestant)
        else:
            function = _function(problem, contestant, mode, method)
        program = jax.jit(function).lower(start).compile()
        programs[contestant] = program, time.perf_counter() - begun, start
    return programs


def timed(name: str, mode: str, programs: dict, repeats: int) -> list[dict]:
    """A row for every contestant."""
    first, times = {}, {contestant: [] for contestant in programs}
    for contestant, (program, _, start) in programs.items():
        first[contestant] = jax.block_until_ready(program(start))
    for _ in range(repeats):
        for contestant, (program, _, start) in programs.items():
            begun = time.perf_counter()
            jax.block_until_ready(program(start))
            times[contestant].append(time.perf_counter() - begun)
    medians = {c: statistics.median(seconds) for c, seconds in times.items()}
    base = _baseline(mode)
    base = base if base in first else next(iter(first))
    reference = first[base][0]
    return [
        {
            "problem": name,
            "mode": mode,
            "contestant": contestant,
            "median": median,
            "ratio": medians[base] / median,
            "of": base,
            "steps": _count(first[contestant][1][0]),
            "rejected": _count(first[contestant][1][1]),
            "compile": programs[contestant][1],
            "error": _error(first[contestant][0], reference),
            "successful": bool(first[contestant][2]),
        }
        for contestant, median in medians.items()
    ]


def _baseline(mode: str) -> str:
    return "jax.jacfwd" if mode == "linearised" else BASELINE


def _error(result: jax.Array, reference: jax.Array) -> float:
    return float(jnp.max(jnp.abs(result - reference)) / jnp.max(jnp.abs(reference)))


def _count(x: Any) -> int | None:
    return None if jnp.isnan(x) else int(x)


def line(row: dict) -> str:
    """A row as it is printed."""
    steps = "" if row["steps"] is None else f"{row['steps']} steps"
    status = "" if row["successful"] else "  FAILED"
    return (
        f"{row['problem']:28} {row['mode']:10} {row['contestant']:24} "
        f"{seconds(row['median']):>8} {row['ratio']:7.2f}x  {steps:>10}  compile "
        f"{row['compile']:5.1f} s  error {row['error']:.0e}{status}"
    )


def contestants(name: str, mode: str) -> list[str]:
    """All but those that would take minutes."""
    if mode == "linearised":
        return ["jax.jacfwd", "eqx_cc"]
    size, is_mesh = PROBLEMS[name]().start.size, name.startswith("mesh")
    listed = [c for c in FINDERS if mode == "gradient" or "preacc" not in c]
    if mode != "forward" or size > 500:
        listed.remove("diffrax")
    if not is_mesh:
        listed.remove(COLOURED)
    if size > 2000:
        return [c for c in listed if c in ("CCChord", "EliminationSolver", COLOURED)]
    return listed


def jobs(options: argparse.Namespace) -> Iterator[tuple[str, str, list[str]]]:
    """Problems, modes and who takes part."""
    for mode in options.mode or MODES:
        for name in LINEARISED if mode == "linearised" else PROBLEMS:
            large = mode != "linearised" and PROBLEMS[name]().start.size > 128
            if large and mode != "forward":
                continue
            if _is_wanted(name, options.problem):
                listed = contestants(name, mode)
                wanted = options.contestant or listed
                yield name, mode, [c for c in listed if c in wanted]


def _is_wanted(name: str, texts: list[str]) -> bool:
    """True for the problem of a name, or for all whose names have a text in them."""
    if not texts or name in texts:
        return True
    return any(text in name for text in texts if text not in PROBLEMS)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    options = _options()
    for name, mode, listed in jobs(options):
        programs = compiled(name, mode, listed, options.method)
        rows = timed(name, mode, programs, options.repeats)
        for row in rows:
            if options.method != METHOD:
                row["problem"] += f", {options.method}"
            print(line(row), flush=True)
            if options.shares and mode == "forward" and row["contestant"] != "diffrax":
                solved = PROBLEMS[name](), options.method, row["contestant"]
                row["shares"] = shares(*solved, row["steps"], row["median"])
                print("    ", {k: f"{x:.3g}" for k, x in row["shares"].items()})
        if options.json:
            add(options.json, rows, ("problem", "mode", "contestant"))


if __name__ == "__main__":
    main()
