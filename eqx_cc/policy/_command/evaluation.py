"""The command `evaluate`: tables of a policy's costs beside those of simple orders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..._orders.cost import AbstractCost, as_cost
from ..._orders.orderings import Forward, Reverse
from ..._orders.rule.learned_rule import LearnedRule
from .._game.policy import AbstractPolicy
from .._ordering import PolicyOrdering
from .._pretrained import pretrained
from .._search.tree import check_mctx
from .._stored import described, load
from .._task import Task, task, TASK_NAMES
from .._training.random_graphs import held_out
from .counts import Costs, Graphs, markowitz_costs, ordering_costs, policy_costs, ratios
from .options import SIZES


class Evaluation(NamedTuple):
    """A policy to evaluate, its name, and options."""

    args: argparse.Namespace
    policy: AbstractPolicy
    name: str


def evaluation(args: argparse.Namespace) -> Evaluation:
    """The policy of the options. Raises a `ValueError` or an `ImportError`, of one
    line, if there is none."""
    if args.simulations:
        check_mctx("--simulations")
    if args.folder is None:
        return Evaluation(args, pretrained(), "pretrained")
    return Evaluation(args, load(args.folder, last=args.last), "policy")


def run_evaluation(job: Evaluation) -> int:
    """Prints the table, row by row. Returns the exit code."""
    args, cost = job.args, as_cost(job.args.cost)
    source = "the package" if args.folder is None else args.folder
    _print(f"{job.name}: {described(job.policy)} of {source}")
    contestants = _contestants(job, cost)
    if args.task:
        names = TASK_NAMES if "all" in args.task else args.task
        _print_tasks([task(name) for name in names], contestants, cost)
    else:
        _print_random(args, contestants, cost)
    return 0


Contestants = Mapping[str, Callable[[Graphs], Costs]]


def _contestants(job: Evaluation, cost: AbstractCost) -> Contestants:
    """Costs of graphs, by names; the policy is the last."""

    def by(ordering):
        return lambda graphs: ordering_costs(ordering, graphs, cost)

    args = job.args
    if args.beam > 1 or args.simulations:
        ordering = PolicyOrdering(job.policy, args.simulations, args.beam, cost)
        play = by(ordering)
    else:
        play = lambda graphs: policy_costs(job.policy, graphs, cost)  # noqa: E731
    return {
        "Markowitz": lambda graphs: markowitz_costs(graphs, cost),
        "forward": by(Forward()),
        "reverse": by(Reverse()),
        "rule": by(LearnedRule(cost=cost)),
        job.name: play,
    }


def _print_random(
    args: argparse.Namespace, contestants: Contestants, cost: AbstractCost
) -> None:
    _print(
        f"Costs ({cost.name}) over those of Markowitz: means over {args.graphs} random "
        "graphs of each size that are never trained on; wins: graphs where the policy "
        "costs less than Markowitz.\n"
    )
    _print_table(["vertices", *contestants, "wins"], _random_rows(args, contestants))


def _random_rows(
    args: argparse.Namespace, contestants: Contestants
) -> Iterator[list[str]]:
    for size in args.sizes:
        graphs = held_out(args.graphs, *SIZES[size])
        costs = [play(graphs) for play in contestants.values()]
        shares = [ratios(each, costs[0]) for each in costs]
        wins = int(np.sum(costs[-1] < costs[0]))
        means = [f"{share.mean():.3f}" for share in shares]
        yield [size, *means, f"{wins} of {len(graphs)}"]


def _print_tasks(
    tasks: Sequence[Task], contestants: Contestants, cost: AbstractCost
) -> None:
    published = ["AlphaZero*", "PPO*", "best known"]
    heads = ["task", *contestants, *(published if cost.name == "published" else [])]
    _print(
        f"Costs ({cost.name}). *: the least published by Lohoff and Neftci (2024).\n"
    )
    _print_table(heads, _task_rows(tasks, contestants, len(heads)))


def _task_rows(
    tasks: Sequence[Task], contestants: Contestants, width: int
) -> Iterator[list[str]]:
    for each in tasks:
        counts = [int(play((each.graph,))[0]) for play in contestants.values()]
        published = each.alphazero, each.ppo, each.best_known
        cells = ["-" if c is None else str(c) for c in (*counts, *published)]
        yield [each.name, *cells][:width]


def _print_table(heads: Sequence[str], rows: Iterator[list[str]]) -> None:
    """Prints each row as soon as it is there."""
    widths = [max(len(head), 9) for head in heads]
    widths[0] = max(map(len, (*TASK_NAMES, heads[0])))

    def line(cells):
        first, *rest = (c.rjust(w) for c, w in zip(cells, widths))
        _print("  ".join([first.strip().ljust(widths[0]), *rest]))

    line(heads)
    for row in rows:
        line(row)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
