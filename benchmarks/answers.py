"""Answers of stiff solves with our root finder, next to those without it.

    python -m benchmarks.answers [--problem TEXT ...] [--method NAME ...]
        [--json FILE]

a row for every problem and method: the steps with `CCChord`, and with the root finder
of diffrax once it is repaired; and the errors of both, next to the published solution
of the test set for initial value problem solvers if there is one, and to Radau's method
as SciPy has it if there is not. Errors are relative to the largest entry (of Robertson,
to every entry). With `--json`, rows are added to those that the file has;
`docs/tools/pages.py` makes the table of the page from them.
"""

import argparse
import functools as ft
from collections.abc import Sequence
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate

from .cases.kinetics import HIRES_END, POLLU_END
from .cases.stiff import Problem, PROBLEMS
from .harness.root_finders import solve
from .harness.rows import add
from .reports.answers import METHODS
from .reports.tables import table


HEADS = (
    "problem",
    "method",
    "steps",
    "of diffrax",
    "error",
    "of diffrax",
    "between them",
)

# Test Set for Initial Value Problem Solvers, release 2.4, University of Bari 2008, in
# the time and the variables of `PROBLEMS`.
PUBLISHED: dict[str, np.ndarray] = {
    "Robertson": np.array(
        [0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050]
    ),
    "Van der Pol": np.array([0.1706167732170483e1, -0.8928097010247975e-3]),
    "OREGO": np.array(
        [0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3]
    ),
    "HIRES": HIRES_END,
    "POLLU": POLLU_END,
}
# Where the reference is at another time, or tolerances are others than for timing.
CHANGED: dict[str, dict[str, Any]] = {
    "Robertson": {"end": 1e11},
    "Brusselator 64": {"end": 2.0},
    "robot 12": {"end": 0.1},
}


def problem(name: str) -> Problem:
    """The problem in `PROBLEMS`, until the time of its reference."""
    return PROBLEMS[name]()._replace(**CHANGED.get(name, {}))


def reference(name: str) -> np.ndarray:
    """The published solution, or that of SciPy."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    stiff = problem(name)
    field = jax.jit(lambda y: stiff.field(y))
    jacobian = jax.jit(jax.jacfwd(lambda y: stiff.field(y)))
    solution = scipy.integrate.solve_ivp(
        lambda t, y: np.asarray(field(y)),
        (0.0, stiff.end),
        stiff.start,
        "Radau",
        rtol=1e-9,
        atol=1e-11,
        jac=lambda t, y: np.asarray(jacobian(y)),
    )
    return solution.y[:, -1]


def tolerances(name: str, method: str) -> dict[str, float]:
    """The tolerances of the steps: loose for methods of low order."""
    low = {"Kvaerno3": 1e-5, "KenCarp3": 1e-5, "ImplicitEuler": 1e-3}
    tol = low.get(method, 1e-7)
    if name == "Robertson":  # Entries down to 1e-13.
        return {"tol": tol, "atol": 1e-9 * tol}
    if name == "POLLU":
        return {"tol": tol, "atol": 1e-3 * tol}
    return {"tol": tol}


def compared(name: str, method: str, expected: np.ndarray) -> dict[str, Any]:
    """Steps and errors of both root finders on one problem."""
    stiff = problem(name)._replace(**tolerances(name, method))
    start = jnp.asarray(stiff.start)
    compare = ft.partial(_error, name)

    @jax.jit
    def run(start):
        return [solve(stiff, method, f, start) for f in ("CCChord", "repaired")]

    ours, theirs = run(start)
    good = [x.result == diffrax.RESULTS.successful for x in (ours, theirs)]
    a, b = (np.asarray(x.ys[0]) for x in (ours, theirs))
    return {
        "problem": name,
        "method": method,
        "reference": "published" if name in PUBLISHED else "Radau",
        "tolerance": stiff.tol,
        "successful": [bool(x) for x in good],
        "steps": [int(x.stats["num_steps"]) for x in (ours, theirs)],
        "errors": [compare(x, expected) for x in (a, b)],
        "difference": compare(a, b),
    }


def _error(name: str, solution: np.ndarray, expected: np.ndarray) -> float:
    if name == "Robertson":
        return float(np.max(np.abs(solution / expected - 1)))
    return float(np.max(np.abs(solution - expected)) / np.max(np.abs(expected)))


def markdown(rows: Sequence[dict]) -> str:
    """Table with a row for each problem and method."""
    return table(
        HEADS,
        [
            [
                *(row["problem"], row["method"]),
                *(
                    f"{steps:,}" if successful else "fails"
                    for steps, successful in zip(row["steps"], row["successful"])
                ),
                *(f"{x:.0e}" for x in row["errors"]),
                f"{row['difference']:.0e}" if all(row["successful"]) else "",
            ]
            for row in rows
        ],
    )


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answers")
    several: dict[str, Any] = {"action": "extend", "nargs": "+"}
    parser.add_argument("--problem", default=[], **several)
    parser.add_argument("--method", default=[], choices=METHODS, **several)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    for name in PROBLEMS:
        small = PROBLEMS[name]().start.size <= 600
        if any(text in name for text in options.problem or [""]) and small:
            expected = reference(name)
            for method in options.method or METHODS:
                row = compared(name, method, expected)
                print(markdown([row]).splitlines()[-1], flush=True)
                if options.json:
                    add(options.json, [row], ("problem", "method"))


if __name__ == "__main__":
    main()
