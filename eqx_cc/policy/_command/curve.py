"""The learning curve, drawn from the table of metrics."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from .metrics import read_rows


_GRAPHS = {"ratio": (".", "games"), "held_out_ratio": ("o-", "graphs never trained on")}
_TASK = {"best_count": ("-", "best so far"), "greedy_count": ("o-", "greedy game")}


def draw_curve(table: pathlib.Path, path: pathlib.Path) -> bool:
    """Draws the costs of held-out graphs, over those of greedy Markowitz, against the
    iterations; for a task, its counts. Returns False, and draws nothing, without
    matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    rows = read_rows(table)
    of_task = any(row["greedy_count"] for row in rows)
    figure = Figure(figsize=(6.0, 3.5), layout="constrained")
    axes = figure.subplots()
    for column, (style, label) in (_TASK if of_task else _GRAPHS).items():
        axes.plot(*_points(rows, column), style, ms=3, label=label)
    unit = "multiplications" if of_task else "multiplications, of Markowitz"
    axes.set(xlabel="iteration", ylabel=unit)
    axes.legend()
    figure.savefig(path)
    return True


def _points(rows: Sequence[dict[str, Any]], column: str) -> tuple[list, list]:
    """Iterations, and a column where it has a number."""
    there = [row for row in rows if row[column]]
    numbers = [int(row["iteration"]) for row in there]
    return numbers, [float(row[column]) for row in there]
