"""Expert iteration: a policy learns the choices of annealing, in states it gets to."""

from __future__ import annotations

import pathlib
import random
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._graph.graph import ComputationalGraph
from ..._orders.cost import AbstractCost, Multiplications
from .._game.policy import AbstractPolicy
from .agent import entropies, log_probabilities, Losses
from .lessons import Lesson, Teacher
from .random_functions import random_structured_graph
from .random_graphs import random_graph
from .train import gradient_step, Metrics, Settings, sharded, Training


class Imitation(NamedTuple):
    r"""Expert iteration: in half of the games the policy makes some of the moves, and
    annealing completes them. In each state of the completed order, each vertex has a
    regret $r_v$: the extra cost of the whole if it were eliminated next. The policy
    $\pi$ is trained to make $-\log \sum_v \pi_v e^{-r_v / \tau}$ small: to choose among
    the moves without regret.

    **Arguments:**

    - `structured`: the share of graphs that are those of random functions of arrays.
    - `moves`: moves of annealing, for each vertex.
    - `most`: the largest number of states of a graph to learn from.
    - `tolerance`: $\tau$, in units of the cost of greedy Markowitz.
    - `steps`, `parts`: of the optimiser in an iteration, and lessons in each.
    - `memory`: number of iterations whose lessons are used again.
    - `value`: the weight of the loss of the value.

    !!! Example

        ```python
        imitation = eqx_cc.policy.Imitation(structured=0.0)
        ```

    ??? cite "References"

        S. Ross and J. A. Bagnell, *Reinforcement and Imitation Learning via Interactive
        No-Regret Learning*, arXiv:1406.5979, 2014.

        T. Anthony, Z. Tian and D. Barber, *Thinking Fast and Slow with Deep Learning
        and Tree Search*, Advances in Neural Information Processing Systems 30, 2017.
    """

    structured: float = 0.125
    moves: int = 50
    most: int = 16
    tolerance: float = 0.002
    steps: int = 48
    parts: int = 64
    memory: int = 64
    value: float = 1.0

    def loss(
        self, policy: AbstractPolicy, lessons: Lesson
    ) -> tuple[Float[Array, ""], Losses]:
        """The loss of a policy on a batch of lessons."""

        def losses_of(lesson):
            logits, value = policy(*lesson.situation)
            logs = log_probabilities(logits)
            least = jnp.min(lesson.regrets)
            excess = (lesson.regrets - least) / self.tolerance
            good = jax.nn.logsumexp(logs - jnp.minimum(excess, 1e9))
            return -good, (value + lesson.to_go) ** 2, entropies(logits)

        losses = Losses(*(jnp.mean(x) for x in jax.vmap(losses_of)(lessons)))
        return losses.policy + self.value * losses.value, losses


def imitate(
    imitation: Imitation,
    training: Training,
    settings: Settings,
    folder: pathlib.Path | None = None,
) -> Iterator[tuple[Training, Metrics]]:
    """Trains without end. If a folder is given then lessons are stored in it, and
    training continues after an interruption as if there had been none. The metric
    `ratio` is the cost of the annealed games.

    **Arguments:**

    - `imitation`: an [`eqx_cc.policy.Imitation`][].
    - `training`, `settings`: as for [`eqx_cc.policy.train`][].
    - `folder`: the folder for lessons, or `None`.

    **Returns:** an iterator, as [`eqx_cc.policy.train`][].

    !!! Example

        ```python
        policy = eqx_cc.policy.Markowitz()
        settings = eqx_cc.policy.Settings(batch=4, largest=12)
        training = eqx_cc.policy.start(policy, settings)
        iterations = eqx_cc.policy.imitate(
            eqx_cc.policy.Imitation(), training, settings
        )
        ```
    """
    memory = _remembered(imitation, int(training.iteration), folder)
    while True:
        started, iteration = time.monotonic(), int(training.iteration)
        lessons, ratio, least = _lessons(
            imitation, training.policy, settings, iteration
        )
        memory = [*memory, lessons][-imitation.memory :]
        if folder is not None:
            _write(folder / "lessons" / f"{iteration}.npz", lessons)
        training, losses = learn(imitation, training, settings, memory)
        seconds = time.monotonic() - started
        least = least if len(settings.graphs) == 1 else np.nan
        yield training, Metrics(iteration + 1, seconds, ratio, *losses, least=least)


def remove_lessons(folder: pathlib.Path, before: int) -> None:
    """Removes lessons of iterations that no checkpoint needs any more."""
    for path in (folder / "lessons").glob("*.npz"):
        if int(path.stem) < before:
            path.unlink()


def _remembered(
    imitation: Imitation, done: int, folder: pathlib.Path | None
) -> list[dict[int, Lesson]]:
    """The lessons of the last iterations."""
    if folder is None:
        return []
    (folder / "lessons").mkdir(parents=True, exist_ok=True)
    numbers = range(max(done - imitation.memory, 0), done)
    return [_read(folder / "lessons" / f"{i}.npz") for i in numbers]


def _graph(
    imitation: Imitation, settings: Settings, iteration: int, i: int
) -> tuple[ComputationalGraph, AbstractCost]:
    """A graph of an iteration, and its cost model. A training run has no random graph
    twice; half of the structured graphs are counted by the true multiplications."""
    place = iteration * settings.batch + i
    if settings.graphs:
        return settings.graphs[place % len(settings.graphs)], settings.cost
    seed = settings.seed * 10**7 + place
    bounds = settings.smallest, settings.largest
    if i < round(imitation.structured * settings.batch):
        graph = random_structured_graph(seed, bounds[0], min(bounds[1], 80))
        return graph, Multiplications() if i % 2 else settings.cost
    return random_graph(seed, *bounds), settings.cost


def _lessons(
    imitation: Imitation, policy: AbstractPolicy, settings: Settings, iteration: int
) -> tuple[dict[int, Lesson], float, int]:
    """The lessons of an iteration, by the sizes to which they are padded; the mean of
    the ratios; and the least cost."""
    rng = random.Random(f"{settings.seed} {iteration}")
    key = jr.fold_in(jr.key(settings.seed), iteration)
    count = iter(range(10**9))

    def choose(game, state):
        return int(_chosen(policy, game, state, jr.fold_in(key, next(count))))

    lessons: list[Lesson] = []
    ratios, costs = [], []
    for i in range(settings.batch):
        graph, cost = _graph(imitation, settings, iteration, i)
        teacher = Teacher(imitation.moves, imitation.most, cost)
        new, ratio, total = teacher.lessons(graph, choose, rng)
        ratios.append(ratio)
        costs.append(total)
        lessons += new
    return stack_lessons(lessons), float(np.mean(ratios)), min(costs)


def stack_lessons(lessons: list[Lesson]) -> dict[int, Lesson]:
    """Lessons by the sizes to which they are padded."""
    sizes = {len(lesson.costs) for lesson in lessons}
    return {
        size: Lesson(*map(np.stack, zip(*(x for x in lessons if len(x.costs) == size))))
        for size in sorted(sizes)
    }


@eqx.filter_jit
def _chosen(policy: AbstractPolicy, game: Any, state: Any, key: PRNGKeyArray) -> Any:
    return jr.categorical(key, policy(game, state)[0])


def learn(
    imitation: Imitation, training: Training, settings: Settings, memory: Any
) -> tuple[Training, list[float]]:
    """Takes some steps of the optimiser, each with lessons of one size."""
    rng = np.random.default_rng([settings.seed, int(training.iteration)])
    sizes = sorted({size for lessons in memory for size in lessons})
    blocks = {size: [x[size] for x in memory if size in x] for size in sizes}
    counts = np.array([sum(len(x.costs) for x in blocks[size]) for size in sizes])
    history = []
    shares = counts / counts.sum() if sizes else None
    for size in rng.choice(sizes, imitation.steps if sizes else 0, p=shares):
        # Less of what is large, as it takes so much longer.
        count = max(8, min(imitation.parts, imitation.parts * 48 // int(size)))
        part, turn = _drawn(blocks[int(size)], count, rng), rng.random(count) < 0.5
        part, turn = sharded((part, turn))
        training, losses = _step(imitation, training, settings, part, turn)
        history.append(losses)
    new = eqx.tree_at(lambda t: t.iteration, training, training.iteration + 1)
    return new, np.mean(jax.device_get(history), 0).tolist() if history else [0.0] * 3


def _drawn(blocks: list[Lesson], count: int, rng: np.random.Generator) -> Lesson:
    """Some lessons at random."""
    ends = np.cumsum([len(block.costs) for block in blocks])
    chosen = []
    for i in rng.integers(ends[-1], size=count):
        block = int(np.searchsorted(ends, i, "right"))
        row = i - ends[block]
        chosen.append([leaf[row] for leaf in blocks[block]])
    return Lesson(*map(np.stack, zip(*chosen)))


@eqx.filter_jit
def _step(
    imitation: Imitation,
    training: Training,
    settings: Settings,
    part: Lesson,
    turn: Any,
) -> tuple[Training, Losses]:
    def turned(lesson, turn):
        return jax.tree.map(
            lambda x, y: jnp.where(turn, x, y), lesson.transposed, lesson
        )

    part = jax.vmap(turned)(part, turn)
    loss = lambda policy: imitation.loss(policy, part)  # noqa: E731
    return gradient_step(training, loss, settings)


def _write(path: pathlib.Path, lessons: dict[int, Lesson]) -> None:
    arrays = {
        f"{size}_{name}": array
        for size, block in lessons.items()
        for name, array in block._asdict().items()
    }
    np.savez_compressed(path, **arrays)


def _read(path: pathlib.Path) -> dict[int, Lesson]:
    with np.load(path) as stored:
        sizes = sorted({int(name.split("_")[0]) for name in stored})
        return {
            size: Lesson(*(stored[f"{size}_{name}"] for name in Lesson._fields))
            for size in sizes
        }
