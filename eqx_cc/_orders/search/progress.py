"""A progress bar for searches, on standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from .base import Progress, Report


_WIDTH = 30


@contextlib.contextmanager
def progress_bar(what: str, seconds: float, unit: str) -> Iterator[Report]:
    """Shows how much of `seconds` is gone, and the best cost so far, while its body
    runs. The body calls what it is given with each new `Progress`."""
    bar = _Bar(what, seconds, unit)
    try:
        yield bar.report
    finally:
        bar.close()


class _Bar:
    def __init__(self, what: str, seconds: float, unit: str):
        self._what, self._seconds, self._unit = what, seconds, unit
        self._started, self._latest = time.monotonic(), ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def report(self, progress: Progress) -> None:
        bound = f"lower bound {progress.lower_bound}"
        if progress.cost <= progress.lower_bound:
            bound = "optimal"
        self._latest = f"{progress.cost} {self._unit} ({bound})"

    def _tick(self) -> None:
        # In a file nothing can be drawn over: there is one line, in the end.
        while not self._closed.wait(0.1):
            if sys.stderr is not None and sys.stderr.isatty():
                self._draw()

    def _draw(self) -> None:
        gone = time.monotonic() - self._started
        full = round(_WIDTH * min(gone / self._seconds, 1.0)) if self._seconds else 0
        bar = "#" * full + "-" * (_WIDTH - full)
        # The end of the line is cleared, as a shorter one may follow a longer one.
        self._write(f"\r{self._what} [{bar}] {gone:.1f} s  {self._latest}\x1b[K")

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._draw()
        self._write("\n")

    def _write(self, text: str) -> None:
        # No search is lost for want of somebody to show it to. `sys.stderr` is `None`
        # where there is no console.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)
            sys.stderr.flush()
