"""A progress bar for searches, on standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from .base import Report, SearchProgress


_WIDTH = 30


@contextlib.contextmanager
def progress_bar(label: str, seconds: float, unit: str) -> Iterator[Report]:
    """Shows the elapsed share of `seconds` and the best cost, while its body runs.
    Yields a function to call with each new `SearchProgress`."""
    bar = _Bar(label, seconds, unit)
    try:
        yield bar.report
    finally:
        bar.close()


class _Bar:
    def __init__(self, label: str, seconds: float, unit: str):
        self._label, self._seconds, self._unit = label, seconds, unit
        self._started, self._latest = time.monotonic(), ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def report(self, progress: SearchProgress) -> None:
        bound = f"lower bound {progress.lower_bound}"
        if progress.cost <= progress.lower_bound:
            bound = "optimal"
        self._latest = f"{progress.cost} {self._unit} ({bound})"

    def _tick(self) -> None:
        # A file cannot be drawn over: there the only line is the last.
        while not self._closed.wait(0.1):
            if sys.stderr is not None and sys.stderr.isatty():
                self._draw()

    def _draw(self) -> None:
        elapsed = time.monotonic() - self._started
        full = round(_WIDTH * min(elapsed / self._seconds, 1.0)) if self._seconds else 0
        bar = "#" * full + "-" * (_WIDTH - full)
        # Clear the rest of the line, as the last one may have been longer.
        self._write(f"\r{self._label} [{bar}] {elapsed:.1f} s  {self._latest}\x1b[K")

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._draw()
        self._write("\n")

    def _write(self, text: str) -> None:
        # A search must not fail for want of a console, without which `sys.stderr` is
        # `None`.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)
            sys.stderr.flush()
