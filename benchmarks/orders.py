"""Multiplications that elimination orders take, and the seconds to find them.

    python -m benchmarks.orders [--seconds 10] [--array-seconds 60] [--seed 0]
    python -m benchmarks.orders --json docs/benchmarks/orders.json

prints, for each published task, the counts of forward, reverse and greedy Markowitz, of
the best order that reinforcement learning was published to find over 6 seeds, and of
the one that annealing finds here: after one second, and in the end, with the second at
which that one was found, and a lower bound that is proved afterwards. A second table
has the multiplications that are really done: known coefficients are free.

The first five graphs are the published ones (`eqx_cc.policy.task`). The other functions
are written anew from their mathematics (`benchmarks/cases/tasks`), so that their graphs
are not quite the published ones, nor are structured blocks counted quite alike: there,
compare the columns of one row, not with the published counts.

`--json` writes the counts to a file, from which `docs/tools/pages.py` makes the tables
of the pages.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import eqx_cc
import eqx_cc.policy
import jax
from eqx_cc import AbstractCost, Annealing, ComputationalGraph, MinimalMarkowitz
from eqx_cc._orders.baseline import order_cost

from .cases.tasks import TASKS
from .harness.rows import machine, written
from .reports.order_tables import HEADS, performed_table, published_line
from .reports.tables import line, table


# Published: best of AlphaZero and PPO; known: the best count known before eqx_cc.
SCALAR = {
    "RoeFlux_1d": (320, 295),
    "RobotArm_6DOF": (231, 221),
    "HumanHeartDipole": (148, 148),
    "PropaneCombustion": (88, 88),
    "random_g": (416, 409),
    "BlackScholes_Jacobian": (307, 297),
}
ARRAYS = {
    "RoeFlux_3d": (784, 639),
    "random_arrays": (None, None),
    "Perceptron": (389, 388),
    "Encoder": (4656, 4332),
}
PUBLISHED_COUNTS = SCALAR | ARRAYS
PUBLISHED_GRAPHS = tuple(name for name in SCALAR if name != "BlackScholes_Jacobian")


class Row(NamedTuple):
    """The counts of one graph."""

    part: str  # Which pairs count: "published" or "performed".
    name: str
    forward: int
    reverse: int
    markowitz: int
    ours: int
    after_one_second: int
    found_at: float
    lower_bound: int


def published_graph(name: str) -> ComputationalGraph:
    """A graph that comes with the package."""
    return eqx_cc.policy.task(name).graph


def certificate(name: str) -> tuple[tuple[int, ...], ...]:
    """The blocks of vertices that prove a lower bound of a published graph, if such are
    known; `eqx_cc.Exact` checks them."""
    file = pathlib.Path(__file__).parent / "certificates.json"
    return tuple(map(tuple, json.loads(file.read_text()).get(name, ())))


def task_graph(name: str) -> ComputationalGraph:
    """The published graph of a task, or else that of the function written anew."""
    if name in PUBLISHED_GRAPHS:
        return published_graph(name)
    return TASKS[name].graph


def measure(
    name: str, graph: ComputationalGraph, cost: AbstractCost, seconds: float, seed: int
) -> Row:
    """Searches a graph, whatever a cache may know of it, and then for a proof."""
    started, costs = time.monotonic(), {}

    def report(progress):
        costs.setdefault(progress.cost, time.monotonic() - started)

    order = Annealing(seconds=seconds, seed=seed, cost=cost).search(graph, report)
    early = min((c for c, at in costs.items() if at <= 1.0), default=order.cost)
    view = cost.view(graph)
    published = isinstance(cost, eqx_cc.Published)
    return Row(
        "published" if published else "performed",
        name,
        order_cost(view, eqx_cc.Forward()(view), cost),
        order_cost(view, eqx_cc.Reverse()(view), cost),
        order_cost(view, MinimalMarkowitz()(view), cost),
        int(order.cost),
        int(early),
        round(costs.get(order.cost, 0.0), 2),
        _lower_bound(graph, order, seconds, certificate(name) if published else ()),
    )


def _lower_bound(graph, order, seconds: float, blocks) -> int:
    # Nothing but zero is known of graphs whose pairs of edges differ in cost.
    if order.optimal or order.lower_bound == 0:
        return int(order.lower_bound)
    exact = eqx_cc.Exact(seconds=seconds, cost=order.cost_model, blocks=blocks)
    return int(exact.search(graph).lower_bound)


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    limits = dict.fromkeys(SCALAR, float(options.seconds))
    limits |= dict.fromkeys(ARRAYS, float(options.array_seconds))
    for name, seconds in limits.items():
        cost = eqx_cc.Published()
        yield measure(name, task_graph(name), cost, seconds, options.seed)
    for name in filter(TASKS.__contains__, limits):
        cost = eqx_cc.Multiplications()
        yield measure(name, TASKS[name].graph, cost, limits[name], options.seed)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--array-seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=pathlib.Path, help="a file for the counts")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = []
    print("Multiplications as published\n")
    print(table(HEADS, []))
    for row in _rows(options):
        rows.append(row._asdict())
        if row.part == "published":
            print(line(published_line(rows[-1], PUBLISHED_COUNTS)), flush=True)
    print("\nMultiplications that are done (known constants are free)\n")
    print(performed_table(rows))
    if options.json:
        about = json.dumps(machine())
        options.json.write_text(f'{{"machine": {about}, "rows": {written(rows)}}}\n')


if __name__ == "__main__":
    main()
