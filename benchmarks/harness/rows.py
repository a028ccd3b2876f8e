"""Rows of measurements in files, and the machine that they were taken on."""

import json
import os
import pathlib
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata

import jax

from .measure import Row


def read(path: str) -> list[dict]:
    """The rows of a file, none if there is no such file."""
    file = pathlib.Path(path)
    return json.loads(file.read_text()) if file.exists() else []


def add(path: str, rows: Sequence[dict], keys: Sequence[str]) -> None:
    """Adds rows to a file of them; those that agree in the keys are replaced."""
    text = written(merged(read(path), rows, keys))
    pathlib.Path(path).write_text(f"{text}\n")


def merged(old: Sequence[dict], new: Sequence[dict], keys: Sequence[str]) -> list[dict]:
    """The old rows that agree with no new one in the keys, then the new ones."""
    key = lambda row: tuple(row[k] for k in keys)  # noqa: E731
    replaced = {key(row) for row in new}
    return [*(row for row in old if key(row) not in replaced), *new]


def written(rows: Sequence[dict]) -> str:
    """JSON with a line for each row."""
    return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]"


def machine() -> dict[str, str | int]:
    """Processor, backend and versions."""
    about: dict[str, str | int] = {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "python": platform.python_version(),
    }
    for package in ("jax", "equinox", "eqx_cc", "asdex", "sparsejac", "casadi"):
        try:
            about[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            about[package] = "not installed"
    return about


def _processor() -> str:
    """The name that the kernel has for it; `platform` often has none."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def save(path: str, rows: Sequence[Row], about: dict) -> None:
    """Writes everything as JSON."""
    document = {"machine": about, "rows": [asdict(row) for row in rows]}
    pathlib.Path(path).write_text(json.dumps(document, indent=1) + "\n")


def load(path: str) -> tuple[list[Row], dict]:
    """Rows and machine, as `save` wrote them."""
    document = json.loads(pathlib.Path(path).read_text())
    return [Row(**row) for row in document["rows"]], document["machine"]
