"""The table of metrics, a row for each iteration."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any


FIELDS: tuple[str, ...]
FIELDS = ("iteration", "seconds", "ratio", "policy_loss", "value_loss", "entropy")
FIELDS += ("held_out_ratio", "held_out_wins", "best_count", "greedy_count")


def read_rows(path: pathlib.Path) -> list[dict[str, str]]:
    """The rows of a table; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def keep_rows(path: pathlib.Path, iteration: int) -> list[dict[str, str]]:
    """Removes the rows after an iteration, and those that were written in part: they
    are written anew by training that goes on from a checkpoint."""
    rows = {int(r["iteration"]): r for r in read_rows(path) if _is_whole(r)}
    kept = [rows[number] for number in sorted(rows) if number <= iteration]
    if path.exists():
        new = path.with_suffix(".new")
        _write(new, kept, "w")
        new.replace(path)
    return kept


def _is_whole(row: Mapping[str, str | None]) -> bool:
    return (row.get("iteration") or "").isdigit() and None not in row.values()


def append_row(path: pathlib.Path, row: Mapping[str, Any]) -> None:
    """Appends a row. A new file begins with a line of names."""
    _write(path, [row], "a")


def _write(path: pathlib.Path, rows: Iterable[Mapping[str, Any]], mode: str) -> None:
    new = mode == "w" or not path.exists()
    with path.open(mode, newline="") as file:
        writer = csv.DictWriter(file, FIELDS, restval="", extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def least_count(rows: Iterable[Mapping[str, str]]) -> float:
    """The best count so far; infinite if there is none."""
    counts = (row.get("best_count") for row in rows)
    return min((float(count) for count in counts if count), default=float("inf"))
