"""The learned rule: counts and seconds, on graphs that it was not trained on.

Random graphs are compared with the Markowitz rule. Real functions are those of
`tests/zoo`, with entries and with arrays for vertices: there the rule is compared with
the best of forward, reverse, Markowitz and minimal fill, and so is the default, which
takes the least of all.
"""

import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from eqx_cc import (
    AbstractCost,
    ComputationalGraph,
    Forward,
    Multiplications,
    Published,
)
from eqx_cc._api.explain import graph_of
from eqx_cc._orders.baseline import baseline, simple_order
from eqx_cc._orders.orderings import greedy
from eqx_cc._orders.rule.learned_rule import rule_order_and_cost
from eqx_cc._orders.state import space, total
from eqx_cc.policy import random_graph
from eqx_cc.policy._command import options


SIZES = options.SIZES | {"1,000": (1000, 1000)}
_FIRST_SEED = 10**9  # No graph of a seed from here on is trained on.
_MAX_LARGE = 10  # Graphs of 1,000 vertices.
_MIN_VERTICES, _MAX_VERTICES = 20, 3000  # Of functions.

Row = dict[str, Any]


def measure_rule(count: int) -> Iterator[Row]:
    """Rows of random graphs, so many of each size, and of real functions."""
    for size, (smallest, largest) in SIZES.items():
        for i in range(count if largest < 1000 else min(count, _MAX_LARGE)):
            graph = random_graph(_FIRST_SEED + i, smallest, largest)
            yield from _rows(size, str(i), graph, Published())
    for kind, name, graph in _functions():
        for cost in (Multiplications(), Published()):
            yield from _rows(f"{kind}, {cost.name}", name, graph, cost)


def _rows(
    group: str, name: str, graph: ComputationalGraph, cost: AbstractCost
) -> Iterator[Row]:
    """The cost of each contestant; seconds of the two that need none of the others."""
    states = space(graph, cost)
    total(states, states.start, states.inner)  # Products of patterns are computed once.
    counts = {}
    for contestant, order in {
        "Markowitz": lambda: greedy(states, states.start, states.inner),
        "learned rule": lambda: rule_order_and_cost(states)[0],
    }.items():
        vertices, seconds = _timed(order)
        counts[contestant] = total(states, states.start, vertices), seconds
    counts["best of the simple"] = simple_order(graph, cost).cost, 0.0
    counts["default"] = baseline(graph, cost).cost, 0.0
    for contestant, (count, seconds) in counts.items():
        row = {"part": "rule", "group": group, "name": name, "contestant": contestant}
        yield row | {"cost": int(count), "seconds": seconds}


def _timed(order: Callable[[], Sequence[int]]) -> tuple[Sequence[int], float]:
    """An order, and the least seconds of three runs."""
    vertices, times = order(), []
    for _ in range(3):
        started = time.perf_counter()
        order()
        times.append(time.perf_counter() - started)
    return vertices, min(times)


def _functions() -> Iterator[tuple[str, str, ComputationalGraph]]:
    """The graphs of the zoo that are large enough to differ, by kind and name."""
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))
    from zoo import ZOO  # pyright: ignore

    for name, case in ZOO.items():
        for kind in ("scalar", "array"):
            graph = _graph(case, kind)
            if graph is None:
                continue
            if _MIN_VERTICES <= len(graph.intermediates) <= _MAX_VERTICES:
                yield f"{kind}s", name, graph


def _graph(case: Any, kind: Any) -> ComputationalGraph | None:
    """The graph of a function, or None if it has no graph of this kind."""
    fun, point = case.build()
    arrays = jax.tree.map(
        lambda x: jax.numpy.asarray(x) if isinstance(x, np.ndarray) else x, point
    )
    try:
        return graph_of(fun, (arrays,), {}, Forward(), kind)
    except (ValueError, TypeError, NotImplementedError):
        return None  # It has loops, or is not differentiable in forward mode.
