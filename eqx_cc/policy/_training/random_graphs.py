"""Random graphs to train on, and others to be judged by."""

from __future__ import annotations

import random
from collections.abc import Callable

from ..._graph.graph import ComputationalGraph
from .random_functions import random_structured_graph


HELD_OUT_SEED = 10**9  # Seeds from here on are those of graphs never trained on.
SMALLEST, LARGEST = 10, 300


def random_graph(
    seed: int, smallest: int = SMALLEST, largest: int = LARGEST
) -> ComputationalGraph:
    """The graph of scalars of a random program.

    Most vertices have one or two predecessors, as in programs, and some have a few
    more. Depending on the kind of program, predecessors are drawn from all earlier
    vertices, from the latest ones, or from layers. There are up to 40 percent as many
    inputs and outputs as intermediates.

    **Arguments:**

    - `seed`: the seed; those from `HELD_OUT_SEED` on are never trained on.
    - `smallest`, `largest`: bounds of the number of intermediate vertices; drawn by the
        logarithm.

    **Returns:** an [`eqx_cc.ComputationalGraph`][]; it may have fewer intermediates
    than `smallest`, where some lead to no output.

    !!! Example

        ```python
        graph = eqx_cc.policy.random_graph(seed=0, largest=20)
        graph.intermediates
        ```
    """
    rng = random.Random(seed)
    inner = round(smallest * (largest / smallest) ** rng.random())
    ends = [1 + round(rng.random() ** 2 * 0.4 * inner) for _ in range(2)]
    recent = rng.choice(_KINDS)(rng, ends[0], inner)
    unary = rng.uniform(0.1, 0.6)
    edges = []
    for vertex in range(ends[0], ends[0] + inner):
        count = 1 if rng.random() < unary else 2
        while rng.random() < 0.05:
            count += 1
        before = {recent(vertex) for _ in range(count)}
        edges += [(u, vertex) for u in sorted(before)]
    edges += _uses(rng, edges, range(ends[0], ends[0] + inner), ends[1])
    outputs = _outputs(rng, edges, range(ends[0], ends[0] + inner), ends[1])
    return ComputationalGraph.from_edges(
        ends[0] + inner, range(ends[0]), outputs, edges
    )


def held_out(
    count: int,
    smallest: int = SMALLEST,
    largest: int = LARGEST,
    structured: bool = False,
) -> list[ComputationalGraph]:
    """Graphs for tests: the first of those whose seeds are never used in training.

    **Arguments:**

    - `count`: number of graphs.
    - `smallest`, `largest`: as for [`eqx_cc.policy.random_graph`][].
    - `structured`: true for graphs of functions of arrays, not of scalars.

    **Returns:** a list of [`eqx_cc.ComputationalGraph`][]s.

    !!! Example

        ```python
        graphs = eqx_cc.policy.held_out(2, largest=12)
        eqx_cc.policy.evaluate(eqx_cc.policy.Markowitz(), graphs)
        ```
    """
    seeds = range(HELD_OUT_SEED, HELD_OUT_SEED + count)
    if structured:
        return [random_structured_graph(seed, smallest, largest) for seed in seeds]
    return [random_graph(seed, smallest, largest) for seed in seeds]


def _uses(
    rng: random.Random, edges: list[tuple[int, int]], inner: range, outputs: int
) -> list[tuple[int, int]]:
    """A use of most of the vertices that have none, the last ones excepted."""
    used = {u for u, _ in edges}
    unused = [v for v in inner[:-outputs] if v not in used and rng.random() < 0.9]
    return [(u, rng.randrange(u + 1, inner.stop)) for u in unused]


def _outputs(
    rng: random.Random, edges: list[tuple[int, int]], inner: range, count: int
) -> list[int]:
    """The vertices without a use, then others at random; the later, the likelier."""
    used = {u for u, _ in edges}
    outputs = {v for v in inner if v not in used}
    while len(outputs) < min(count, len(inner)):
        outputs.add(inner.stop - 1 - int(rng.random() ** 2 * len(inner)))
    return sorted(outputs)


def _anywhere(rng: random.Random, inputs: int, inner: int) -> Callable[[int], int]:
    return lambda vertex: rng.randrange(vertex)


def _recent(rng: random.Random, inputs: int, inner: int) -> Callable[[int], int]:
    """Mostly one of the last few, so that programs are long."""
    reach = rng.randint(2, max(3, inner // 4))
    far = rng.uniform(0.0, 0.3)

    def choose(vertex):
        least = 0 if rng.random() < far else max(0, vertex - reach)
        return rng.randrange(least, vertex)

    return choose


def _layers(rng: random.Random, inputs: int, inner: int) -> Callable[[int], int]:
    """Mostly one of the layer before, as in networks and in unrolled loops."""
    width = rng.randint(2, max(3, inner // 4))
    far = rng.uniform(0.0, 0.2)

    def choose(vertex):
        begin = inputs + (vertex - inputs) // width * width
        if begin == inputs:
            return rng.randrange(inputs)
        if rng.random() < far:
            return rng.randrange(begin)
        return rng.randrange(max(begin - width, 0), begin)

    return choose


def _reused(rng: random.Random, inputs: int, inner: int) -> Callable[[int], int]:
    """Some values are used by many, as common subexpressions are."""
    uses = list(range(inputs))

    def choose(vertex):
        uses.append(rng.choice(uses) if rng.random() < 0.6 else rng.randrange(vertex))
        return uses[-1]

    return choose


_KINDS = (_anywhere, _recent, _layers, _reused)
