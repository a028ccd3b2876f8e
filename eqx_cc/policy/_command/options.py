"""The options of the commands: each has a line of help and its default."""

from __future__ import annotations

import argparse
import math
import pathlib
from typing import Any, NoReturn

from .._task import TASK_NAMES
from .._training.alphazero import AlphaZero
from .._training.evolution import Evolution
from .._training.imitation import Imitation
from .._training.train import Settings


AGENTS = "alphazero", "evolution", "imitation", "ppo"
COSTS = "published", "multiplications", "flops", "traffic"
NETWORKS = "graph", "transformer", "rule"
SIZES = {"10-40": (10, 40), "40-100": (40, 100), "100-300": (100, 300)}
WIDTH, ROUNDS = 32, 3


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


class _Help(argparse.HelpFormatter):
    """Ends the help of each option with its default, if it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.required:
            return action.help
        if action.default == argparse.SUPPRESS:
            return action.help
        if isinstance(action.default, tuple):
            return f"{action.help} (default: {' '.join(action.default)})"
        return f"{action.help} (default: %(default)s)"


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the command line, and those of the commands."""
    parser = _Parser(
        "python -m eqx_cc.policy", description="Trains and evaluates policies."
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    train = commands.add_parser(
        "train",
        help="train a policy, or go on where training stopped",
        description=_TRAIN,
        formatter_class=_Help,
    )
    evaluate = commands.add_parser(
        "evaluate",
        help="print a table of a policy's costs beside those of simple orders",
        description=_EVALUATE,
        formatter_class=_Help,
    )
    _add_train(train)
    _add_evaluate(evaluate)
    return parser, {"train": train, "evaluate": evaluate}


_TRAIN = """Trains a policy on new random graphs, or with --task on one published graph.
If the folder has a checkpoint, training goes on from it. Ctrl-C writes one. The folder
gets checkpoint.eqx, policy.eqx and policy.json (the last policy), best.eqx (the best
one, which `eqx_cc.policy.load` returns), metrics.csv, and learning.svg if matplotlib is
installed."""

_EVALUATE = """Prints the multiplications of a policy beside those of Markowitz, of
forward and reverse mode, and of the learned rule: means over random graphs that are
never trained on, as ratios to Markowitz; with --task the counts of published graphs,
beside the published ones."""


def _add_train(command: argparse.ArgumentParser) -> None:
    default, evolution, imitation = Settings(), Evolution(), Imitation()
    add = command.add_argument
    add(
        "--folder",
        type=pathlib.Path,
        required=True,
        help="folder of the checkpoint, the policy and the metrics (required)",
    )
    add(
        "--agent",
        choices=AGENTS,
        default="ppo",
        help="how to train: by Gumbel AlphaZero (needs mctx), an evolution strategy "
        "(for a rule), imitation of annealed orders, or PPO",
    )
    add(
        "--task",
        choices=TASK_NAMES,
        help="published graph to train on, instead of random graphs",
    )
    add(
        "--network",
        choices=NETWORKS,
        help="policy to train (default: graph; with --agent evolution: rule)",
    )
    number, share = _positive, _share
    add("--width", type=number, help=f"features of a vertex (default: {WIDTH})")
    add(
        "--rounds",
        type=number,
        help=f"rounds of messages, or layers of the transformer (default: {ROUNDS})",
    )
    add(
        "--start",
        type=pathlib.Path,
        help="folder of a trained policy to begin with, if there is no checkpoint yet",
    )
    add(
        "--beside",
        nargs="+",
        type=pathlib.Path,
        metavar="FOLDER",
        help="folders of rules that play as well, of evolution: the cheapest game "
        "of all counts, so that the new one gets good where the others are not",
    )
    for name, kind, value, meaning in (
        ("iterations", number, 1000, "iterations in all, those before a stop included"),
        ("every", number, 20, "iterations between checkpoints"),
        ("graphs", number, 64, "random graphs never trained on, to score the policy"),
        ("batch", number, default.batch, "games played at once"),
        ("smallest", number, default.smallest, "fewest vertices of random graphs"),
        ("largest", number, default.largest, "most vertices of random graphs"),
        ("rate", _rate, default.rate, "learning rate of Adam; not of evolution"),
        ("seed", _seed, default.seed, "seed of graphs and games, 0 to 99"),
        (
            "simulations",
            number,
            AlphaZero.num_simulations,
            "before a move, of alphazero",
        ),
        (
            "structured",
            share,
            imitation.structured,
            "share of array functions, of imitation",
        ),
        ("moves", number, imitation.moves, "of annealing, a vertex, of imitation"),
        ("programs", number, evolution.programs, "traced programs, of evolution"),
    ):
        add(f"--{name}", type=kind, default=value, help=meaning)
    _add_cost(command)


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "folder",
        nargs="?",
        type=pathlib.Path,
        metavar="FOLDER",
        help="folder of a trained policy; by default the pretrained network",
    )
    add(
        "--task",
        nargs="+",
        choices=(*TASK_NAMES, "all"),
        metavar="NAME",
        help=f"published graphs: {', '.join(TASK_NAMES)}, or all",
    )
    add(
        "--sizes",
        nargs="+",
        choices=tuple(SIZES),
        default=tuple(SIZES),
        help="numbers of vertices of random graphs",
    )
    add("--graphs", type=_positive, default=16, help="random graphs of each size")
    add("--beam", type=_positive, default=1, help="games side by side")
    add(
        "--simulations",
        type=_natural,
        default=0,
        help="eliminations tried before each move, by tree search (needs mctx)",
    )
    add("--last", action="store_true", help="take the last policy, not the best one")
    _add_cost(command)


def _add_cost(command: argparse.ArgumentParser) -> None:
    default = Settings().cost.name
    command.add_argument("--cost", choices=COSTS, default=default, help="cost model")


def _natural(text: str) -> int:
    """A number from 0 on."""
    return _number(
        text, int, lambda x: x >= 0, "must be an integer that is not negative"
    )


def _positive(text: str) -> int:
    """A number from 1 on."""
    return _number(text, int, lambda x: x > 0, "must be a positive integer")


def _seed(text: str) -> int:
    """A seed whose graphs are not those that are never trained on."""
    return _number(text, int, lambda x: 0 <= x < 100, "must be an integer from 0 to 99")


def _share(text: str) -> float:
    return _number(text, float, lambda x: 0 <= x <= 1, "must be between 0 and 1")


def _rate(text: str) -> float:
    good = lambda x: 0 < x < math.inf  # noqa: E731
    return _number(text, float, good, "must be a positive number")


def _number(text: str, kind: Any, good: Any, wanted: str) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not good(number):
        raise argparse.ArgumentTypeError(f"it {wanted}; got {text!r}")
    return number
