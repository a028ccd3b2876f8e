"""Tables and sentences of the documentation, from the files in `docs/benchmarks`.

`python docs/tools/pages.py` writes them into the pages, between `<!-- table: NAME -->`
and `<!-- end -->`, and single numbers between `<!-- value: NAME -->` and `<!-- / -->`.
No number of a measurement is typed by hand.
"""

import functools as ft
import json
import math
import pathlib
import statistics
from collections.abc import Callable
from typing import Any

from ..harness.measure import Row
from ..never import report
from ..orders import PUBLISHED_COUNTS
from . import peers
from .answers import summary
from .headline import (
    ARM,
    BLOCKS,
    BRUSSELATOR,
    compiling,
    Measurements,
    SCALAR,
)
from .order_tables import performed_table, published_table, task_table
from .policy_tables import function_table, held_out_table
from .rule_tables import agent_table, rule_table, search_table
from .sentences import values
from .solver_tables import released, TABLES as SOLVER_TABLES
from .tables import factor, seconds, table


FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "benchmarks"
_ROBOTS = "7-DOF inverse dynamics", "7-DOF forward dynamics"
_SPARSE = "eqx_cc structured"


@ft.cache
def _document(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


@ft.cache
def measurements(name: str = "headline") -> Measurements:
    rows = [Row(**row) for row in _document(name)["rows"]]
    return Measurements(rows, "float64")


def _median(case: str, setting: str, contestant: str) -> float:
    row = measurements().row(case, setting, contestant)
    return math.nan if row is None or row.median is None else row.median


def _time(case: str, setting: str, contestant: str) -> str:
    value = _median(case, setting, contestant)
    return "" if math.isnan(value) else seconds(value)


def speed_up(case: str, setting: str, contestant: str = "eqx_cc") -> float:
    """The time of the better of JAX's modes, over that of a contestant."""
    best = min(_median(case, setting, mode) for mode in ("jax.jacfwd", "jax.jacrev"))
    return best / _median(case, setting, contestant)


#
# Jacobians
#

_HEADS = ["Jacobian", "`jax.jacfwd`", "`jax.jacrev`", "eqx_cc", "times faster"]
_SHORT = (
    ("arm with six joints, in a loop", ARM, "loop", "eqx_cc"),
    ("inverse dynamics of seven joints, in a loop", _ROBOTS[0], "loop", "eqx_cc"),
    ("Roe's flux, in a loop", "RoeFlux_1d", "loop", "eqx_cc"),
    ("Brusselator, 1,024 states, dense", BRUSSELATOR, "call", "eqx_cc"),
    ("the same, its bands alone, in a loop", BRUSSELATOR, "loop", _SPARSE),
    ("arrowhead, 1,024 states, dense", "arrowhead, 1,024 states", "call", "eqx_cc"),
    ("bottleneck 1024-16-1024", "bottleneck 1024-16-1024", "call", "eqx_cc"),
    ("network 4-16-16-4, in a loop", "MLP 4-16-16-4", "loop", "eqx_cc"),
    ("forward dynamics of seven joints, in a loop", _ROBOTS[1], "loop", "eqx_cc"),
)


def _summary() -> str:
    lines = []
    for words, case, setting, ours in _SHORT:
        names = "jax.jacfwd", "jax.jacrev", ours
        cells = [_time(case, setting, name) for name in names]
        lines.append([words, *cells, factor(speed_up(case, setting, ours))])
    return table(_HEADS, lines)


def _loops() -> str:
    heads = [*_HEADS, '`order="measured"`', "CasADi's C code"]
    lines = []
    for case in (ARM, *SCALAR, *_ROBOTS, "MLP 4-16-16-4"):
        names = "jax.jacfwd", "jax.jacrev", "eqx_cc"
        cells = [_time(case, "loop", name) for name in names]
        ratios = [speed_up(case, "loop", n) for n in ("eqx_cc", "eqx_cc measured")]
        last = _time(case, "loop", "CasADi")
        lines.append([case, *cells, *map(factor, ratios), last])
    return table(heads, lines)


def _calls() -> str:
    lines = []
    for case in BLOCKS[4][0] + BLOCKS[7][0]:
        names = "jax.jacfwd", "jax.jacrev", "eqx_cc"
        cells = [_time(case, "call", name) for name in names]
        floor = _time(case, "call", "floor")
        lines.append([case, *cells, factor(speed_up(case, "call")), floor])
    return table([*_HEADS, "floor"], lines)


def _batches() -> str:
    lines, ratios = [], []
    for case in SCALAR:
        cases = case, f"{case}, arguments"
        row = [
            speed_up(of, "batch 65536", name)
            for of in cases
            for name in ("eqx_cc", "eqx_cc measured")
        ]
        ratios.append(row)
        lines.append([case, *map(factor, row)])
    means = [factor(statistics.geometric_mean(column)) for column in zip(*ratios)]
    heads = ["task", "of a vector", "measured", "of arguments", "measured"]
    return table(heads, [*lines, ["geometric mean", *means]])


def _compile() -> str:
    pairs = sorted({(case, setting) for cases, setting, _ in BLOCKS for case in cases})
    texts = []
    for i, words in enumerate(("without a stored order", "with one")):
        ratios = [compiling(measurements(), *pair)[i] for pair in pairs]
        known = [ratio for ratio in ratios if ratio]
        mean, worst = statistics.geometric_mean(known), max(known)
        texts.append(f"{mean:.2g} times as long {words} (at most {worst:.2g} times)")
    return (
        f"Trace, order and compilation together take {' and '.join(texts)}, compared "
        f"with `jax.jacfwd`: geometric means of the {len(known)} programs of the "
        "[benchmarks](benchmarks.md)."
    )


def _peers() -> str:
    casadi = measurements().by(ARM, "loop", "CasADi", "eqx_cc")
    return (
        f"{peers.sentence(measurements('peers'))} Compiled C code of CasADi is faster: "
        f"it takes {casadi:.2g} times as long for the arm. graphax has not been timed."
    )


def _greeks() -> str:
    names = "BlackScholes", "BlackScholes_Jacobian"
    loops = [factor(speed_up(name, "loop")) for name in names]
    batches = []
    for name in names:
        cases = f"{name}, arguments", name
        ratios = sorted(speed_up(case, "batch 65536") for case in cases)
        batches.append(" to ".join(map(factor, ratios)))
    return (
        f"In a loop they are {loops[0]} and {loops[1]} times as fast as the better of "
        f"JAX's modes, and in batches of 65,536 points {batches[0]} and {batches[1]} "
        "times."
    )


def _never() -> str:
    if not (FOLDER / "never.json").exists():
        return "Not measured yet with this version."
    return report(_document("never"))


#
# Solves and orders
#


def _of_solvers(make: Callable) -> Callable[[], str]:
    return lambda: make(_document("solvers"))


def _of_orders(group: str) -> Callable[[], str]:
    def make() -> str:
        rows = [r for r in _document("policy")["rows"] if r["part"] == "held-out"]
        return held_out_table([r for r in rows if r["group"] == group])

    return make


def _functions() -> str:
    rows = [r for r in _document("policy")["rows"] if r["part"] == "functions"]
    return function_table(rows, PUBLISHED_COUNTS)


def _published() -> str:
    return published_table(_document("orders")["rows"], PUBLISHED_COUNTS)


TABLES: dict[str, Callable[[], str]] = {
    "summary": _summary,
    "loops": _loops,
    "calls": _calls,
    "structured": lambda: peers.bands_table(measurements("peers")),
    "irregular": lambda: peers.irregular_table(measurements("peers")),
    "batches": _batches,
    "compile": _compile,
    "peers": _peers,
    "greeks": _greeks,
    "never": _never,
    "released": _of_solvers(released),
    "answers": lambda: summary(_document("answers")),
    **{f"solve-{name}": _of_solvers(make) for name, make in SOLVER_TABLES.items()},
    "policy-10-40": _of_orders("10-40"),
    "policy-40-100": _of_orders("40-100"),
    "policy-100-300": _of_orders("100-300"),
    "policy-arrays": _of_orders("functions of 10-60 lines"),
    "policy-functions": _functions,
    "rule": lambda: rule_table(_document("policy")["rows"]),
    "agents": lambda: agent_table(_document("policy")["rows"]),
    "guided": lambda: search_table(_document("policy")["rows"]),
    "policy-tasks": task_table,
    "orders-published": _published,
    "orders-performed": lambda: performed_table(_document("orders")["rows"]),
}
VALUES = values(_document)
