"""Training and evaluation of policies."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..._graph.graph import ComputationalGraph
from ..._orders.baseline import order_cost
from ..._orders.cost import AbstractCost, Published
from ..._orders.orderings import greedy_order
from .._game.game import EliminationGame, EliminationState, FEW_SIZES, new_games, padded
from .._game.play import rollout
from .._game.policy import AbstractPolicy
from .._search.shorten import Shortened, shortened
from .agent import AbstractAgent, Losses, parts_of
from .random_graphs import HELD_OUT_SEED, random_graph


class Settings(NamedTuple):
    """Settings of training.

    **Attributes:**

    - `batch`: the number of games that are played at once.
    - `smallest`, `largest`: see `random_graph`.
    - `rate`: the learning rate of Adam.
    - `seed`: the seed of graphs and games.
    - `cost`: the cost model.
    - `graphs`: the graphs to train on, in turn: [`eqx_cc.ComputationalGraph`][]s in
        place of random ones. With one graph, the policy becomes a specialist for it.

    !!! Example

        ```python
        settings = eqx_cc.policy.Settings(batch=4, smallest=10, largest=12)
        arm = eqx_cc.policy.task("RobotArm_6DOF").graph
        settings = eqx_cc.policy.Settings(graphs=(arm,))
        ```
    """

    batch: int = 16
    smallest: int = 10
    largest: int = 40
    rate: float = 3e-4
    seed: int = 0
    cost: AbstractCost = Published()
    graphs: tuple[ComputationalGraph, ...] = ()


class Training(eqx.Module):
    """The state of training, as a checkpoint stores it.

    **Attributes:**

    - `policy`, `optimiser`: the present policy, and the state of the optimiser.
    - `iteration`: the number of iterations so far.

    !!! Example

        ```python
        policy = eqx_cc.policy.Markowitz()
        settings = eqx_cc.policy.Settings(batch=4, largest=12)
        training = eqx_cc.policy.start(policy, settings)
        training.policy, training.iteration
        ```
    """

    policy: AbstractPolicy
    optimiser: Any
    iteration: Int[Array, ""]


class Metrics(NamedTuple):
    """Metrics of an iteration: `ratio` is the mean of the costs of its games over those
    of the Markowitz rule; `least` is the least cost of a game, if there is one graph
    alone, and else not a number."""

    iteration: int
    seconds: float
    ratio: float
    policy_loss: float
    value_loss: float
    entropy: float
    least: float = float("nan")


def start(policy: AbstractPolicy, settings: Settings) -> Training:
    """Training before the first iteration.

    **Arguments:**

    - `policy`: an [`eqx_cc.policy.AbstractPolicy`][], whose arrays are trained.
    - `settings`: an [`eqx_cc.policy.Settings`][].

    **Returns:** an [`eqx_cc.policy.Training`][].

    !!! Example

        ```python
        policy = eqx_cc.policy.Markowitz()
        settings = eqx_cc.policy.Settings(batch=4, largest=12)
        training = eqx_cc.policy.start(policy, settings)
        ```
    """
    weights = eqx.filter(policy, eqx.is_array)
    zero = jnp.zeros((), jnp.int32)
    return Training(policy, optimiser(settings).init(weights), zero)


def train(
    agent: AbstractAgent, training: Training, settings: Settings
) -> Iterator[tuple[Training, Metrics]]:
    """Trains without end. The seed and the iteration determine graphs and random
    numbers, so that training continues after an interruption as if there had been none.

    **Arguments:**

    - `agent`: an [`eqx_cc.policy.AbstractAgent`][].
    - `training`: as [`eqx_cc.policy.start`][] or [`eqx_cc.policy.resume`][] return it.
    - `settings`: an [`eqx_cc.policy.Settings`][].

    **Returns:** an iterator, with an item for each iteration: the training after it,
    and metrics, among them `ratio`, the cost of games over that of Markowitz.

    !!! Example

        ```python
        policy = eqx_cc.policy.Markowitz()
        settings = eqx_cc.policy.Settings(batch=4, largest=12)
        training = eqx_cc.policy.start(policy, settings)
        iterations = eqx_cc.policy.train(eqx_cc.policy.PPO(), training, settings)
        ```
    """
    length, size = _bounds(settings)
    plain = settings._replace(graphs=())  # What is compiled does not depend on them.
    while True:
        started, iteration = time.monotonic(), int(training.iteration)
        short = _graphs(settings, iteration)
        graphs = [s.graph for s in short]
        batch = sharded(new_games(graphs, settings.cost, size=size))
        key = jr.fold_in(jr.key(settings.seed), iteration)
        training, numbers = _iterate(agent, training, batch, key, plain, length)
        ratio, least, *losses = map(float, jax.tree.leaves(numbers))
        least = least + short[0].cost if len(settings.graphs) == 1 else math.nan
        seconds = time.monotonic() - started
        yield training, Metrics(iteration + 1, seconds, ratio, *losses, least=least)


def _graphs(settings: Settings, iteration: int) -> list[Shortened]:
    """The graphs of an iteration. A training run has no random graph twice."""
    first = iteration * settings.batch
    places = range(first, first + settings.batch)
    if settings.graphs:
        short = [_shortened(graph, settings.cost) for graph in settings.graphs]
        return [short[i % len(short)] for i in places]
    offset = settings.seed * 10**7
    assert offset + places.stop <= HELD_OUT_SEED
    bounds = settings.smallest, settings.largest
    return [Shortened((), 0, random_graph(offset + i, *bounds)) for i in places]


_shortened = lru_cache(maxsize=256)(shortened)


def _bounds(settings: Settings) -> tuple[int, int]:
    """The largest numbers of moves of a game, and of vertices of a graph: inputs,
    intermediates, and outputs, which are copies where they are used again."""
    if not settings.graphs:
        return settings.largest, round(1.8 * settings.largest) + 4
    graphs = [_shortened(graph, settings.cost).graph for graph in settings.graphs]
    moves = max(len(graph.intermediates) for graph in graphs)
    return max(moves, 1), max(padded(graph, FEW_SIZES) for graph in graphs)


def sharded(batch: Any) -> Any:
    """Splits a batch over all devices, if they divide it evenly."""
    devices = jax.devices()
    count = jax.tree.leaves(batch)[0].shape[0]
    if len(devices) == 1 or count % len(devices):
        return batch
    mesh = jax.sharding.Mesh(np.asarray(devices), ("batch",))
    axis = jax.sharding.PartitionSpec("batch")
    return jax.device_put(batch, jax.sharding.NamedSharding(mesh, axis))


def optimiser(settings: Settings) -> Any:
    import optax

    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(settings.rate))


def gradient_step(
    training: Training,
    loss: Callable[[AbstractPolicy], tuple[Float[Array, ""], Losses]],
    settings: Settings,
) -> tuple[Training, Losses]:
    """Takes a step of the optimiser. Returns the losses before it."""
    weights, rest = eqx.partition(training.policy, eqx.is_array)
    gradient = jax.grad(lambda w: loss(eqx.combine(w, rest)), has_aux=True)
    with jax.numpy_dtype_promotion("standard"):
        changes, losses = gradient(weights)
        changes, state = optimiser(settings).update(
            changes, training.optimiser, weights
        )
    policy = eqx.combine(eqx.apply_updates(weights, changes), rest)
    return Training(policy, state, training.iteration), losses


@eqx.filter_jit
def _iterate(
    agent: AbstractAgent,
    training: Training,
    batch: tuple[EliminationGame, EliminationState],
    key: PRNGKeyArray,
    settings: Settings,
    length: int,
) -> tuple[Training, Any]:
    """Plays a batch of games, and learns from them."""
    games, states = batch
    play_key, *keys = jr.split(key, agent.epochs + 1)
    ends, lesson = agent.play(training.policy, games, states, play_key, length)
    lesson = jax.lax.stop_gradient(lesson)
    arrays, static = eqx.partition(training, eqx.is_array)

    def learn(arrays, part):
        loss = lambda policy: agent.loss(policy, games, part)  # noqa: E731
        new, losses = gradient_step(eqx.combine(arrays, static), loss, settings)
        return eqx.filter(new, eqx.is_array), losses

    losses = None
    for key in keys:
        arrays, losses = jax.lax.scan(learn, arrays, parts_of(lesson, agent.parts, key))
    new = eqx.combine(arrays, static)
    new = eqx.tree_at(lambda t: t.iteration, new, new.iteration + 1)
    ratio, least = jnp.mean(ends.total / games.baseline), jnp.min(ends.total)
    return new, (ratio, least, jax.tree.map(jnp.mean, losses))


def evaluate(
    policy: AbstractPolicy,
    graphs: Sequence[ComputationalGraph],
    cost: AbstractCost = Published(),
) -> Float[np.ndarray, " graphs"]:
    """The cost of a policy's game over that of the Markowitz rule, for each graph. It
    is 0 where both are zero. As in searches, vertices that are safe to eliminate go
    first.

    **Arguments:**

    - `policy`: an [`eqx_cc.policy.AbstractPolicy`][].
    - `graphs`: a sequence of [`eqx_cc.ComputationalGraph`][]s.
    - `cost`: the cost model, an [`eqx_cc.AbstractCost`][].

    **Returns:** a NumPy array of ratios, of shape `(graphs,)`; below 1 is better than
    Markowitz.

    !!! Example

        ```python
        policy = eqx_cc.policy.Markowitz()
        eqx_cc.policy.evaluate(policy, [graph])
        ```
    """
    greedy = [order_cost(g, greedy_order(g, cost), cost) for g in graphs]
    return game_costs(policy, graphs, cost) / np.maximum(greedy, 1)


def game_costs(
    policy: AbstractPolicy, graphs: Sequence[ComputationalGraph], cost: AbstractCost
) -> Float[np.ndarray, " graphs"]:
    """The cost of a policy's game on each graph."""
    short, totals = [shortened(graph, cost) for graph in graphs], np.zeros(len(graphs))
    sizes = np.asarray([padded(s.graph, FEW_SIZES) for s in short])
    for size in np.unique(sizes):
        [members] = np.nonzero(sizes == size)
        chosen = [short[i].graph for i in members]
        ends, _ = _rollouts(policy, *new_games(chosen, cost, size=int(size)))
        totals[members] = ends.total
    return totals + [s.cost for s in short]


_rollouts = eqx.filter_jit(eqx.filter_vmap(rollout, in_axes=(None, 0, 0)))
