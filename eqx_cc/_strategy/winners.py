"""What was fastest when it was measured: in memory and on disk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from .._orders.cache import OrderCache, read_entry, write_entry


VERSION = 1

_LONGEST = 200
_MEMORY: WeakKeyDictionary[OrderCache, dict[str, str]] = WeakKeyDictionary()


def is_empty(cache: OrderCache) -> bool:
    """Whether nothing has been kept, so that there is no need to make a key."""
    if _MEMORY.get(cache):
        return False
    return cache.folder is None or not _home(cache.folder).is_dir()


def winner(cache: OrderCache, key: str) -> str | None:
    """The name of what was fastest, if it is known.

    A file that is no such entry is taken for none; what is read decides on speed alone.
    """
    memory = _MEMORY.setdefault(cache, {})
    if key not in memory and cache.folder is not None:
        name = _named(_place(cache.folder, key))
        if name is not None:
            memory[key] = name
    return memory.get(key)


def keep(cache: OrderCache, key: str, name: str, seconds: Mapping[str, float]) -> None:
    """Stores what was fastest, with the times of all that were measured, in memory and
    in a folder beside that of the orders."""
    _MEMORY.setdefault(cache, {})[key] = name
    if cache.folder is not None:
        entry = {"version": VERSION, "winner": name, "seconds": dict(seconds)}
        place = _place(cache.folder, key)
        with contextlib.suppress(OSError):  # It is known in this process.
            place.parent.mkdir(parents=True, exist_ok=True)
            write_entry(place, entry)


def _home(folder: Path) -> Path:
    return folder / f"measured-v{VERSION}"


def _place(folder: Path, key: str) -> Path:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return _home(folder) / f"{digest}.json"


def _named(place: Path) -> str | None:
    try:
        entry: Any = read_entry(place)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.get("version") != VERSION:
        return None
    name = entry.get("winner")
    return name if isinstance(name, str) and len(name) <= _LONGEST else None
