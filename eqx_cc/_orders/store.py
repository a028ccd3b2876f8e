"""Plain data by key: in memory, and in JSON files that many processes share."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import warnings
from pathlib import Path
from typing import Any


MAX_LABEL = 200  # Characters of a text in an entry.
_MAX_BYTES = 1 << 22

_changes = 0


def num_changes() -> int:
    """The number of entries that this process has stored: what is chosen by them
    depends on it."""
    return _changes


class Store:
    """Entries of one kind, in memory and below `<folder>/<kind>`.

    Each file is written under another name and then renamed, so that no process needs a
    lock. Whoever reads an entry must check it: the folder may hold anything.

    **Arguments:**

    - `folder`: the folder of the cache; `None` for memory only.
    - `kind`: the name, with a version, of the kind of entries.
    """

    def __init__(self, folder: Path | None, kind: str):
        self.folder = folder
        self.home = None if folder is None else folder / kind
        self.memory: dict[str, Any] = {}
        self._reported: set[str] = set()

    def keep(self, key: str, value: Any) -> None:
        """Stores an entry in memory."""
        global _changes
        _changes += 1
        self.memory[key] = value

    def path(self, key: str, suffix: str = "") -> Path | None:
        """The file or folder of a key: the digest of the key is its name."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        return None if self.home is None else self.home / f"{digest}{suffix}"

    def discard(self, path: Path, problem: str) -> None:
        """Removes a file or an empty folder, and reports it."""
        for remove in (path.unlink, path.rmdir):
            with contextlib.suppress(OSError):
                remove()
        self.report(path, problem)

    def report(self, path: Path | None, problem: str) -> None:
        """Warns of a problem with a path, once for each path."""
        if str(path) not in self._reported:
            self._reported.add(str(path))
            warnings.warn(f"The order cache: {path} {problem}.", stacklevel=2)


def require(condition: bool, problem: str) -> None:
    """Raises a `ValueError` unless the condition holds."""
    if not condition:
        raise ValueError(problem)


def read_entry(path: Path) -> Any:
    """The plain data of a file."""
    # Neither a link nor a pipe: reading might never end.
    status = path.lstat()
    require(stat.S_ISREG(status.st_mode), "not a file")
    require(status.st_size <= _MAX_BYTES, "too long")
    return json.loads(path.read_bytes())


def write_entry(path: Path, entry: dict[str, Any]) -> None:
    """Writes all of a file or nothing, however many processes write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        # `tempfile` makes files for one user only, but a group may share a folder.
        with open(part, "x", encoding="ascii") as file:
            json.dump(entry, file)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
