"""`python -m eqx_cc.policy train`: trains a policy, or goes on where it stopped."""

from __future__ import annotations

import argparse
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax.random as jr
import numpy as np

from .._orders.cost import as_cost
from .._orders.rule.weights import RuleWeights
from ._game.policy import AbstractPolicy
from ._networks import EdgeTransformer, GraphPolicy
from ._rule import RulePolicy
from ._search.tree import check_mctx
from ._training.alphazero import AlphaZero
from ._training.curve import draw_curve
from ._training.evolution import Evolution, evolve, rule_ratios, start_evolution
from ._training.imitation import imitate, Imitation, remove_lessons
from ._training.ppo import PPO
from ._training.random_graphs import held_out
from ._training.train import (
    evaluate,
    load,
    Metrics,
    save,
    Settings,
    start,
    table,
    train,
    Training,
)


_AGENTS = "alphazero", "evolution", "imitation", "ppo"
_COSTS = "published", "multiplications", "flops", "traffic"
_NETWORKS = {"graph": GraphPolicy, "transformer": EdgeTransformer}


def main(arguments: list[str] | None = None) -> None:
    """Trains as the command line says."""
    parser, command = _parsers()
    args = parser.parse_args(arguments)
    if args.start is not None and not (args.start / "checkpoint.eqx").exists():
        command.error(
            f"argument --start: {args.start} has no checkpoint.eqx. It must be the "
            "`--folder` of earlier training."
        )
    if args.smallest > args.largest:
        command.error("argument --smallest: it must be at most --largest")
    if args.agent == "alphazero":
        check_mctx("--agent alphazero")
    settings = Settings(
        args.batch,
        args.smallest,
        args.largest,
        args.rate,
        args.seed,
        as_cost(args.cost),
    )
    training = _start(_policy(args), settings, args)
    try:
        if (args.folder / "checkpoint.eqx").exists():
            training = load(args.folder, training)
        elif args.start is not None:
            training = _start(load(args.start, training).policy, settings, args)
    except RuntimeError:
        command.error(
            "the checkpoint is of another kind of policy: --agent, --network, --width "
            "and --rounds must be those that it was trained with"
        )
    args.folder.mkdir(parents=True, exist_ok=True)
    _train(_iterations(training, settings, args), training, settings, args)


def _policy(args: argparse.Namespace) -> AbstractPolicy:
    """The policy before training: a rule is that of Markowitz."""
    if args.agent == "evolution" or args.network == "rule":
        return RulePolicy(RuleWeights())
    return _NETWORKS[args.network](args.width, args.rounds, key=jr.key(args.seed))


def _start(
    policy: AbstractPolicy, settings: Settings, args: argparse.Namespace
) -> Training:
    if args.agent == "evolution":
        assert isinstance(policy, RulePolicy)
        return start_evolution(policy)
    return start(policy, settings)


def _iterations(
    training: Training, settings: Settings, args: argparse.Namespace
) -> Iterator[tuple[Training, Metrics]]:
    if args.agent == "evolution":
        programs = args.programs
        return evolve(Evolution(programs=programs), training, settings)
    if args.agent == "imitation":
        imitation = Imitation(structured=args.structured, moves=args.moves)
        return imitate(imitation, training, settings, args.folder)
    if args.agent == "alphazero":
        return train(AlphaZero(num_simulations=args.simulations), training, settings)
    return train(PPO(), training, settings)


def _train(
    iterations: Iterator[tuple[Training, Metrics]],
    training: Training,
    settings: Settings,
    args: argparse.Namespace,
) -> None:
    """Trains until there are enough iterations, counted from the first of all."""
    options = {k: str(v) for k, v in vars(args).items()}
    graphs = held_out(args.graphs, args.smallest, args.largest)
    write, started = table(args.folder / "metrics.csv"), time.monotonic()
    if int(training.iteration) >= args.iterations:
        return
    for training, metrics in iterations:
        last = metrics.iteration >= args.iterations
        row: dict[str, Any] = metrics._asdict() | dict.fromkeys(_JUDGED, "")
        if last or metrics.iteration % args.every == 0:
            judge = rule_ratios if args.agent == "evolution" else evaluate
            ratios = judge(training.policy, graphs, settings.cost)
            row |= dict(zip(_JUDGED, (ratios.mean(), np.mean(ratios < 1))))
            save(args.folder, training, options)
            remove_lessons(args.folder, metrics.iteration - Imitation().memory)
        write(row)
        if row["held_out_ratio"] != "":
            draw_curve(args.folder / "metrics.csv", args.folder / "learning.svg")
        _show(metrics, row, args, time.monotonic() - started)
        if last:
            sys.stderr.write("\n")
            return


_JUDGED = "held_out_ratio", "held_out_wins"


def _show(
    metrics: Metrics, row: dict[str, Any], args: argparse.Namespace, gone: float
) -> None:
    """A line that is drawn over; one that stays where the policy was judged."""
    full = 30 * metrics.iteration // args.iterations
    line = (
        f"{args.agent} [{'#' * full}{'-' * (30 - full)}] {metrics.iteration} of "
        f"{args.iterations}, {gone:.0f} s: {metrics.ratio:.4f} of Markowitz"
    )
    if row["held_out_ratio"] != "":
        line += f", {row['held_out_ratio']:.4f} on graphs never trained on\n"
    sys.stderr.write(f"\r{line}\x1b[K" if sys.stderr.isatty() else "")
    if line.endswith("\n") and not sys.stderr.isatty():
        sys.stderr.write(line)
    sys.stderr.flush()


def _positive(text: str) -> int:
    """A positive integer of the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


_positive.__name__ = "int"  # In the messages of argparse.


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The parser, and that of `train`."""
    parser = argparse.ArgumentParser("python -m eqx_cc.policy", description=__doc__)
    kind = argparse.ArgumentDefaultsHelpFormatter
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", formatter_class=kind)
    _add_options(command)
    return parser, command


def _add_options(command: argparse.ArgumentParser) -> None:
    default, add = Settings(), command.add_argument
    add("--agent", choices=_AGENTS, default="ppo", help="evolution trains a rule")
    networks = (*_NETWORKS, "rule")
    add("--network", choices=networks, default="graph", help="what is trained")
    add("--folder", type=pathlib.Path, required=True, help="of checkpoint and metrics")
    add("--rate", type=float, default=default.rate, help="of learning")
    add("--seed", type=int, default=default.seed, help="of graphs and of play")
    add("--cost", choices=_COSTS, default=default.cost.name, help="the cost model")
    add("--structured", type=float, default=0.125, help="share, of imitation")
    add("--start", type=pathlib.Path, help="folder of a policy to begin with")
    for name, value, meaning in (
        ("iterations", 1000, "counted from the first of all"),
        ("every", 20, "iterations between checkpoints"),
        ("graphs", 64, "graphs that are never trained on"),
        ("batch", default.batch, "games that are played at once"),
        ("smallest", default.smallest, "number of vertices of random graphs"),
        ("largest", default.largest, "number of vertices of random graphs"),
        ("simulations", 16, "before each move, of alphazero"),
        ("moves", 50, "of annealing a vertex, of imitation"),
        ("programs", 256, "traced programs, of evolution"),
        ("width", 32, "of the network"),
        ("rounds", 3, "of messages, or layers"),
    ):
        add(f"--{name}", type=_positive, default=value, help=meaning)


if __name__ == "__main__":
    main()
