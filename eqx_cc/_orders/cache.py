"""Stored elimination orders: in memory, on disk, and in the package."""

from __future__ import annotations

import contextlib
import functools as ft
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from .._graph.graph import ComputationalGraph
from .baseline import order_cost
from .cost import AbstractCost, as_cost
from .order import Order
from .orderings import check_order
from .store import MAX_LABEL, read_entry, require, Store, write_entry


VERSION = 1  # Of the stored data. Other versions have other folders.

_FILE_NAME = re.compile(r"([0-9]+)-([0-9]+)\.json")

# The cost of an order, and its distance from the lower bound. The least is the best.
_Rank = tuple[int, int]


class OrderCache:
    """Elimination orders by graph and cost model.

    Orders are looked up in memory, then in a folder, then in the library that comes
    with the package. Vertices are stored by their rank, so that graphs of equal
    structure share an order. A better order takes the place of a worse one, never the
    other way round, even with several processes.

    Every entry is checked, and its cost is computed again. A stale, damaged or
    malicious file can cost speed, but cannot change a Jacobian. It is reported once and
    removed. (A stored lower bound is trusted until a search finds a better order.)

    **Arguments:**

    - `folder`: where orders are stored, made when it is needed; `None` for memory only.

    !!! Example

        ```python
        cache = eqx_cc.OrderCache("orders")
        cache.put(graph, eqx_cc.Annealing(seconds=5).search(graph))
        cache.get(graph).cost
        ```
    """

    # The layout is `<folder>/v1/<key>/<cost>-<cost above the lower bound>.json`. As the
    # rank is in the name, no process can put a worse order in the place of a better
    # one, and none needs a lock.

    def __init__(self, folder: str | os.PathLike[str] | None = None):
        self.folder = None if folder is None else Path(folder).expanduser()
        self._store = Store(self.folder, f"v{VERSION}")

    def get(
        self, graph: ComputationalGraph, cost: str | AbstractCost = "multiplications"
    ) -> Order | None:
        """**Arguments:**

        - `graph`: a [`eqx_cc.ComputationalGraph`][].
        - `cost`: the cost model, or its name.

        **Returns:** the stored [`eqx_cc.Order`][] of least cost for a graph of this
        structure, or `None`.
        """
        cost = as_cost(cost)
        key, memory = entry_key(graph, cost.name), self._store.memory
        if key in memory:
            with contextlib.suppress(ValueError):  # Another model of the same name.
                return _order_of(graph, cost, memory[key])
        candidates = [*self._on_disk(graph, cost), *_in_library(graph, cost)]
        if not candidates:
            return None
        best = min(candidates, key=_rank)
        memory[key] = entry_of(graph, best)
        return best

    def put(
        self,
        graph: ComputationalGraph,
        order: Order,
        cost: AbstractCost | None = None,
    ) -> None:
        """Stores an order, unless a better one is stored.

        **Arguments:**

        - `graph`: a [`eqx_cc.ComputationalGraph`][].
        - `order`: an [`eqx_cc.Order`][] of its intermediates. Raises a `ValueError` if
            its attributes are wrong for this graph.
        - `cost`: the cost model of the order, if it is not one of those with a name.
        """
        cost = as_cost(order.cost_model if cost is None else cost)
        check_order(graph, order)
        try:
            order = _order_of(graph, cost, entry_of(graph, order))
        except ValueError as error:
            raise ValueError(
                "`order` must have the attributes of this graph under the cost model "
                f"{cost.name}; got {order!r}: {error}."
            ) from error
        stored = self.get(graph, cost)
        if stored is None or _rank(order) < _rank(stored):
            self._store.keep(entry_key(graph, cost.name), entry_of(graph, order))
            self._write(graph, order)

    #
    # Files
    #

    def _on_disk(
        self, graph: ComputationalGraph, cost: AbstractCost
    ) -> Iterator[Order]:
        """The best valid order of the folder, if there is one."""
        for rank, path in self._files(self._store.path(entry_key(graph, cost.name))):
            try:
                order = _order_of(graph, cost, read_entry(path))
                require(_rank(order) == rank, "its name has another rank")
            except FileNotFoundError:  # Another process had a better one.
                continue
            except OSError as error:  # It may be valid: it stays.
                self._store.report(path, f"cannot be read ({error})")
            except (ValueError, RecursionError) as error:
                self._store.discard(path, f"holds no order of this graph ({error})")
            else:
                yield order
                return

    def _files(self, directory: Path | None) -> list[tuple[_Rank, Path]]:
        """The files of a key with the ranks in their names, the best first."""
        if directory is None:
            return []
        try:
            if not stat.S_ISDIR(directory.lstat().st_mode):
                self._store.discard(directory, "is no folder")
                return []
            entries = list(os.scandir(directory))
        except FileNotFoundError:
            return []
        except OSError as error:
            self._store.report(self.folder, f"cannot be read ({error})")
            return []
        names = [(_FILE_NAME.fullmatch(entry.name), entry.path) for entry in entries]
        return sorted(((int(m[1]), int(m[2])), Path(path)) for m, path in names if m)

    def _write(self, graph: ComputationalGraph, order: Order) -> None:
        """Writes an order to disk, and removes those that are worse."""
        directory = self._store.path(entry_key(graph, order.cost_model))
        if directory is None:
            return
        rank = _rank(order)
        try:
            write_entry(directory / f"{rank[0]}-{rank[1]}.json", entry_of(graph, order))
        except OSError as error:
            self._store.report(self.folder, f"cannot be written ({error})")
            return
        for other, path in self._files(directory):
            if other > rank:
                with contextlib.suppress(OSError):
                    path.unlink()


def _rank(order: Order) -> _Rank:
    return order.cost, order.cost - order.lower_bound


#
# Entries
#


def entry_key(graph: ComputationalGraph, cost_model: str) -> str:
    """The key of an order, in memory, on disk and in the library."""
    return f"{graph.fingerprint} {cost_model}"


def entry_of(graph: ComputationalGraph, order: Order) -> dict[str, Any]:
    """An order as plain data, its vertices by their rank among the intermediates."""
    rank = {vertex: i for i, vertex in enumerate(graph.intermediates)}
    return {
        "version": VERSION,
        "cost_model": order.cost_model,
        "cost": int(order.cost),  # A user's model may return a NumPy integer.
        "lower_bound": int(order.lower_bound),
        "seconds": order.seconds,
        "found_by": order.found_by,
        "order": [rank[vertex] for vertex in order],
    }


def _order_of(graph: ComputationalGraph, cost: AbstractCost, entry: Any) -> Order:
    """The order of an entry. Raises a `ValueError` if it is not one of this graph."""
    try:
        version, ranks = entry["version"], entry["order"]
        fields = {key: entry[key] for key in _CHECKS}
    except (KeyError, TypeError) as error:
        raise ValueError("no order") from error
    require(version == VERSION, "of another version")
    # The exact types: `True` is an integer, too.
    require(type(ranks) is list, "no list of vertices")
    require({type(i) for i in ranks} <= {int}, "vertices that are no numbers")
    vertices = graph.intermediates
    require(sorted(ranks) == list(range(len(vertices))), "no permutation")
    for key, (is_valid, problem) in _CHECKS.items():
        require(is_valid(fields[key]), problem)
    order = tuple(vertices[i] for i in ranks)
    total, bound = order_cost(graph, order, cost), fields["lower_bound"]
    require(fields["cost"] == total, f"it costs {total}")
    require(0 <= bound <= total, f"it costs {total}, and its lower bound is not so")
    fields["seconds"] = float(fields["seconds"])
    return Order(order, cost_model=cost.name, **fields)


def _is_label(text: Any) -> bool:
    return type(text) is str and len(text) <= MAX_LABEL and text.isprintable()


def _is_time(seconds: Any) -> bool:  # NaN is none.
    return type(seconds) in (int, float) and 0 <= seconds <= sys.float_info.max


def _is_integer(value: Any) -> bool:
    return type(value) is int


_CHECKS = {
    "found_by": (_is_label, "no origin, or one that cannot be printed"),
    "seconds": (_is_time, "no time"),
    "cost": (_is_integer, "no cost"),
    "lower_bound": (_is_integer, "no lower bound"),
}


#
# The library, and the folder of the user
#


@ft.cache
def _library() -> dict[str, Any]:
    file = resources.files("eqx_cc") / "_orders" / "library.json"
    return json.loads(file.read_text(encoding="ascii"))["orders"]


def _in_library(graph: ComputationalGraph, cost: AbstractCost) -> Iterator[Order]:
    entry = _library().get(entry_key(graph, cost.name))
    if entry is not None:
        with contextlib.suppress(ValueError):
            yield _order_of(graph, cost, entry)


def default_cache() -> OrderCache:
    """The cache of `filter_jacobian` and its like.

    The environment variable `EQX_CC_CACHE` names its folder; empty or `off` is for
    memory only. The default is `eqx_cc` in the user's folder for caches.
    """
    folder = os.path.expanduser(os.environ.get("EQX_CC_CACHE", _user_folder()))
    # A user without a home has no folder either.
    off = folder.lower() in ("", "off") or folder.startswith("~")
    return _cache_in(None if off else folder)


@ft.cache
def _cache_in(folder: str | None) -> OrderCache:
    return OrderCache(folder)


def _user_folder() -> str:
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        folder = "~/Library/Caches"
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return os.path.join(folder, "eqx_cc")
