"""Numbers within the sentences of the pages: `<!-- value: NAME -->295<!-- / -->`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..orders import PUBLISHED_COUNTS
from .order_tables import counts, is_optimal
from .policy_tables import ratios


Rows = Sequence[Mapping[str, Any]]
Document = Callable[[str], Any]

_WORDS = "no", "one", "two", "three", "four", "five"
_LARGE = "40-100", "100-300"
_GREEDY = "policy, greedy"
_ANNEALING = "annealing, the time of: policy, greedy"


def values(document: Document) -> dict[str, Callable[[], str]]:
    """What computes each number, by name, from the files of measurements."""
    orders = lambda: document("orders")["rows"]  # noqa: E731
    policy = lambda: document("policy")["rows"]  # noqa: E731
    solves = lambda: document("solvers")  # noqa: E731
    return {
        "roe-ours": lambda: _count(orders(), "RoeFlux_1d"),
        "roe-published": lambda: str(PUBLISHED_COUNTS["RoeFlux_1d"][0]),
        "roe-policy": lambda: _by_policy(policy(), "RoeFlux_1d"),
        "proved": lambda: _proved(orders()),
        "policy-graphs": lambda: str(sum(len(_held(policy(), g)) for g in _LARGE)),
        "policy-large": lambda: _saved(policy(), _LARGE, _GREEDY),
        "policy-small": lambda: _saved(policy(), ["10-40"], _GREEDY),
        "annealing-large": lambda: _saved(policy(), _LARGE, _ANNEALING),
        "rule-large": lambda: _by_rule(policy(), _LARGE),
        "curve-graphs": lambda: str(len(_annealing_is_first(policy()))),
        "curve-first": lambda: str(sum(_annealing_is_first(policy()))),
        "repaired-brusselator": lambda: _repaired(solves(), "Brusselator 128"),
        "repaired-hires": lambda: _repaired(solves(), "HIRES"),
    }


def _count(rows: Rows, name: str) -> str:
    return str(counts(rows, "published", name)["ours"])


def _by_policy(rows: Rows, name: str) -> str:
    keys = {"part": "functions", "name": name, "contestant": _GREEDY}
    [row] = [r for r in rows if all(r[key] == value for key, value in keys.items())]
    return str(row["cost"])


def _proved(rows: Rows) -> str:
    """How many of the published graphs have an order that is proved to be optimal."""
    first = [row for row in rows if row["part"] == "published"][:5]
    return _WORDS[sum(map(is_optimal, first))]


def _held(rows: Rows, group: str) -> np.ndarray:
    return ratios(_members(rows, group), _GREEDY)


def _members(rows: Rows, group: str) -> Rows:
    return [r for r in rows if r["part"] == "held-out" and r["group"] == group]


def _saved(rows: Rows, groups: Sequence[str], contestant: str) -> str:
    """Percent fewer multiplications than Markowitz, from the least to the most."""
    means = [ratios(_members(rows, group), contestant).mean() for group in groups]
    percents = sorted({f"{100 * (1 - mean):.0f}" for mean in means}, key=int)
    return " to ".join(percents)


def _by_rule(rows: Rows, groups: Sequence[str]) -> str:
    """Percent fewer multiplications of the learned rule, from the least to the most."""
    found = [row for row in rows if row["part"] == "rule"]
    means = [
        ratios([row for row in found if row["group"] == group], "learned rule").mean()
        for group in groups
    ]
    return " to ".join(sorted({f"{100 * (1 - mean):.0f}" for mean in means}, key=int))


def _annealing_is_first(rows: Rows) -> list[bool]:
    """Whether annealing reaches the cost of the policy before its game is over, for
    each graph of the curves."""
    curves = [row for row in rows if row["part"] == "curve"]
    games = [row for row in curves if row["contestant"] == _GREEDY]
    return [
        any(
            row["cost"] <= game["cost"] and row["seconds"] <= game["seconds"]
            for row in curves
            if row["contestant"] == "annealing"
            and (row["group"], row["name"]) == (game["group"], game["name"])
        )
        for game in games
    ]


def _repaired(rows: Rows, problem: str) -> str:
    """Times faster than diffrax with a correct test for convergence."""
    keys = {"problem": problem, "mode": "forward", "contestant": "CCChord"}
    [row] = [r for r in rows if all(r.get(key) == v for key, v in keys.items())]
    return f"{row['ratio']:.2g}"
