"""The fastest method of each measured problem: in memory and on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from .._orders.cache import OrderCache
from .._orders.store import MAX_LABEL, read_entry, Store, write_entry


VERSION = 1

_MEMORY: WeakKeyDictionary[OrderCache, Store] = WeakKeyDictionary()


def is_empty(cache: OrderCache) -> bool:
    """True if nothing is stored, so that there is no need to make a key."""
    store = _store(cache)
    return not store.memory and not (store.home and store.home.is_dir())


def winner(cache: OrderCache, key: str) -> str | None:
    """The name of the fastest method, or `None` if it was not measured.

    A file that is no such entry is ignored, as it decides on speed alone.
    """
    store = _store(cache)
    path = store.path(key, ".json")
    if key not in store.memory and path is not None:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            match read_entry(path):
                case {"version": version, "winner": str(name)}:
                    if version == VERSION and len(name) <= MAX_LABEL:
                        store.memory[key] = name
    return store.memory.get(key)


def keep(cache: OrderCache, key: str, name: str, seconds: Mapping[str, float]) -> None:
    """Stores the fastest method, with the times of all that were measured, in memory
    and in a folder beside that of the orders."""
    store = _store(cache)
    store.keep(key, name)
    path = store.path(key, ".json")
    if path is not None:
        entry = {"version": VERSION, "winner": name, "seconds": dict(seconds)}
        with contextlib.suppress(OSError):  # It is in memory.
            write_entry(path, entry)


def _store(cache: OrderCache) -> Store:
    return _MEMORY.setdefault(cache, Store(cache.folder, f"measured-v{VERSION}"))
