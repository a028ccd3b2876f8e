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
from ._networks import EdgeTransformer, GraphPolicy
from ._search.tree import check_mctx
from ._training.alphazero import AlphaZero
from ._training.curve import draw_curve
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


_NETWORKS = {"graph": GraphPolicy, "transformer": EdgeTransformer}


def main(arguments: list[str] | None = None) -> None:
    """Trains as the command line says."""
    args = _parser().parse_args(arguments)
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
    policy = _NETWORKS[args.network](args.width, args.rounds, key=jr.key(args.seed))
    training = start(policy, settings)
    if (args.folder / "checkpoint.eqx").exists():
        training = load(args.folder, training)
    elif args.start is not None:
        training = start(load(args.start, training).policy, settings)
    args.folder.mkdir(parents=True, exist_ok=True)
    _train(_iterations(training, settings, args), training, settings, args)


def _iterations(
    training: Training, settings: Settings, args: argparse.Namespace
) -> Iterator[tuple[Training, Metrics]]:
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
            ratios = evaluate(training.policy, graphs, settings.cost)
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


def _parser() -> argparse.ArgumentParser:
    default = Settings()
    parser = argparse.ArgumentParser("python -m eqx_cc.policy", description=__doc__)
    command = parser.add_subparsers(required=True).add_parser("train")
    add = command.add_argument
    add("--agent", choices=("alphazero", "imitation", "ppo"), default="ppo")
    add("--network", choices=tuple(_NETWORKS), default="graph")
    add("--folder", type=pathlib.Path, required=True, help="of checkpoint and metrics")
    add("--iterations", type=int, default=1000, help="counted from the first of all")
    add("--every", type=int, default=20, help="iterations between checkpoints")
    add("--graphs", type=int, default=64, help="graphs that are never trained on")
    add("--batch", type=int, default=default.batch)
    add("--smallest", type=int, default=default.smallest)
    add("--largest", type=int, default=default.largest)
    add("--rate", type=float, default=default.rate, help="of learning")
    add("--seed", type=int, default=default.seed)
    add("--cost", default=default.cost.name)
    add("--simulations", type=int, default=16, help="before each move, of alphazero")
    add("--structured", type=float, default=0.125, help="share, of imitation")
    add("--moves", type=int, default=50, help="of annealing a vertex, of imitation")
    add("--start", type=pathlib.Path, help="folder of a policy to begin with")
    add("--width", type=int, default=32)
    add("--rounds", type=int, default=3, help="of messages, or layers")
    return parser


if __name__ == "__main__":
    main()
