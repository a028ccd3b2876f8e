"""An evolution strategy that trains the learned rule on programs and random graphs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._graph.graph import ComputationalGraph
from ..._orders.baseline import simple_order
from ..._orders.cost import AbstractCost, Multiplications
from ..._orders.rule.game import Opening
from ..._orders.rule.weights import RuleWeights
from ..._orders.state import space
from .._rule import RulePolicy
from .programs.random_programs import random_program
from .random_graphs import random_graph
from .train import Metrics, Settings, Training


class Evolution(NamedTuple):
    r"""An evolution strategy with an adapted covariance.

    In an iteration it draws weights around a mean and plays all graphs of a batch with
    each of them. The mean moves to the better half, and the covariance adapts to where
    they are. It minimises the mean of $\log(c / b) + \alpha \max(\log(c / b), 0)$,
    where $c$ is the cost of the rule and $b$ that of the best of forward, reverse and
    Markowitz. There are no gradients: the rule plays in plain Python, as it does where
    it is used.

    With `companions`, $c$ is the least cost of these and of the weights that are
    trained, which become good where the others are not.

    **Arguments:**

    - `population`: number of weights that are drawn.
    - `spread`: their standard deviation in the first iteration.
    - `programs`: number of traced programs to train on. Every fourth has arrays for
        vertices, the others scalars.
    - `most`: the largest number of vertices of a program.
    - `share`: the share of a batch that is programs; the others are random graphs.
    - `caution`: $\alpha$, by how much more a loss weighs than a gain.
    - `companions`: the [`eqx_cc.RuleWeights`][] that play as well.

    !!! Example

        ```python
        evolution = eqx_cc.policy.Evolution(population=4, programs=4, most=50)
        ```

    ??? cite "Reference"

        N. Hansen, *The CMA Evolution Strategy: A Tutorial*, arXiv:1604.00772, 2016.
    """

    population: int = 16
    spread: float = 0.2
    programs: int = 256
    most: int = 300
    share: float = 0.6
    caution: float = 0.5
    companions: tuple[RuleWeights, ...] = ()


class Distribution(eqx.Module):
    """The normal distribution that weights are drawn from, and the path of its mean."""

    mean: Float[np.ndarray, " n"]
    sigma: Float[np.ndarray, ""]
    covariance: Float[np.ndarray, "n n"]
    path: Float[np.ndarray, " n"]


class _Task(NamedTuple):
    """The opening of the games of a graph, the cost of the best simple order, and the
    least cost of the companions."""

    opening: Opening
    baseline: int
    least: float


def start_evolution(policy: RulePolicy, evolution: Evolution = Evolution()) -> Training:
    """Training before the first iteration of [`eqx_cc.policy.evolve`][].

    **Arguments:**

    - `policy`: the [`eqx_cc.policy.RulePolicy`][] to begin with.
    - `evolution`: an [`eqx_cc.policy.Evolution`][].

    **Returns:** an [`eqx_cc.policy.Training`][].

    !!! Example

        ```python
        training = eqx_cc.policy.start_evolution(eqx_cc.policy.RulePolicy())
        ```
    """
    mean = np.asarray(policy.weights, float)
    first = Distribution(
        mean, np.asarray(evolution.spread), np.eye(mean.size), np.zeros(mean.size)
    )
    return Training(policy, first, jnp.zeros((), jnp.int32))


def evolve(
    evolution: Evolution, training: Training, settings: Settings
) -> Iterator[tuple[Training, Metrics]]:
    """Trains a rule without end. Training can be resumed, with the same result as if it
    had not stopped.

    **Arguments:**

    - `evolution`: an [`eqx_cc.policy.Evolution`][].
    - `training`: as [`eqx_cc.policy.start_evolution`][] or [`eqx_cc.policy.resume`][]
        return it.
    - `settings`: an [`eqx_cc.policy.Settings`][]. `rate` has no use.

    **Returns:** an iterator, with an item for each iteration: the training after it,
    and metrics. `ratio` is the mean cost of the drawn weights over the best of forward,
    reverse and Markowitz.

    !!! Example

        ```python
        training = eqx_cc.policy.start_evolution(eqx_cc.policy.RulePolicy())
        evolution = eqx_cc.policy.Evolution(population=4, programs=2, most=40)
        settings = eqx_cc.policy.Settings(batch=4, largest=20)
        training, metrics = next(eqx_cc.policy.evolve(evolution, training, settings))
        ```
    """
    while True:
        started, iteration = time.monotonic(), int(training.iteration)
        rng = np.random.default_rng((settings.seed, iteration))
        tasks = _batch(evolution, settings, rng)
        distribution, losses, logs = _step(evolution, training.optimiser, tasks, rng)
        policy = RulePolicy(RuleWeights(*map(float, distribution.mean)))
        training = Training(policy, distribution, training.iteration + 1)
        gone, loss = time.monotonic() - started, float(np.mean(losses))
        spread = float(distribution.sigma)
        ratio, least = float(np.mean(np.exp(logs))), math.nan
        if len(settings.graphs) == 1:
            least = round(tasks[0].baseline * math.exp(logs.min()))
        yield training, Metrics(iteration + 1, gone, ratio, loss, 0.0, spread, least)


def _step(
    evolution: Evolution,
    old: Distribution,
    tasks: list[_Task],
    rng: np.random.Generator,
) -> tuple[
    Distribution,
    Float[np.ndarray, " population"],
    Float[np.ndarray, "population tasks"],
]:
    """The distribution after an iteration, the losses of what was drawn, and the
    logarithms of all ratios of costs."""
    n, count = old.mean.size, evolution.population // 2
    weights = np.log(count + 0.5) - np.log(np.arange(1, count + 1))
    weights /= weights.sum()
    effective = 1 / np.sum(weights**2)
    memory = (effective + 2) / (n + effective + 5)
    rate = min(0.5, 2 * (effective - 2 + 1 / effective) / ((n + 2) ** 2 + effective))
    noise = rng.standard_normal((evolution.population, n))
    steps = noise @ np.linalg.cholesky(old.covariance).T
    logs = [_logs(old.mean + old.sigma * step, tasks) for step in steps]
    losses = np.asarray([_loss(evolution, each) for each in logs])
    best = np.argsort(losses)[:count]
    path = (1 - memory) * old.path
    path += math.sqrt(memory * (2 - memory) * effective) * (weights @ noise[best])
    length = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))  # Of a random path.
    longer = np.linalg.norm(path) / length - 1
    new = Distribution(
        old.mean + old.sigma * (weights @ steps[best]),
        np.asarray(old.sigma * math.exp(memory / (1 + memory) * longer)),
        (1 - rate) * old.covariance + rate * (steps[best].T * weights) @ steps[best],
        path,
    )
    return new, losses, np.asarray(logs)


def _logs(
    mean: Float[np.ndarray, " n"], tasks: list[_Task]
) -> Float[np.ndarray, " tasks"]:
    """The logarithms of the cost of a rule over the baseline."""
    weights = RuleWeights(*map(float, mean))
    return np.asarray(
        [
            math.log(max(min(task.opening.play(weights)[1], task.least), 0.5))
            - math.log(task.baseline)
            for task in tasks
        ]
    )


def _loss(evolution: Evolution, logs: Float[np.ndarray, " tasks"]) -> float:
    return float(np.mean(logs) + evolution.caution * np.mean(np.maximum(logs, 0)))


def _batch(
    evolution: Evolution, settings: Settings, rng: np.random.Generator
) -> list[_Task]:
    """The tasks of an iteration."""
    cost, companions = settings.cost, evolution.companions
    if settings.graphs:
        return _tasks_of(settings.graphs, cost, companions)
    tasks: list[_Task] = []
    while len(tasks) < settings.batch:
        if rng.random() < evolution.share:
            number = int(rng.integers(evolution.programs))
            seed = settings.seed * 10**6 + number
            task = _program_task(seed, cost, evolution.most, companions)
        else:
            seed = settings.seed * 10**7 + int(rng.integers(10**7))
            graph = random_graph(seed, settings.smallest, settings.largest)
            task = _task(graph, cost, companions)
        tasks += [task] if task is not None else []
    return tasks


@cache
def _tasks_of(
    graphs: tuple[ComputationalGraph, ...],
    cost: AbstractCost,
    companions: tuple[RuleWeights, ...],
) -> list[_Task]:
    """The tasks of given graphs."""
    made = [_task(graph, cost, companions) for graph in graphs]
    tasks = [task for task in made if task is not None]
    if len(tasks) < len(graphs):
        raise ValueError(
            "`graphs` must have at least three intermediate vertices each, and cost "
            f"something; got {graphs}."
        )
    return tasks


@cache
def _program_task(
    seed: int, cost: AbstractCost, most: int, companions: tuple[RuleWeights, ...]
) -> _Task | None:
    """The task of a program. Two of three are under the default cost model."""
    graph = random_program(seed, scalars=seed % 4 != 0)
    if len(graph.intermediates) > most:
        return None
    return _task(graph, cost if seed % 3 == 0 else Multiplications(), companions)


def _task(
    graph: ComputationalGraph, cost: AbstractCost, companions: tuple[RuleWeights, ...]
) -> _Task | None:
    """The task of a graph, or None if there is nothing to learn from it."""
    if len(graph.intermediates) < 3:
        return None
    baseline = simple_order(graph, cost).cost
    if not baseline:
        return None
    states = space(graph, cost)
    opening = Opening(states, states.start, states.inner)
    least = min((opening.play(each)[1] for each in companions), default=math.inf)
    return _Task(opening, baseline, least)
