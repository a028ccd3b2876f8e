"""Orders that were found before: in memory, on disk, and in the package."""

from __future__ import annotations

import contextlib
import functools as ft
import hashlib
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from ._cost import AbstractCost, as_cost
from ._graph import ComputationalGraph
from ._order import Order
from ._search import order_cost


VERSION = 1  # Of what is stored. Other versions lie in other folders.

_MOST_BYTES = 1 << 22
_NAME = re.compile(r"([0-9]{1,18})\.json")


class OrderCache:
    """Elimination orders by graph and cost model.

    They are looked up in memory, then in a folder, then in the library that comes with
    the package. Vertices are stored by their rank, so that graphs of equal structure
    share an order. A better order takes the place of a worse one, never the other way
    round, whichever process comes first.

    Whatever is read is checked, and its cost is computed anew: a stale, damaged or
    hostile file can cost speed, but cannot change a Jacobian. It is reported once, and
    removed. (What it says of the lower bound is believed.)

    **Arguments:**

    - `folder`: where orders are stored, made when it is needed; `None` for memory only.

    !!! Example

        ```python
        cache = eqx_cc.OrderCache("orders")
        cache.put(graph, eqx_cc.Annealing(seconds=5).search(graph))
        cache.get(graph).cost
        ```
    """

    # The layout is `<folder>/v1/<key>/<cost>.json`, each file written under another
    # name and then renamed. As the cost is in the name, no process can put a worse
    # order in the place of a better one, and none needs a lock.

    def __init__(self, folder: str | os.PathLike[str] | None = None):
        self.folder = None if folder is None else Path(folder).expanduser()
        self._memory: dict[tuple[str, str], Any] = {}
        self._reported: set[str] = set()

    def get(
        self, graph: ComputationalGraph, cost: str | AbstractCost = "multiplications"
    ) -> Order | None:
        """**Arguments:**

        - `graph`: a [`eqx_cc.ComputationalGraph`][].
        - `cost`: the cost model, or its name.

        **Returns:** the [`eqx_cc.Order`][] of least cost that is known for a graph of
        this structure, or `None`.
        """
        cost = as_cost(cost)
        key = graph.fingerprint, cost.name
        if key in self._memory:
            return _restored(graph, cost, self._memory[key])
        found = [*self._stored(graph, cost), *_in_library(graph, cost)]
        if not found:
            return None
        best = min(found, key=lambda order: order.cost)
        self._memory[key] = _entry(graph, best)
        return best

    def put(self, graph: ComputationalGraph, order: Order) -> None:
        """Stores an order, unless a better one is known.

        **Arguments:**

        - `graph`: a [`eqx_cc.ComputationalGraph`][].
        - `order`: an [`eqx_cc.Order`][] of its intermediates.
        """
        known = self.get(graph, order.cost_model)
        if known is None or _rank(order) < _rank(known):
            self._memory[graph.fingerprint, order.cost_model] = _entry(graph, order)
            self._store(graph, order)

    #
    # On disk
    #

    def _place(self, graph: ComputationalGraph, cost_model: str) -> Path | None:
        if self.folder is None:
            return None
        key = hashlib.sha256(f"{graph.fingerprint} {cost_model}".encode()).hexdigest()
        return self.folder / f"v{VERSION}" / key

    def _stored(self, graph: ComputationalGraph, cost: AbstractCost) -> Iterator[Order]:
        """The cheapest order of the folder that is what it claims to be."""
        place = self._place(graph, cost.name)
        for claimed, path in self._files(place):
            try:
                order = _restored(graph, cost, _read(path))
                if order.cost != claimed:
                    raise ValueError(f"it costs {order.cost}")
            except FileNotFoundError:  # Another process had a better one.
                continue
            except (OSError, ValueError, RecursionError) as error:
                self._report(path, f"holds no order of this graph ({error}): removed")
                with contextlib.suppress(OSError):
                    path.unlink()
            else:
                yield order
                return

    def _files(self, place: Path | None) -> list[tuple[int, Path]]:
        """The files of a folder by the costs that they claim, the lowest first."""
        if place is None:
            return []
        try:
            entries = list(os.scandir(place))
        except FileNotFoundError:
            return []
        except OSError as error:
            self._report(place, f"cannot be read ({error})")
            return []
        matches = [(_NAME.fullmatch(entry.name), Path(entry.path)) for entry in entries]
        return sorted((int(m[1]), path) for m, path in matches if m)

    def _store(self, graph: ComputationalGraph, order: Order) -> None:
        place = self._place(graph, order.cost_model)
        if place is None:
            return
        try:
            place.mkdir(parents=True, exist_ok=True)
            _write(place / f"{order.cost}.json", _entry(graph, order))
        except OSError as error:
            self._report(self.folder, f"cannot be written ({error})")
            return
        for cost, path in self._files(place):
            if cost > order.cost:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _report(self, path: Path | None, what: str) -> None:
        if str(path) not in self._reported:
            self._reported.add(str(path))
            warnings.warn(f"The order cache: {path} {what}.", stacklevel=2)


def _rank(order: Order) -> tuple[int, int]:
    """Lower for a better order: cheaper, or as cheap with more proved."""
    return order.cost, -order.lower_bound


#
# Entries
#


def _entry(graph: ComputationalGraph, order: Order) -> dict[str, Any]:
    """An order as plain data, its vertices by their rank among the intermediates."""
    rank = {vertex: i for i, vertex in enumerate(graph.intermediates)}
    return {
        "version": VERSION,
        "cost_model": order.cost_model,
        "cost": order.cost,
        "lower_bound": order.lower_bound,
        "seconds": order.seconds,
        "found_by": order.found_by,
        "order": [rank[vertex] for vertex in order],
    }


def _restored(graph: ComputationalGraph, cost: AbstractCost, entry: Any) -> Order:
    """The order of an entry; raises a `ValueError` if it has none of this graph."""
    vertices = graph.intermediates
    try:
        ranks, found_by = entry["order"], str(entry["found_by"])
        bound, seconds = int(entry["lower_bound"]), float(entry["seconds"])
        if [type(i) for i in ranks] != [int] * len(ranks):
            raise ValueError("vertices that are no numbers")
        if sorted(ranks) != list(range(len(vertices))):
            raise ValueError("no permutation of the vertices")
    except (KeyError, TypeError) as error:
        raise ValueError("no order") from error
    order = tuple(vertices[i] for i in ranks)
    true = order_cost(graph, order, cost)
    return Order(
        order,
        cost=true,
        cost_model=cost.name,
        found_by=found_by,
        lower_bound=min(bound, true),
        seconds=seconds,
    )


def _read(path: Path) -> Any:
    # Neither a link nor a pipe, of which reading might never end.
    if path.is_symlink() or not path.is_file():
        if not path.exists():
            raise FileNotFoundError(path)
        raise ValueError("not a file")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError("too long")
    return json.loads(path.read_bytes())


def _write(path: Path, entry: dict[str, Any]) -> None:
    """All of the file or none of it, however many processes write it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(entry, file)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


#
# The library, and the folder of the user
#


@ft.cache
def _library() -> dict[str, Any]:
    file = resources.files("eqx_cc") / "_library.json"
    return json.loads(file.read_text(encoding="ascii"))["orders"]


def _in_library(graph: ComputationalGraph, cost: AbstractCost) -> Iterator[Order]:
    entry = _library().get(f"{graph.fingerprint} {cost.name}")
    if entry is not None:
        with contextlib.suppress(ValueError):
            order = _restored(graph, cost, entry)
            order.found_by += " (library of the package)"
            yield order


def default_cache() -> OrderCache:
    """The cache of `filter_jacobian` and its like.

    Its folder is that of the environment variable `EQX_CC_CACHE`; orders are kept in
    memory alone if that is empty or `off`. If it is not set, then it is `eqx_cc` in the
    user's folder for caches.
    """
    folder = os.environ.get("EQX_CC_CACHE", _user_folder())
    return _cache_in(None if folder.lower() in ("", "off") else folder)


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
    folder = os.path.expanduser(folder)
    # A user without a home has no folder either.
    return "off" if folder.startswith("~") else os.path.join(folder, "eqx_cc")
