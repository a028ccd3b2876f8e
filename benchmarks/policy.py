"""Costs of learned orders, and the seconds that they take.

    python -m benchmarks.policy [--part held-out|functions|curve|rule|agents|tables] ...

`held-out` plays random graphs that no policy was trained on, by size (`--sizes`), and
`functions` the benchmark functions (`--names`), of which none was trained on either;
`curve` has the count against the seconds, and `rule` the learned rule, which needs no
JAX, on random graphs and on the functions of the tests. `agents` trains on published
graphs, each agent for equal seconds. All is kept in
`docs/benchmarks/policy.json`, so that a long measurement can be made in pieces; every
run prints the tables of all that is there. `docs/tools/charts.py` draws the curves.

Seconds are those of one graph, after what is compiled for its size has been compiled.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import eqx_cc
import jax
from eqx_cc import (
    Annealing,
    ComputationalGraph,
    LearnedRule,
    MinimalMarkowitz,
    RandomisedMarkowitz,
)
from eqx_cc._orders.baseline import has_arrays, order_cost
from eqx_cc.policy import (
    held_out,
    PolicyAnnealing,
    PolicyOrdering,
    pretrained,
)
from eqx_cc.policy._game.game import padded
from eqx_cc.policy._ordering import clear_cache
from eqx_cc.policy._search.shorten import shortened

from .agents import measure_agents
from .cases.tasks import TASKS
from .curves import measure_curves, result
from .harness.rows import machine, merged, written
from .learned_rule import measure_rule, SIZES as RULE_SIZES
from .orders import ARRAYS, PUBLISHED_COUNTS, SCALAR, task_graph
from .reports.policy_tables import tables
from .reports.rule_tables import agent_table, rule_table, search_table


FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks"
COST = eqx_cc.Published()
# Smallest and largest number of vertices, or of lines of a function of arrays.
SIZES = RULE_SIZES | {"3,000": (3000, 3000)}
FUNCTIONS = {"functions of 10-60 lines": (10, 60)}


def graphs_of(size: str, count: int) -> list[ComputationalGraph]:
    """Graphs that are never trained on."""
    if size in FUNCTIONS:
        return held_out(count, *FUNCTIONS[size], structured=True)
    return held_out(count, *SIZES[size])


class Timed:
    """Costs and seconds of orders; a policy is first given time to be compiled."""

    def __init__(self) -> None:
        self._warm: set[Any] = set()

    def __call__(self, ordering: Any, graph: ComputationalGraph) -> tuple[int, float]:
        if isinstance(ordering, PolicyOrdering):
            size = padded(shortened(graph, COST).graph)
            key = size, ordering.num_simulations, ordering.beam
            if key not in self._warm or has_arrays(graph):
                ordering(graph)
                self._warm.add(key)
            clear_cache()
        started = time.monotonic()
        searched = isinstance(ordering, eqx_cc.AbstractSearch)
        order = ordering.search(graph) if searched else ordering(graph)
        return order_cost(graph, order, COST), time.monotonic() - started


def _policies(args: argparse.Namespace) -> dict[str, PolicyOrdering]:
    policy = pretrained()
    orderings = {"policy, greedy": PolicyOrdering(policy, cost=COST)}
    if args.search:
        beam = PolicyOrdering(policy, beam=16, cost=COST)
        tree = PolicyOrdering(policy, num_simulations=64, cost=COST)
        orderings |= {"policy, beam of 16": beam, "policy, 64 simulations": tree}
    return orderings


def measure_held_out(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    timed = Timed()
    for size in args.sizes:
        for i, graph in enumerate(graphs_of(size, args.graphs)):
            row = {"part": "held-out", "group": size, "name": str(i)}
            for contestant, ordering in _contestants(args):
                cost, seconds = timed(ordering, graph)
                yield row | result(contestant, cost, seconds)
                if contestant in _RACED:
                    # No less than annealing takes to begin.
                    rival = Annealing(seconds=seconds, cost=COST)
                    cost, seconds = timed(rival, graph)
                    name = f"annealing, the time of: {contestant}"
                    yield row | result(name, cost, seconds)


_RACED = "policy, greedy", "policy, 64 simulations"


def _contestants(args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    yield "Markowitz", MinimalMarkowitz()
    yield "randomised Markowitz, 1 s", RandomisedMarkowitz(seconds=1.0, cost=COST)
    yield from _policies(args).items()
    seconds = args.annealing
    yield f"annealing, {seconds:g} s", Annealing(seconds=seconds, cost=COST)


def measure_functions(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    timed = Timed()
    for name in args.names:
        graph = task_graph(name)
        row = {"part": "functions", "group": "", "name": name}
        contestants: dict[str, Any] = {"Markowitz": MinimalMarkowitz()}
        contestants["rule"] = LearnedRule(cost=COST)
        contestants |= _policies(args)
        hybrid = PolicyAnnealing(pretrained(), args.annealing, cost=COST)
        contestants["policy, then annealing"] = hybrid
        contestants["annealing"] = Annealing(seconds=args.annealing, cost=COST)
        for contestant, ordering in contestants.items():
            yield row | result(contestant, *timed(ordering, graph))


def _keep(path: pathlib.Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Writes rows, in the place of those that were measured before for the same."""
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    kept = merged(old, rows, ("part", "group", "name", "contestant"))
    about = json.dumps(machine())
    path.write_text(f'{{"machine": {about}, "rows": {written(kept)}}}\n')
    return kept


def main(arguments: Iterable[str] | None = None) -> None:
    args = _parser().parse_args(arguments if arguments is None else list(arguments))
    parts: dict[str, Callable[[Any], Iterator[dict[str, Any]]]] = {
        "held-out": measure_held_out,
        "functions": measure_functions,
        "curve": lambda args: measure_curves(
            {size: graphs_of(size, args.graphs) for size in args.sizes},
            args.annealing,
            Timed(),
        ),
        "rule": lambda args: measure_rule(args.graphs),
        "agents": lambda args: measure_agents(args.tasks, args.training),
        "tables": lambda args: iter(()),
    }
    jax.config.update("jax_enable_x64", True)
    args.folder.mkdir(parents=True, exist_ok=True)
    path, rows = args.folder / "policy.json", []
    kept = _keep(path, rows)
    for part in args.part:
        for row in parts[part](args):
            if not args.quietly:
                print(*row.values(), flush=True)
            rows.append(row)
            kept = _keep(path, rows)  # So that it may be stopped at any time.
    sections = tables(kept, PUBLISHED_COUNTS)
    sections += ["The learned rule\n\n" + rule_table(kept)]
    sections += ["Annealing with and without it\n\n" + search_table(kept)]
    sections += ["Agents\n\n" + agent_table(kept)]
    print("\n\n".join(sections))


_PARTS = "held-out", "functions", "curve", "rule", "agents", "tables"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.policy")
    add, parts = parser.add_argument, _PARTS
    add("--part", nargs="+", choices=parts, default=["held-out", "functions", "curve"])
    add("--sizes", nargs="+", choices=tuple(SIZES | FUNCTIONS), default=list(SIZES)[:3])
    names = tuple(dict.fromkeys([*SCALAR, *ARRAYS, *TASKS]))
    add("--names", nargs="+", choices=names, default=[*SCALAR, *ARRAYS])
    add("--graphs", type=int, default=16, help="of each size")
    add("--annealing", type=float, default=3.0, help="seconds")
    add("--tasks", nargs="+", default=["RobotArm_6DOF", "RoeFlux_1d"], help="of agents")
    add("--training", type=float, default=60.0, help="seconds, of each agent")
    add("--search", action=argparse.BooleanOptionalAction, default=True)
    add("--quietly", action="store_true", help="only the tables")
    add("--folder", type=pathlib.Path, default=FOLDER)
    return parser


if __name__ == "__main__":
    main()
