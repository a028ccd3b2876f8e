"""Rows of measurements in files, and the tables of a page that are made of them."""

import json
import pathlib
import re
from collections.abc import Callable, Sequence

from ._report import seconds, table


def read(path: str) -> list[dict]:
    """The rows of a file, none if there is no such file."""
    file = pathlib.Path(path)
    return json.loads(file.read_text()) if file.exists() else []


def add(path: str, rows: Sequence[dict], keys: Sequence[str]) -> None:
    """Adds rows to a file of them; those that agree in the keys are replaced."""
    text = written(merged(read(path), rows, keys))
    pathlib.Path(path).write_text(f"{text}\n")


def merged(old: Sequence[dict], new: Sequence[dict], keys: Sequence[str]) -> list[dict]:
    """Old rows, without those that agree in the keys with new ones, and these."""
    key = lambda row: tuple(row[k] for k in keys)  # noqa: E731
    replaced = {key(row) for row in new}
    return [*(row for row in old if key(row) not in replaced), *new]


def written(rows: Sequence[dict]) -> str:
    """As JSON, with a line for each row."""
    return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]"


def write_tables(path: str, rows: Sequence[dict], tables: dict[str, Callable]) -> None:
    """Writes the tables of a page anew, between `<!-- NAME -->` and `<!-- end -->`."""
    file = pathlib.Path(path)
    text = file.read_text()
    for name, make in tables.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        made = make(rows)
        text = pattern.sub(lambda m, made=made: f"{m[1]}\n{made}\n{m[2]}", text)
    file.write_text(text)


def _ratio(rows, problem: str, mode: str, contestant: str) -> str:
    found = _row(rows, problem, mode, contestant)
    if found is None or found["of"] == contestant:
        return ""
    value = found["ratio"]
    text = f"{value:.2f}" if value < 10 else f"{value:.0f}"
    return text + "†" * found.get("earlier", False)


def _row(rows, problem: str, mode: str, contestant: str) -> dict | None:
    own = problem, mode, contestant
    keys = "problem", "mode", "contestant"
    return next((r for r in rows if tuple(r[k] for k in keys) == own), None)


def _problems(rows, mode: str) -> list[str]:
    return list(dict.fromkeys(r["problem"] for r in rows if r["mode"] == mode))


def _forward(rows) -> str:
    names = "diffrax", "EliminationSolver", "CCChord"
    heads = ["problem", "repaired takes", "steps"]
    heads += ["as released", "`EliminationSolver`", "`CCChord`"]
    lines = []
    for problem in _problems(rows, "forward"):
        base = _row(rows, problem, "forward", "repaired")
        if base is not None:
            ratios = [_ratio(rows, problem, "forward", name) for name in names]
            start = seconds(base["median"]), str(base["steps"])
            lines.append([problem, *start, *ratios])
    return table(heads, lines)


def _others(mode: str, names: Sequence[str], heads: Sequence[str]) -> Callable:
    def make(rows) -> str:
        lines = [
            [problem, *(_ratio(rows, problem, mode, name) for name in names)]
            for problem in _problems(rows, mode)
        ]
        return table(["problem", *heads], lines)

    return make


def _compile(rows) -> str:
    names = "repaired", "EliminationSolver", "CCChord"
    lines = []
    for problem in _problems(rows, "forward"):
        own = [_row(rows, problem, "forward", name) for name in names]
        lines.append([problem, *(f"{r['compile']:.1f}" if r else "" for r in own)])
    return table(["problem", "repaired", "`EliminationSolver`", "`CCChord`"], lines)


def _shares(rows) -> str:
    heads = ["problem", "with", "Jacobian", "factorisation", "solves", "the rest"]
    lines = []
    for row in rows:
        if "shares" in row:
            own = [row["shares"][k] for k in ("jacobian", "factorisation", "solves")]
            rest = max(0.0, 1 - sum(own))
            cells = [f"{100 * x:.0f} %" for x in (*own, rest)]
            lines.append([row["problem"], row["contestant"], *cells])
    return table(heads, lines)


_GRADIENT = "CCChord", "CCChord, preaccumulated"
TABLES: dict[str, Callable] = {
    "forward": _forward,
    "gradient": _others("gradient", _GRADIENT, ["`CCChord`", "and `preaccumulate`"]),
    "batch": _others(
        "batch", ["EliminationSolver", "CCChord"], ["`EliminationSolver`", "`CCChord`"]
    ),
    "linearised": _others("linearised", ["eqx_cc"], ["times faster"]),
    "compile": _compile,
    "shares": _shares,
}
