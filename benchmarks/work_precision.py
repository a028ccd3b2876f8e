"""The time of stiff solves against their errors, beside SciPy's implicit methods.

    python -m benchmarks.work_precision [--repeats 7] [--json FILE]

solves each problem at several tolerances, by Kvaerno5 of diffrax with its own root
finder, with that repaired, and with `CCChord`, and by SciPy's `Radau` and `BDF`, which
call the compiled field and its compiled Jacobian. Contestants run in turn. `seconds` is
the median; `error` the largest difference from the reference at the end, relative to
its largest entry. References: the published one of HIRES, and for others `Radau` at the
tolerance 1e-11.

??? cite "Reference"

    E. Hairer and G. Wanner, *Solving Ordinary Differential Equations II*, Springer
    1996, section IV.10 (work-precision diagrams).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from .cases.kinetics import HIRES_END
from .cases.stiff import Problem, PROBLEMS
from .harness.root_finders import solve
from .harness.rows import add


CHOSEN = "HIRES", "Brusselator 128"
TOLERANCES = tuple(10.0**-k for k in range(3, 10))
DIFFRAX = "diffrax", "repaired", "CCChord"
SCIPY = "Radau", "BDF"
METHOD = "Kvaerno5"
# Of the relative tolerance, as some species of HIRES are small.
ABSOLUTE = 1e-3


class _Solve(NamedTuple):
    """A solve of one problem by one contestant: it returns the end, or None."""

    contestant: str
    tol: float
    run: Callable[[], np.ndarray | None]


def _by_diffrax(problem: Problem, contestant: str, tol: float) -> _Solve:
    problem = problem._replace(tol=tol, atol=ABSOLUTE * tol)

    @jax.jit
    def end(start):
        solution = solve(problem, METHOD, contestant, start)
        assert solution.ys is not None
        return solution.ys[-1], solution.result

    def run() -> np.ndarray | None:
        y, result = jax.block_until_ready(end(jnp.asarray(problem.start)))
        return np.asarray(y) if int(result._value) == 0 else None

    return _Solve(contestant, tol, run)


def _by_scipy(problem: Problem, method: str, tol: float) -> _Solve:
    field, jacobian = jax.jit(problem.field), jax.jit(jax.jacfwd(problem.field))
    options: dict[str, Any] = {"rtol": tol, "atol": ABSOLUTE * tol, "method": method}

    def run() -> np.ndarray | None:
        solution = solve_ivp(
            lambda t, y: np.asarray(field(y)),
            (0.0, problem.end),
            problem.start,
            jac=lambda t, y: np.asarray(jacobian(y)),
            **options,
        )
        return solution.y[:, -1] if solution.success else None

    return _Solve(f"SciPy {method}", tol, run)


def _reference(name: str, problem: Problem) -> np.ndarray:
    if name == "HIRES":
        return HIRES_END
    end = _by_scipy(problem, "Radau", 1e-11).run()
    assert end is not None
    return end


def measure(name: str, repeats: int) -> list[dict]:
    """A row for each contestant and tolerance."""
    problem = PROBLEMS[name]()
    reference = _reference(name, problem)
    solves = [_by_diffrax(problem, c, tol) for c in DIFFRAX for tol in TOLERANCES]
    solves += [_by_scipy(problem, m, tol) for m in SCIPY for tol in TOLERANCES]
    ends = [each.run() for each in solves]  # Compiles.
    taken: list[list[float]] = [[] for _ in solves]
    for _ in range(repeats):
        for each, times in zip(solves, taken):
            start = time.perf_counter()
            each.run()
            times.append(time.perf_counter() - start)
    rows = []
    for each, end, times in zip(solves, ends, taken):
        row: dict[str, Any] = {"problem": name, "contestant": each.contestant}
        row |= {"tol": each.tol, "seconds": statistics.median(times), "error": None}
        if end is not None:
            difference = np.max(np.abs(end - reference))
            row["error"] = float(difference / np.max(np.abs(reference)))
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.work_precision")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    for name in CHOSEN:
        rows = measure(name, options.repeats)
        for row in rows:
            error = "failed" if row["error"] is None else f"{row['error']:.1e}"
            seconds = f"{1e3 * row['seconds']:.3g} ms"
            print(name, row["contestant"], f"{row['tol']:.0e}", error, seconds)
        if options.json:
            add(options.json, rows, ("problem", "contestant", "tol"))


if __name__ == "__main__":
    main()
