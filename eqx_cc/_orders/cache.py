"""Orders that were found before: in memory, on disk, and in the package."""

from __future__ import annotations

import contextlib
import functools as ft
import hashlib
import json
import os
import re
import secrets
import stat
import sys
import warnings
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from .._graph.graph import ComputationalGraph
from .cost import AbstractCost, as_cost
from .order import Order
from .orderings import check_order
from .search.base import order_cost


VERSION = 1  # Of what is stored. Other versions lie in other folders.

_MOST_BYTES = 1 << 22
_LONGEST = 200  # Characters that say how an order was found.
_NAME = re.compile(r"([0-9]+)-([0-9]+)\.json")

# The cost of an order, and how far it is above the lower bound: lower for a better one.
_Rank = tuple[int, int]


class OrderCache:
    """Elimination orders by graph and cost model.

    They are looked up in memory, then in a folder, then in the library that comes with
    the package. Vertices are stored by their rank, so that graphs of equal structure
    share an order. A better order takes the place of a worse one, never the other way
    round, whichever process comes first.

    Whatever is read is checked, and its cost is computed anew: a stale, damaged or
    hostile file can cost speed, but cannot change a Jacobian. It is reported once, and
    removed. (A lower bound that is not above the cost is believed until a search finds
    a better order.)

    **Arguments:**

    - `folder`: where orders are stored, made when it is needed; `None` for memory only.

    !!! Example

        ```python
        cache = eqx_cc.OrderCache("orders")
        cache.put(graph, eqx_cc.Annealing(seconds=5).search(graph))
        cache.get(graph).cost
        ```
    """

    # The layout is `<folder>/v1/<key>/<cost>-<cost above the lower bound>.json`, each
    # file written under another name and then renamed. As the rank is in the name, no
    # process can put a worse order in the place of a better one, and none needs a lock.

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
            with contextlib.suppress(ValueError):  # Another model of the same name.
                return _restored(graph, cost, self._memory[key])
        found = [*self._stored(graph, cost), *_in_library(graph, cost)]
        if not found:
            return None
        best = min(found, key=_rank)
        self._memory[key] = _entry(graph, best)
        return best

    def put(
        self,
        graph: ComputationalGraph,
        order: Order,
        cost: AbstractCost | None = None,
    ) -> None:
        """Stores an order, unless a better one is known.

        **Arguments:**

        - `graph`: a [`eqx_cc.ComputationalGraph`][].
        - `order`: an [`eqx_cc.Order`][] of its intermediates. Raises a `ValueError` if
            it does not cost there what it says.
        - `cost`: the cost model of the order, if it is not one of those with a name.
        """
        cost = as_cost(order.cost_model if cost is None else cost)
        check_order(graph, order)
        try:
            order = _restored(graph, cost, _entry(graph, order))
        except ValueError as error:
            raise ValueError(
                "`order` must say of itself what is true of it under the cost model "
                f"{cost.name}; got {order!r}: {error}."
            ) from error
        known = self.get(graph, cost)
        if known is None or _rank(order) < _rank(known):
            self._memory[graph.fingerprint, cost.name] = _entry(graph, order)
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
        """The best order of the folder that is what it claims to be."""
        place = self._place(graph, cost.name)
        for claimed, path in self._files(place):
            try:
                order = _restored(graph, cost, read_entry(path))
                _require(_rank(order) == claimed, "its name is not its own")
            except FileNotFoundError:  # Another process had a better one.
                continue
            except OSError as error:  # It may well be sound: it stays.
                self._report(path, f"cannot be read ({error})")
            except (ValueError, RecursionError) as error:
                self._discard(path, f"holds no order of this graph ({error})")
            else:
                yield order
                return

    def _files(self, place: Path | None) -> list[tuple[_Rank, Path]]:
        """The files of a folder by the ranks that they claim, the best first."""
        if place is None:
            return []
        try:
            if not stat.S_ISDIR(place.lstat().st_mode):
                self._discard(place, "is no folder")
                return []
            entries = list(os.scandir(place))
        except FileNotFoundError:
            return []
        except OSError as error:
            self._report(self.folder, f"cannot be read ({error})")
            return []
        matches = [(_NAME.fullmatch(entry.name), Path(entry.path)) for entry in entries]
        return sorted(((int(m[1]), int(m[2])), path) for m, path in matches if m)

    def _store(self, graph: ComputationalGraph, order: Order) -> None:
        place = self._place(graph, order.cost_model)
        if place is None:
            return
        rank = _rank(order)
        try:
            place.mkdir(parents=True, exist_ok=True)
            write_entry(place / f"{rank[0]}-{rank[1]}.json", _entry(graph, order))
        except OSError as error:
            self._report(self.folder, f"cannot be written ({error})")
            return
        for other, path in self._files(place):
            if other > rank:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _discard(self, path: Path, what: str) -> None:
        for remove in (path.unlink, path.rmdir):  # Never a folder that holds something.
            with contextlib.suppress(OSError):
                remove()
        self._report(path, what)

    def _report(self, path: Path | None, what: str) -> None:
        if str(path) not in self._reported:
            self._reported.add(str(path))
            warnings.warn(f"The order cache: {path} {what}.", stacklevel=2)


def _rank(order: Order) -> _Rank:
    return order.cost, order.cost - order.lower_bound


#
# Entries
#


def _entry(graph: ComputationalGraph, order: Order) -> dict[str, Any]:
    """An order as plain data, its vertices by their rank among the intermediates."""
    rank = {vertex: i for i, vertex in enumerate(graph.intermediates)}
    return {
        "version": VERSION,
        "cost_model": order.cost_model,
        "cost": int(order.cost),  # That of a user's model may be of NumPy.
        "lower_bound": int(order.lower_bound),
        "seconds": order.seconds,
        "found_by": order.found_by,
        "order": [rank[vertex] for vertex in order],
    }


def _restored(graph: ComputationalGraph, cost: AbstractCost, entry: Any) -> Order:
    """The order of an entry; raises a `ValueError` if it has none of this graph."""
    vertices = graph.intermediates
    try:
        version, ranks, found_by = entry["version"], entry["order"], entry["found_by"]
        claimed, bound = entry["cost"], entry["lower_bound"]
        seconds = entry["seconds"]
    except (KeyError, TypeError) as error:
        raise ValueError("no order") from error
    _require(version == VERSION, "of another version")
    # The exact types: `True` is an integer, too.
    _require(type(ranks) is list, "no list of vertices")
    _require({type(i) for i in ranks} <= {int}, "vertices that are no numbers")
    _require(sorted(ranks) == list(range(len(vertices))), "no permutation")
    _require(type(found_by) is str and len(found_by) <= _LONGEST, "no origin")
    _require(found_by.isprintable(), "an origin that cannot be printed")
    _require(type(seconds) in (int, float), "no time")
    _require(0 <= seconds <= sys.float_info.max, "no time")  # Nor is NaN one.
    _require(type(claimed) is type(bound) is int, "no cost")
    order = tuple(vertices[i] for i in ranks)
    true = order_cost(graph, order, cost)
    _require(claimed == true, f"it costs {true}")
    _require(0 <= bound <= true, f"it costs {true}, and its lower bound is not so")
    return Order(
        order,
        cost=claimed,
        cost_model=cost.name,
        found_by=found_by,
        lower_bound=bound,
        seconds=float(seconds),
    )


def _require(truth: bool, what: str) -> None:
    if not truth:
        raise ValueError(what)


def read_entry(path: Path) -> Any:
    """The plain data of a file."""
    # Neither a link nor a pipe, of which reading might never end.
    status = path.lstat()
    _require(stat.S_ISREG(status.st_mode), "not a file")
    _require(status.st_size <= _MOST_BYTES, "too long")
    return json.loads(path.read_bytes())


def write_entry(path: Path, entry: dict[str, Any]) -> None:
    """All of the file or none of it, however many processes write it."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        # Not `tempfile`, whose files nobody else may read: a group may share a folder.
        with open(part, "x", encoding="ascii") as file:
            json.dump(entry, file)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


#
# The library, and the folder of the user
#


@ft.cache
def _library() -> dict[str, Any]:
    file = resources.files("eqx_cc") / "_orders" / "library.json"
    return json.loads(file.read_text(encoding="ascii"))["orders"]


def _in_library(graph: ComputationalGraph, cost: AbstractCost) -> Iterator[Order]:
    entry = _library().get(f"{graph.fingerprint} {cost.name}")
    if entry is not None:
        with contextlib.suppress(ValueError):
            yield _restored(graph, cost, entry)


def default_cache() -> OrderCache:
    """The cache of `filter_jacobian` and its like.

    Its folder is that of the environment variable `EQX_CC_CACHE`; orders are kept in
    memory alone if that is empty or `off`. If it is not set, then it is `eqx_cc` in the
    user's folder for caches.
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
