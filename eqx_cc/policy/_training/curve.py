"""The learning curve, drawn from the table of metrics."""

from __future__ import annotations

import csv
import pathlib


def draw_curve(table: pathlib.Path, path: pathlib.Path) -> bool:
    """Draws the costs of held-out graphs, over those of greedy Markowitz, against the
    iterations. Returns False, and draws nothing, without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    with table.open() as file:
        rows = list(csv.DictReader(file))
    judged = [row for row in rows if row["held_out_ratio"]]
    figure = Figure(figsize=(6.0, 3.5), layout="constrained")
    axes = figure.subplots()
    numbers = [int(row["iteration"]) for row in rows]
    axes.plot(numbers, [float(row["ratio"]) for row in rows], ".", ms=3, label="games")
    numbers = [int(row["iteration"]) for row in judged]
    ratios = [float(row["held_out_ratio"]) for row in judged]
    axes.plot(numbers, ratios, "o-", label="graphs never trained on")
    axes.set(xlabel="iteration", ylabel="multiplications, of Markowitz")
    axes.legend()
    figure.savefig(path)
    return True
