"""Whether stiff solves have the same answers with our root finder as without it.

    python -m benchmarks.answers [--problem TEXT ...] [--method NAME ...]
        [--json FILE] [--tables FILE]

a row for every problem and method: the steps with `CCChord`, and with the root finder
of diffrax once it is repaired; and the errors of both, next to the published solution
of the test set for initial value problem solvers if there is one, and to Radau's method
as SciPy has it if there is not. Errors are relative to the largest entry (of Robertson,
to every entry). With `--json`, rows are added to those that the file has; with
`--tables`, the table of a page is written anew from all of them.
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

from ._report import table
from ._rows import add, read, write_tables
from ._stiff import Problem, PROBLEMS, solve


METHODS = [
    *("Kvaerno3", "Kvaerno4", "Kvaerno5"),
    *("KenCarp3", "KenCarp4", "KenCarp5"),
    "ImplicitEuler",
]
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
PUBLISHED: dict[str, list[float]] = {
    "Robertson": [0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050],
    "Van der Pol": [0.1706167732170483e1, -0.8928097010247975e-3],
    "OREGO": [0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3],
    "HIRES": [
        *(0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4),
        *(0.1175651343283149e-2, 0.2386356198831331e-2, 0.6238968252742796e-2),
        *(0.2849998395185769e-2, 0.2850001604814231e-2),
    ],
    "POLLU": [
        *(0.5646255480022769e-1, 0.1342484130422339, 0.4139734331099427e-8),
        *(0.5523140207484359e-2, 0.2018977262302196e-6, 0.1464541863493966e-6),
        *(0.7784249118997964e-1, 0.3245075353396018, 0.7494013383880406e-2),
        *(0.1622293157301561e-7, 0.1135863833257075e-7, 0.2230505975721359e-2),
        *(0.2087162882798630e-3, 0.1396921016840158e-4, 0.8964884856898295e-2),
        *(0.4352846369330103e-17, 0.6899219696263405e-2, 0.1007803037365946e-3),
        *(0.1772146513969984e-5, 0.5682943292316392e-4),
    ],
}
# Where the reference is at another time, or tolerances are others than for timing.
CHANGED: dict[str, dict[str, Any]] = {
    "Robertson": {"end": 1e11},
    "Brusselator 64": {"end": 2.0},
    "robot 12": {"end": 0.1},
}


def problem(name: str) -> Problem:
    """As in `PROBLEMS`, at the time of the reference."""
    return PROBLEMS[name]()._replace(**CHANGED.get(name, {}))


def reference(name: str) -> np.ndarray:
    """The published solution, or that of SciPy."""
    if name in PUBLISHED:
        return np.array(PUBLISHED[name])
    own = problem(name)
    field = jax.jit(lambda y: own.field(y))
    jacobian = jax.jit(jax.jacfwd(lambda y: own.field(y)))
    found = scipy.integrate.solve_ivp(
        lambda t, y: np.asarray(field(y)),
        (0.0, own.end),
        own.start,
        "Radau",
        rtol=1e-9,
        atol=1e-11,
        jac=lambda t, y: np.asarray(jacobian(y)),
    )
    return found.y[:, -1]


def tolerances(name: str, method: str) -> dict[str, float]:
    """What is asked for: little of methods of low order."""
    low = {"Kvaerno3": 1e-5, "KenCarp3": 1e-5, "ImplicitEuler": 1e-3}
    tol = low.get(method, 1e-7)
    if name == "Robertson":  # Entries down to 1e-13.
        return {"tol": tol, "atol": 1e-9 * tol}
    if name == "POLLU":
        return {"tol": tol, "atol": 1e-3 * tol}
    return {"tol": tol}


def row(name: str, method: str, expected: np.ndarray) -> dict[str, Any]:
    """Both root finders on one problem."""
    own = problem(name)._replace(**tolerances(name, method))
    start = jnp.asarray(own.start)
    compare = ft.partial(_error, name)

    @jax.jit
    def run(start):
        return [solve(own, method, f, start) for f in ("CCChord", "repaired")]

    ours, theirs = run(start)
    good = [x.result == diffrax.RESULTS.successful for x in (ours, theirs)]
    a, b = (np.asarray(x.ys[0]) for x in (ours, theirs))
    return {
        "problem": name,
        "method": method,
        "reference": "published" if name in PUBLISHED else "Radau",
        "tolerance": own.tol,
        "successful": [bool(x) for x in good],
        "steps": [int(x.stats["num_steps"]) for x in (ours, theirs)],
        "errors": [compare(x, expected) for x in (a, b)],
        "difference": compare(a, b),
    }


def _error(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    if name == "Robertson":
        return float(np.max(np.abs(found / expected - 1)))
    return float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))


def markdown(rows: Sequence[dict]) -> str:
    """A table."""
    return table(
        HEADS,
        [
            [
                *(own["problem"], own["method"]),
                *(f"{n:,}" if ok else "fails" for n, ok in _ends(own)),
                *(f"{x:.0e}" for x in own["errors"]),
                f"{own['difference']:.0e}" if all(own["successful"]) else "",
            ]
            for own in rows
        ],
    )


def _ends(own: dict):
    return zip(own["steps"], own["successful"])


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answers")
    several: dict[str, Any] = {"action": "extend", "nargs": "+"}
    parser.add_argument("--problem", default=[], **several)
    parser.add_argument("--method", default=[], choices=METHODS, **several)
    for name in ("--json", "--tables"):
        parser.add_argument(name, metavar="FILE")
    options = parser.parse_args()
    for name in PROBLEMS:
        small = PROBLEMS[name]().start.size <= 600
        if any(text in name for text in options.problem or [""]) and small:
            expected = reference(name)
            for method in options.method or METHODS:
                own = row(name, method, expected)
                print(markdown([own]).splitlines()[-1], flush=True)
                if options.json:
                    add(options.json, [own], ("problem", "method"))
    if options.tables:
        write_tables(options.tables, read(options.json), {"answers": summary})


def summary(rows: Sequence[dict]) -> str:
    """The steps of every method on every problem, with those of diffrax where they are
    others, and the largest errors of the methods of order three and more."""
    lines = []
    for name in dict.fromkeys(own["problem"] for own in rows):
        found = {own["method"]: own for own in rows if own["problem"] == name}
        steps = [_steps(found[m]) if m in found else "" for m in METHODS]
        good = [own["errors"] for m, own in found.items() if m != "ImplicitEuler"]
        errors = [f"{max(pair[i] for pair in good):.0e}" for i in (0, 1)]
        lines.append([name, *steps, " and ".join(errors)])
    return table(["problem", *METHODS, "errors, ours and theirs"], lines)


def _steps(own: dict) -> str:
    ours, theirs = (f"{n:,}" for n in own["steps"])
    return ours if ours == theirs else f"{ours} ({theirs})"


if __name__ == "__main__":
    main()
