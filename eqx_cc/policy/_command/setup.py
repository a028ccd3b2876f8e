"""The training that options ask for; nothing is compiled here."""

from __future__ import annotations

import argparse
import importlib.util
import json
import pathlib
from typing import NamedTuple

import equinox as eqx
import jax.random as jr

from ..._graph.graph import ComputationalGraph
from ..._orders.cost import as_cost
from ..._orders.rule.weights import RuleWeights
from .._game.policy import AbstractPolicy
from .._networks import EdgeTransformer, GraphPolicy
from .._rule import RulePolicy
from .._search.tree import check_mctx
from .._stored import architecture, described, load
from .._task import Task, task
from .._training.checkpoint import CHECKPOINT, resume, SETTINGS
from .._training.evolution import start_evolution
from .._training.random_graphs import held_out
from .._training.train import Settings, start, Training
from .options import ROUNDS, WIDTH


class Job(NamedTuple):
    """Training to begin or to go on with, and the graphs that score it."""

    args: argparse.Namespace
    settings: Settings
    resumed: Training | None
    graphs: tuple[ComputationalGraph, ...]
    task: Task | None
    companions: tuple[RuleWeights, ...]

    @property
    def folder(self) -> pathlib.Path:
        """The folder of the checkpoint and the metrics."""
        return self.args.folder

    @property
    def iteration(self) -> int:
        """Number of iterations so far."""
        return 0 if self.resumed is None else int(self.resumed.iteration)

    def begin(self) -> Training:
        """The training to go on with. The weights of a new network are drawn by
        programs, which take seconds to compile."""
        if self.resumed is not None:
            return self.resumed
        return _start(self.args, _policy(self.args), self.settings)


def job(args: argparse.Namespace) -> Job:
    """The training that options ask for. Raises a `ValueError` or an `ImportError`, of
    one line, if they do not fit each other, the folder, or what is installed."""
    _check(args)
    chosen = task(args.task) if args.task else None
    graphs = () if chosen is None else (chosen.graph,)
    settings = Settings(
        args.batch,
        args.smallest,
        args.largest,
        args.rate,
        args.seed,
        as_cost(args.cost),
        graphs,
    )
    resumed = None
    if _goes_on(args):
        _check_settings(args)
        resumed = resume(args.folder, _start(args, _policy(args), settings))
    else:
        eqx.filter_eval_shape(lambda: _policy(args))  # It raises what is wrong.
    if not graphs:
        graphs = tuple(held_out(args.graphs, args.smallest, args.largest))
    return Job(args, settings, resumed, graphs, chosen, _companions(args))


def _companions(args: argparse.Namespace) -> tuple[RuleWeights, ...]:
    """The rules of the folders of `--beside`."""
    folders = args.beside or ()
    if folders and args.agent != "evolution":
        raise ValueError("argument --beside: it is for `--agent evolution`")
    policies = [_loaded("beside", folder) for folder in folders]
    for folder, policy in zip(folders, policies):
        if not isinstance(policy, RulePolicy):
            raise ValueError(
                f"argument --beside: the policy of {folder} is a "
                f"`{described(policy)}`, not a rule"
            )
    return tuple(p.rule_weights for p in policies if isinstance(p, RulePolicy))


def _goes_on(args: argparse.Namespace) -> bool:
    return (args.folder / CHECKPOINT).exists()


def _check(args: argparse.Namespace) -> None:
    if args.folder.exists() and not args.folder.is_dir():
        raise ValueError(f"argument --folder: {args.folder} is a file, not a folder")
    if args.largest < 4:
        raise ValueError("argument --largest: it must be at least 4")
    if args.smallest > args.largest:
        raise ValueError("argument --smallest: it must be at most --largest")
    if args.agent == "alphazero":
        check_mctx("--agent alphazero")
    if args.agent != "evolution" and importlib.util.find_spec("optax") is None:
        raise ImportError(
            f"--agent {args.agent} trains with optax, which is not installed: "
            "`python -m pip install optax`, or `--agent evolution`"
        )


def _policy(args: argparse.Namespace) -> AbstractPolicy:
    """The policy of the folder, else that of `--start`, else a new one."""
    is_new = args.start is None and not _goes_on(args)
    policy = _new_policy(args) if is_new else _stored_policy(args)
    if args.agent == "evolution" and not isinstance(policy, RulePolicy):
        raise ValueError(
            "argument --agent: evolution trains a rule, not a "
            f"`{described(policy)}`; take another agent or `--network rule`"
        )
    return policy


def _stored_policy(args: argparse.Namespace) -> AbstractPolicy:
    """The last policy of the folder, or the best one of `--start`."""
    goes_on = _goes_on(args)
    name, folder = ("folder", args.folder) if goes_on else ("start", args.start)
    policy = _loaded(name, folder, last=goes_on)
    _check_sizes(args, policy, folder)
    return policy


def _loaded(option: str, folder: pathlib.Path, last: bool = False) -> AbstractPolicy:
    try:
        return load(folder, last=last)
    except ValueError as error:
        raise ValueError(f"argument --{option}: {error}") from error


def _new_policy(args: argparse.Namespace) -> AbstractPolicy:
    """A policy before training: that of Markowitz."""
    network = args.network or ("rule" if args.agent == "evolution" else "graph")
    if network == "rule":
        return RulePolicy(RuleWeights())
    kind = GraphPolicy if network == "graph" else EdgeTransformer
    width, rounds = args.width or WIDTH, args.rounds or ROUNDS
    try:
        return kind(width, rounds, key=jr.key(args.seed))
    except ValueError as error:  # The width is no multiple of the number of heads.
        raise ValueError(f"argument --width: {error}") from error


_CLASSES = {"graph": "GraphPolicy", "transformer": "EdgeTransformer"}
_CLASSES |= {"rule": "RulePolicy"}


def _check_sizes(
    args: argparse.Namespace, policy: AbstractPolicy, folder: pathlib.Path
) -> None:
    """Options that are given must be those of the policy of a folder."""
    sizes = architecture(policy)
    kind = None if args.network is None else _CLASSES[args.network]
    rounds = sizes.get("rounds", sizes.get("layers"))
    for name, given, stored in (
        ("network", kind, sizes["kind"]),
        ("width", args.width, sizes.get("width")),
        ("rounds", args.rounds, rounds),
    ):
        if given is not None and given != stored:
            raise ValueError(
                f"argument --{name}: the policy of {folder} is a "
                f"`{described(policy)}`; leave --{name} out, or take another folder"
            )


def _check_settings(args: argparse.Namespace) -> None:
    """Scores of one folder must be comparable: they are of one task and cost model."""
    path = args.folder / SETTINGS
    try:
        stored = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise ValueError(
            f"argument --folder: {path} is broken; remove it, and give the options "
            "that the policy was trained with"
        ) from error
    for name in ("task", "cost"):
        old = stored.get(name, getattr(args, name))
        if old != getattr(args, name):
            remedy = f"give `--{name} {old}`" if old else f"leave --{name} out"
            raise ValueError(
                f"argument --{name}: {args.folder} was trained with another {name}; "
                f"{remedy}, or train in a new --folder (`--start {args.folder}` begins "
                "with this policy)"
            )


def _start(
    args: argparse.Namespace, policy: AbstractPolicy, settings: Settings
) -> Training:
    if args.agent == "evolution":
        assert isinstance(policy, RulePolicy)
        return start_evolution(policy)
    return start(policy, settings)
