"""Makes the library of orders that comes with the package.

It must be run when the graphs of the tasks or of the examples change:

    python -m benchmarks.library [--seconds 20] [--again]

This searches the graphs of all tasks, of the published ones and of the examples, loops
and branches included, in 32 and in 64 bits, and adds missing orders to
`eqx_cc/_orders/library.json`. With `--again` all graphs are searched anew, and the
better orders are kept. An order that the default finds as well is not added. Releases
of JAX trace different graphs, so run it under the oldest release, the newest, and any
between them that differs.
"""

import argparse
import contextlib
import io
import json
import pathlib
import runpy
import sys
from collections.abc import Iterator

import eqx_cc
import jax
from eqx_cc import (
    AbstractSearch,
    Annealing,
    Automatic,
    ComputationalGraph,
    Exact,
    Order,
)
from eqx_cc._orders.baseline import baseline
from eqx_cc._orders.cache import entry_key, entry_of, VERSION

from .cases.tasks import TASKS
from .orders import certificate, published_graph, PUBLISHED_GRAPHS


ROOT = pathlib.Path(__file__).parents[1]
LIBRARY = ROOT / "eqx_cc" / "_orders" / "library.json"
ORIGIN = ", in the library of the package"


def _of_tasks() -> Iterator[ComputationalGraph]:
    for bits in (32, 64):
        jax.config.update("jax_enable_x64", bits == 64)
        for task in TASKS.values():
            yield task.graph


def _of_examples() -> list[ComputationalGraph]:
    """All graphs that an order is looked up for while the examples run."""
    graphs, look_up = [], Automatic.__call__

    def recorded(self, graph):
        graphs.append(graph)
        return look_up(self, graph)

    Automatic.__call__ = recorded
    sys.path.insert(0, str(ROOT / "examples"))  # They import `_figures`.
    try:
        for example in sorted((ROOT / "examples").glob("[!_]*.py")):
            with contextlib.redirect_stdout(io.StringIO()):
                runpy.run_path(str(example), run_name="__main__")
    finally:
        Automatic.__call__ = look_up
        sys.path.pop(0)
    return graphs


def _wanted() -> dict[str, tuple[ComputationalGraph, AbstractSearch]]:
    """The graphs by their keys, with a search for each."""
    default, published = Annealing(), Annealing(cost="published")
    pairs: list[tuple[ComputationalGraph, AbstractSearch]]
    pairs = [(graph, default) for graph in (*_of_tasks(), *_of_examples())]
    pairs += [(graph, published) for graph in _of_tasks()]
    for name in sorted(PUBLISHED_GRAPHS):
        exact = Exact(cost="published", blocks=certificate(name))
        pairs.append((published_graph(name), exact))
    return {
        entry_key(graph, search.cost.name): (graph, search)
        for graph, search in pairs
        if len(graph.intermediates) > 1
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--again", action="store_true", help="search all anew")
    options = parser.parse_args()
    library = json.loads(LIBRARY.read_text())
    orders, wanted = library["orders"], _wanted()
    present = len(wanted.keys() & orders.keys())
    print(f"jax {jax.__version__}: {present} of {len(wanted)} orders are there.")
    for key, (graph, search) in wanted.items():
        if options.again or key not in orders:
            found = entry_of(graph, _searched(graph, search, options.seconds))
            best = min(orders.get(key, found), found, key=lambda entry: entry["cost"])
            if key in orders or best["cost"] < baseline(graph, search.cost).cost:
                orders[key] = best
    releases = sorted({*library["jax"], jax.__version__}, key=_numbers)
    rows = ",\n".join(f'"{key}": {json.dumps(orders[key])}' for key in sorted(orders))
    head = f'"version": {VERSION}, "jax": {json.dumps(releases)}'
    LIBRARY.write_text(f'{{{head}, "orders": {{\n{rows}\n}}}}\n')


def _searched(
    graph: ComputationalGraph, search: AbstractSearch, seconds: float
) -> Order:
    order = eqx_cc.optimise(graph, seconds=seconds, ordering=search, progress=False)
    order.found_by = order.found_by.removesuffix(ORIGIN) + ORIGIN
    print(order, flush=True)
    return order


def _numbers(release: str) -> list[int]:
    return list(map(int, release.split(".")))


if __name__ == "__main__":
    main()
