"""Figures of a computational graph and of the costs of its elimination orders."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from .._graph.elimination import Plan
from .._graph.graph import ComputationalGraph


def plot(graph: ComputationalGraph, plans: Mapping[str, Plan]) -> Any:
    """Draws the graph with its chosen order, beside the costs of several orders.

    **Returns:** a `matplotlib.figure.Figure`.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "`plot` needs matplotlib, which is not installed: "
            '`python -m pip install "eqx_cc[plot]"`.'
        ) from error
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_graph(left, graph, plans["chosen"].order)
    _draw_costs(right, plans)
    return figure


# In larger graphs, the names of the vertices would overlap.
_MOST_NAMED = 45
_SMALL_TEXT = {"ha": "center", "va": "center", "fontsize": 7, "zorder": 3}


def _draw_graph(axes, graph: ComputationalGraph, order: tuple[int, ...]) -> None:
    place = _places(graph)
    _draw_edges(axes, graph, place)
    ends = [v for v in place if v not in order]
    _draw_vertices(axes, ends, place, color="white", edgecolors="black")
    if order:
        turns = range(1, len(order) + 1)
        dots = _draw_vertices(axes, order, place, c=turns, cmap="viridis")
        axes.figure.colorbar(dots, ax=axes, label="position in the order", shrink=0.6)
    for turn, vertex in enumerate(order, start=1):
        color = "black" if turn > 0.6 * len(order) else "white"
        axes.text(*place[vertex], str(turn), color=color, **_SMALL_TEXT)
    if len(place) <= _MOST_NAMED:
        _draw_names(axes, graph, place)
    axes.set_title("the graph; numbers: the chosen order")
    axes.margins(0.08)
    axes.set_axis_off()


def _draw_edges(axes, graph: ComputationalGraph, place) -> None:
    arrow = {"arrowstyle": "-|>", "color": "0.7", "shrinkA": 7, "shrinkB": 7}
    for u, v in graph.edges:
        axes.annotate("", place[v], place[u], arrowprops=arrow, zorder=1)


def _draw_vertices(axes, vertices, place, **style):
    x, y = zip(*(place[v] for v in vertices))
    return axes.scatter(x, y, s=160, zorder=2, **style)


def _draw_names(axes, graph: ComputationalGraph, place) -> None:
    below = {"xytext": (0, -12), "textcoords": "offset points", "color": "0.3"}
    for vertex in place:
        name = f"{graph.labels[vertex]} {vertex}".strip()
        axes.annotate(name, place[vertex], **below, **_SMALL_TEXT)


def _places(graph: ComputationalGraph) -> dict[int, tuple[float, float]]:
    """The positions of the vertices: a column for each length of the longest path from
    an input, and in a column near the mean height of the predecessors."""
    before: dict[int, list[int]] = {v: [] for v in graph.independents}
    for u, v in sorted(graph.edges, key=lambda edge: edge[1]):
        before.setdefault(v, []).append(u)
    depth: dict[int, int] = {}
    for vertex in sorted(before):
        depth[vertex] = max((depth[u] + 1 for u in before[vertex]), default=0)
    height: dict[int, float] = {}
    for column in range(max(depth.values(), default=0) + 1):
        vertices = [v for v in depth if depth[v] == column]
        vertices.sort(key=lambda v: _mean([height[u] for u in before[v]]))
        for i, vertex in enumerate(vertices):
            height[vertex] = (i + 0.5) / len(vertices) - 0.5
    return {v: (float(depth[v]), -height[v]) for v in depth}


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0


def _draw_costs(axes, plans: Mapping[str, Plan]) -> None:
    for name, plan in plans.items():
        spent = [0, *accumulate(step.num_multiplications for step in plan.steps)]
        axes.plot(
            spent, label=f"{name}: {spent[-1]}", lw=3 if name == "chosen" else 1.5
        )
    axes.set_xlabel("vertices eliminated")
    axes.set_ylabel("multiplications")
    axes.set_ylim(bottom=0)
    axes.legend()
    axes.grid(alpha=0.3)
