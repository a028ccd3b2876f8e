"""The command `train`: checkpoints, metrics, and a line of progress."""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .._training.alphazero import AlphaZero
from .._training.checkpoint import forget_best, save
from .._training.evolution import Evolution, evolve
from .._training.imitation import imitate, Imitation, remove_lessons
from .._training.ppo import PPO
from .._training.train import Metrics, train, Training
from .counts import markowitz_costs, policy_costs, ratios
from .curve import draw_curve
from .metrics import append_row, keep_rows, least_count
from .setup import Job


def run_training(job: Job) -> int:
    """Trains until there are enough iterations, counted from the first of all. Returns
    the exit code: 130 if it was interrupted, which writes a checkpoint."""
    if job.iteration >= job.args.iterations:
        _say(
            f"{job.folder} has had {job.iteration} iterations, of --iterations "
            f"{job.args.iterations} in all: there is nothing to do.\n"
        )
        return 0
    _announce(job)
    job.folder.mkdir(parents=True, exist_ok=True)
    if job.iteration == 0:
        forget_best(job.folder)
    run = _Run(job, job.begin())
    try:
        for training, metrics in _iterations(job, run.training):
            run.after(training, metrics)
            if metrics.iteration >= job.args.iterations:
                break
    except KeyboardInterrupt:
        run.interrupted()
        return 130
    _say("\n" if sys.stderr.isatty() else "")
    return 0


def _iterations(job: Job, training: Training) -> Iterator[tuple[Training, Metrics]]:
    args, settings = job.args, job.settings
    if args.agent == "evolution":
        evolution = Evolution(programs=args.programs, companions=job.companions)
        return evolve(evolution, training, settings)
    if args.agent == "imitation":
        imitation = Imitation(structured=args.structured, moves=args.moves)
        return imitate(imitation, training, settings, args.folder)
    if args.agent == "alphazero":
        agent = AlphaZero(num_simulations=args.simulations)
        return train(agent, training, settings)
    return train(PPO(), training, settings)


class _Score(NamedTuple):
    """The columns of an iteration after which the policy was scored."""

    score: float
    row: dict[str, Any]


class _Run:
    """Training under way."""

    def __init__(self, job: Job, training: Training):
        self.job, self.started = job, time.monotonic()
        self.table = job.folder / "metrics.csv"
        self.best = least_count(keep_rows(self.table, job.iteration))
        self.training = training  # That of the last row.
        self.stored = job.iteration
        self.greedy = markowitz_costs(job.graphs, job.settings.cost)

    def after(self, training: Training, metrics: Metrics) -> None:
        """Writes a row; scores the policy and writes a checkpoint where it is time."""
        args = self.job.args
        is_last = metrics.iteration >= args.iterations
        judged = is_last or metrics.iteration % args.every == 0
        score = self._score(training) if judged else None
        row = metrics._asdict() | (score.row if score else {})
        if self.job.task is not None:
            self.best = min(self.best, metrics.least, row.get("greedy_count", np.inf))
            row["best_count"] = int(self.best)
        append_row(self.table, row)
        self.training = training
        if score:
            self._save(score.score)
            draw_curve(self.table, self.table.with_name("learning.svg"))
        self._show(metrics, row)

    def _score(self, training: Training) -> _Score:
        cost = self.job.settings.cost
        costs = policy_costs(training.policy, self.job.graphs, cost)
        if self.job.task is not None:
            return _Score(costs[0], {"greedy_count": int(costs[0])})
        shares = ratios(costs, self.greedy)
        row = {"held_out_ratio": shares.mean(), "held_out_wins": np.mean(shares < 1)}
        return _Score(float(shares.mean()), row)

    def _save(self, score: float = float("inf")) -> None:
        args, folder = self.job.args, self.job.folder
        options = {k: _plain(v) for k, v in vars(args).items()}
        save(folder, self.training, options, score)
        self.stored = int(self.training.iteration)
        remove_lessons(folder, self.stored - Imitation().memory)

    def interrupted(self) -> None:
        """Writes a checkpoint of the last iteration that is complete."""
        done, folder = int(self.training.iteration), self.job.folder
        if done == self.job.iteration:
            _say("\nInterrupted before the first iteration: nothing has changed.\n")
            return
        if done > self.stored:
            self._save()
        _say(
            f"\nInterrupted after {done} iterations. The checkpoint is in {folder}: "
            "the same command goes on from it.\n"
        )

    def _show(self, metrics: Metrics, row: dict[str, Any]) -> None:
        """A line that is drawn over; one that stays where the policy was scored."""
        args, done = self.job.args, metrics.iteration
        full = 30 * done // args.iterations
        line = (
            f"{args.agent} [{'#' * full}{'-' * (30 - full)}] {done} of "
            f"{args.iterations}, {time.monotonic() - self.started:.0f} s: "
        )
        scored = self.stored == done
        if self.job.task is None:
            line += f"{metrics.ratio:.4f} of Markowitz"
            if scored:
                line += f", {row['held_out_ratio']:.4f} on graphs never trained on"
        else:
            line += f"best {row['best_count']} multiplications"
            line += f", greedy game {row['greedy_count']}" if scored else ""
        if sys.stderr.isatty():
            _say(f"\r{line}\x1b[K" + ("\n" if scored else ""))
        elif scored or done == self.job.iteration + 1:
            _say(f"{line}\n")


def _announce(job: Job) -> None:
    """Signs of life before the first iteration, which may take a minute."""
    if job.task is not None:
        [greedy] = markowitz_costs(job.graphs, job.settings.cost)
        _say(f"{job.task.name}: Markowitz takes {int(greedy)} multiplications")
        _say(_published(job) + "\n")
    done = job.iteration
    begins = "starting" if done == 0 else f"going on after {done} iterations"
    work = {
        "evolution": "tracing programs",
        "imitation": "annealing graphs, then compiling",
    }
    doing = work.get(job.args.agent, "compiling")
    _say(f"{job.args.agent}: {begins} in {job.folder}; {doing} ...\n")


def _published(job: Job) -> str:
    """The published counts of the task of a job, in words."""
    task = job.task
    if task is None or job.settings.cost.name != "published":
        return ""
    parts = [f"best known {task.best_known}"]
    if task.alphazero is not None:
        parts = [f"published: AlphaZero {task.alphazero}, PPO {task.ppo}", *parts]
    return "; " + "; ".join(parts)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, pathlib.Path) else value


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
