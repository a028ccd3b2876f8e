"""Tables of how long stiff solves take."""

from collections.abc import Callable, Sequence

from .shares import PARTS
from .tables import seconds, table


def _ratio(rows, problem: str, mode: str, contestant: str) -> str:
    row = _row(rows, problem, mode, contestant)
    if row is None or row["of"] == contestant:
        return ""
    value = row["ratio"]
    text = f"{value:.2f}" if value < 10 else f"{value:.0f}"
    return text + "†" * row.get("earlier", False)


def _row(rows, problem: str, mode: str, contestant: str) -> dict | None:
    values = problem, mode, contestant
    keys = "problem", "mode", "contestant"
    return next((r for r in rows if tuple(r[k] for k in keys) == values), None)


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


def _meshes(rows) -> str:
    """Times of solves on unstructured meshes, with the steps that each took."""
    names = "repaired", "asdex and KLU", "EliminationSolver", "CCChord"
    lines = []
    for problem in _problems(rows, "forward"):
        if problem.startswith("mesh"):
            measured = [_row(rows, problem, "forward", name) for name in names]
            steps = dict.fromkeys(str(row["steps"]) for row in measured if row)
            cells = [seconds(row["median"]) if row else "" for row in measured]
            lines.append([problem, " or ".join(steps), *cells])
    heads = ["nodes", "steps", "repaired", "with asdex's colouring and KLU"]
    return table([*heads, "`EliminationSolver`", "`CCChord`"], lines)


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
        cells = [_row(rows, problem, "forward", name) for name in names]
        lines.append([problem, *(f"{r['compile']:.1f}" if r else "" for r in cells)])
    return table(["problem", "repaired", "`EliminationSolver`", "`CCChord`"], lines)


def _shares(rows) -> str:
    heads = ["problem", "with", "Jacobian", "factorisation", "solves", "the rest"]
    lines = []
    for row in rows:
        if "shares" in row:
            shares = [row["shares"][part] for part in PARTS]
            rest = max(0.0, 1 - sum(shares))
            cells = [f"{100 * x:.0f} %" for x in (*shares, rest)]
            lines.append([row["problem"], row["contestant"], *cells])
    return table(heads, lines)


def released(rows) -> str:
    """Whole solves against diffrax as released; rows of a busy machine are left out."""
    heads = ["problem", "steps of diffrax", "steps of `CCChord`", "time of `CCChord`"]
    lines = []
    for problem in _problems(rows, "forward"):
        ours = _row(rows, problem, "forward", "CCChord")
        theirs = _row(rows, problem, "forward", "diffrax")
        factor = speed_up(rows, problem)
        if ours is not None and theirs is not None and factor is not None:
            steps = f"{theirs['steps']:,}", f"{ours['steps']:,}"
            time = seconds(ours["median"])
            lines.append((factor, [problem, *steps, time, f"{factor:.2g}"]))
    lines.sort(reverse=True)
    return table([*heads, "times faster"], [cells for _, cells in lines])


def speed_up(rows, problem: str) -> float | None:
    """The time of diffrax as released over that of `CCChord`. Each was measured beside
    the same third program, diffrax with its root finder repaired."""
    ours = _row(rows, problem, "forward", "CCChord")
    theirs = _row(rows, problem, "forward", "diffrax")
    if ours is None or theirs is None or ours.get("earlier") or theirs.get("earlier"):
        return None
    return ours["ratio"] / theirs["ratio"]


_GRADIENT = "CCChord", "CCChord, preaccumulated"
TABLES: dict[str, Callable] = {
    "forward": _forward,
    "meshes": _meshes,
    "gradient": _others("gradient", _GRADIENT, ["`CCChord`", "and `preaccumulate`"]),
    "batch": _others(
        "batch", ["EliminationSolver", "CCChord"], ["`EliminationSolver`", "`CCChord`"]
    ),
    "linearised": _others("linearised", ["eqx_cc"], ["times faster"]),
    "compile": _compile,
    "shares": _shares,
}
