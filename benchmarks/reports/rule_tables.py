"""Tables of the learned rule, of annealing with and without it, and of agents."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .tables import table


GUIDED, PLAIN = "annealing", "annealing without the rule"
BUDGETS = 0.01, 0.1, 1.0, 10.0, 60.0  # Seconds.

Row = dict[str, Any]


def rule_table(rows: Sequence[Row]) -> str:
    """A line for each size of random graphs, and for each kind of function."""
    groups: dict[str, dict[str, dict[str, Row]]] = {}
    for row in rows:
        if row["part"] == "rule":
            by_name = groups.setdefault(row["group"], {}).setdefault(row["name"], {})
            by_name[row["contestant"]] = row
    lines = [_line(group, list(names.values())) for group, names in groups.items()]
    heads = ["graphs", "number", "rule / Markowitz", "rule / simple"]
    heads += ["rule not worse than simple", "default / simple", "time of rule"]
    return table([*heads, "time of Markowitz"], lines)


def _line(group: str, graphs: Sequence[dict[str, Row]]) -> list[str]:
    costs = {
        contestant: np.maximum([row[contestant]["cost"] for row in graphs], 1)
        for contestant in graphs[0]
    }
    seconds = {
        contestant: np.mean([row[contestant]["seconds"] for row in graphs])
        for contestant in ("learned rule", "Markowitz")
    }
    greedy_ratio = costs["learned rule"] / costs["Markowitz"]
    ratio = costs["learned rule"] / costs["best of the simple"]
    default = costs["default"] / costs["best of the simple"]
    return [
        group,
        str(len(graphs)),
        f"{greedy_ratio.mean():.3f}",
        f"{np.exp(np.log(ratio).mean()):.3f}",
        f"{100 * np.mean(ratio <= 1):.0f}%",
        f"{np.exp(np.log(default).mean()):.3f}",
        *(f"{1e3 * s:.2f} ms" for s in seconds.values()),
    ]


def search_table(rows: Sequence[Row]) -> str:
    """How annealing with the rule compares to annealing without, by seconds."""
    curves = [row for row in rows if row["part"] == "curve"]
    groups = dict.fromkeys(row["group"] for row in curves)
    lines = [line for group in groups for line in _budgets(group, curves)]
    heads = ["vertices", "graphs", "seconds", "with / without the rule", "not worse"]
    return table([*heads, "better"], lines)


def _budgets(group: str, curves: Sequence[Row]) -> Iterator[list[str]]:
    members = [row for row in curves if row["group"] == group]
    # Searches end when an order is proved to be the best.
    last = max(
        row["seconds"] for row in members if row["contestant"] in (GUIDED, PLAIN)
    )
    names = list(dict.fromkeys(row["name"] for row in members))
    for seconds in BUDGETS:
        if seconds > 1.5 * last:
            return
        pairs = [
            [
                _least(members, name, contestant, seconds)
                for contestant in (GUIDED, PLAIN)
            ]
            for name in names
        ]
        # Where nothing is there yet, it is the Markowitz order.
        ratio = np.asarray([guided / max(plain, 1) for guided, plain in pairs])
        yield [
            group,
            str(len(names)),
            f"{seconds:g}",
            f"{np.exp(np.log(ratio).mean()):.3f}",
            f"{100 * np.mean(ratio <= 1):.0f}%",
            f"{100 * np.mean(ratio < 1):.0f}%",
        ]


def _least(rows: Sequence[Row], name: str, contestant: str, seconds: float) -> int:
    """The least cost that a search has found by then."""
    costs = [
        row["cost"]
        for row in rows
        if row["name"] == name
        and (
            row["contestant"] == "Markowitz"
            or (row["contestant"] == contestant and row["seconds"] <= seconds)
        )
    ]
    return min(costs)


def agent_table(rows: Sequence[Row]) -> str:
    """A line for each policy and agent: the best game of training, and the game of the
    policy after it, for each graph."""
    found = [row for row in rows if row["part"] == "agents"]
    names = list(dict.fromkeys(row["name"] for row in found))
    heads = ["policy and agent"]
    for name in names:
        heads += [f"{name}: best game", "game after training"]
    lines = []
    for group in dict.fromkeys(row["group"] for row in found):
        members = {row["name"]: row for row in found if row["group"] == group}
        line = [group]
        for name in names:
            row = members[name]
            best, gone = row["best"], f"{row['seconds']:.0f} s"
            line += ["" if best is None else str(best), f"{row['cost']} ({gone})"]
        lines.append(line)
    return table(heads, lines)
