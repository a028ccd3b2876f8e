"""Tables and sentences of the multiplications that orders take."""

from collections.abc import Mapping, Sequence
from typing import Any

from eqx_cc.policy import task
from eqx_cc.policy._task import TASK_NAMES

from .tables import table


Rows = Sequence[Mapping[str, Any]]
# The best count that reinforcement learning was published to find, and the least known.
Published = Mapping[str, tuple[int | None, int | None]]

HEADS = ["task", "forward", "reverse", "Markowitz", "published RL", "known"]
HEADS += ["ours, 1 s", "ours", "found at (s)", "proved"]
_GREEDY = "forward", "reverse", "markowitz"


def counts(rows: Rows, part: str, name: str) -> Mapping[str, Any]:
    """The row of one graph."""
    [row] = [row for row in rows if (row["part"], row["name"]) == (part, name)]
    return row


def published_line(row: Mapping[str, Any], published: Published) -> list[str]:
    """The cells of one graph."""
    bound = "optimal" if is_optimal(row) else f">= {row['lower_bound']}"
    proved = bound if row["lower_bound"] else None
    cells = [row["name"], *(row[key] for key in _GREEDY), *published[row["name"]]]
    cells += [row["after_one_second"], row["ours"], f"{row['found_at']:.2f}", proved]
    return ["-" if cell is None else str(cell) for cell in cells]


def is_optimal(row: Mapping[str, Any]) -> bool:
    """The lower bound that is proved is the count of the order."""
    return row["ours"] <= row["lower_bound"]


def published_table(rows: Rows, published: Published) -> str:
    """The counts of the published convention."""
    chosen = [row for row in rows if row["part"] == "published"]
    return table(HEADS, [published_line(row, published) for row in chosen])


def performed_table(rows: Rows) -> str:
    """The multiplications that are performed: products with constants are free."""
    chosen = [row for row in rows if row["part"] == "performed"]
    keys = "name", *_GREEDY, "ours"
    lines = [[str(row[key]) for key in keys] for row in chosen]
    return table(["task", "forward", "reverse", "Markowitz", "ours"], lines)


def task_table() -> str:
    """The published graphs that come with the package."""
    lines = []
    for each in map(task, TASK_NAMES):
        ends = f"{len(each.graph.independents)}, {len(each.graph.dependents)}"
        agents = "-" if each.ppo is None else f"{each.alphazero}, {each.ppo}"
        lines.append([f"`{each.name}`", ends, agents, str(each.best_known)])
    heads = ["task", "inputs, outputs", "published: AlphaZero, PPO", "best known"]
    return table(heads, lines)
