"""Tables, and data for curves, of the costs of learned orders."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .tables import table


Rows = Sequence[Mapping[str, Any]]


def tables(rows: Rows, published: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Tables of the parts that were measured."""
    sections = []
    for group in dict.fromkeys(r["group"] for r in rows if r["part"] == "held-out"):
        members = [r for r in rows if r["part"] == "held-out" and r["group"] == group]
        sections.append(f"Held-out graphs, {group}\n\n" + held_out_table(members))
    if functions := [r for r in rows if r["part"] == "functions"]:
        sections.append("Functions\n\n" + function_table(functions, published))
    return sections


def _costs(rows: Rows) -> dict[str, dict[str, tuple[int, float]]]:
    """Cost and seconds, by contestant and name."""
    costs: dict[str, dict[str, tuple[int, float]]] = {}
    for row in rows:
        by_name = costs.setdefault(row["contestant"], {})
        by_name[row["name"]] = row["cost"], row["seconds"]
    return costs


def held_out_table(rows: Rows) -> str:
    """A line for each way to find an order."""
    costs = _costs(rows)
    best = {
        name: min(by_name[name][0] for by_name in costs.values() if name in by_name)
        for name in costs["Markowitz"]
    }
    heads = ["order", "graphs", "of Markowitz", "quartiles", "better / equal / worse"]
    heads += ["over best known", "seconds"]
    lines = []
    for contestant, by_name in costs.items():
        names = list(by_name)
        cost = np.array([by_name[n][0] for n in names], float)
        least = np.maximum([best[n] for n in names], 1)
        ratio = ratios(rows, contestant)
        quartiles = np.quantile(ratio, (0.25, 0.5, 0.75))
        shares = [np.mean(x) for x in (ratio < 1, ratio == 1, ratio > 1)]
        lines.append(
            [
                contestant,
                str(len(names)),
                f"{ratio.mean():.3f}",
                " / ".join(f"{q:.3f}" for q in quartiles),
                " / ".join(f"{100 * s:.0f}%" for s in shares),
                f"{100 * (np.mean(cost / least) - 1):+.1f}%",
                f"{np.median([by_name[n][1] for n in names]):.3f}",
            ]
        )
    return table(heads, lines)


def function_table(rows: Rows, published: Mapping[str, tuple[Any, Any]]) -> str:
    """A line for each function. (Greedy Markowitz is in the table of orders.)"""
    costs = _costs([row for row in rows if row["contestant"] != "Markowitz"])
    names = list(dict.fromkeys(row["name"] for row in rows))
    heads, lines = ["function", *costs, "published RL", "known before"], []
    for name in names:
        cells = [costs[c].get(name) for c in costs]
        shown = ["" if c is None else f"{c[0]} ({c[1]:.2f} s)" for c in cells]
        ends = published.get(name, (None, None))
        lines.append([name, *shown, *("-" if e is None else str(e) for e in ends)])
    return table(heads, lines)


def ratios(rows: Rows, contestant: str) -> np.ndarray:
    """The costs of a contestant over those of Markowitz, for the graphs it played."""
    costs = _costs(rows)
    base = costs["Markowitz"]
    pairs = [(cost, base[name][0]) for name, (cost, _) in costs[contestant].items()]
    return np.array([cost / max(least, 1) for cost, least in pairs])


def median_seconds(rows: Rows, contestant: str) -> float:
    """The median of the seconds that a contestant took for a graph."""
    return float(np.median([s for _, s in _costs(rows)[contestant].values()]))


def mean_curve(rows: Rows, contestant: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the least cost so far over that of Markowitz, where it starts."""
    base = _costs([row for row in rows if row["contestant"] == "Markowitz"])
    grid, ratios = np.geomspace(0.001, 30, 140), []
    raced = [row for row in rows if row["contestant"] == contestant]
    last = max(row["seconds"] for row in rows)
    for name, (cost, _) in base["Markowitz"].items():
        events = [(r["seconds"], r["cost"]) for r in raced if r["name"] == name]
        least = [min([c for s, c in events if s <= t] + [cost]) for t in grid]
        ratios.append(np.array(least) / max(cost, 1))
    shown = grid <= last
    return grid[shown], np.mean(ratios, 0)[shown]
