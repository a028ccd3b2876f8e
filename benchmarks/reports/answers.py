"""The table of steps and errors."""

from collections.abc import Sequence

from .tables import table


METHODS = [
    *("Kvaerno3", "Kvaerno4", "Kvaerno5"),
    *("KenCarp3", "KenCarp4", "KenCarp5"),
    "ImplicitEuler",
]


def summary(rows: Sequence[dict]) -> str:
    """The steps of every method on every problem, with those of diffrax where they are
    others, and the largest errors of the methods of order three and more."""
    lines = []
    for name in dict.fromkeys(row["problem"] for row in rows):
        by_method = {row["method"]: row for row in rows if row["problem"] == name}
        steps = [_steps(by_method[m]) if m in by_method else "" for m in METHODS]
        good = [row["errors"] for m, row in by_method.items() if m != "ImplicitEuler"]
        errors = [f"{max(pair[i] for pair in good):.0e}" for i in (0, 1)]
        lines.append([name, *steps, " and ".join(errors)])
    return table(["problem", *METHODS, "errors, ours and theirs"], lines)


def _steps(row: dict) -> str:
    ours, theirs = (f"{n:,}" for n in row["steps"])
    return ours if ours == theirs else f"{ours} ({theirs})"
