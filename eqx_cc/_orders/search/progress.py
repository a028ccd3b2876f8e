"""A running search, as its user sees it: a progress bar, and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple


_WIDTH = 30  # Characters of the bar.


class SearchProgress(NamedTuple):
    """The least cost so far, and the lower bound on the cost of every order."""

    cost: int
    lower_bound: int


Report = Callable[[SearchProgress], None]
# Is also told which graph it is, as a user would call it: "arrays", "entries".
GraphReport = Callable[[str, SearchProgress], None]


@contextlib.contextmanager
def progress_bar(seconds: float, unit: str) -> Iterator[GraphReport]:
    """Shows the elapsed share of `seconds` and the best costs, while its body runs.
    Yields a function to call with each new `SearchProgress` of a graph."""
    bar = _Bar(seconds, unit)
    try:
        yield bar.report
    finally:
        bar.close()


def of_graph(report: GraphReport, graph: str) -> Report:
    """The report of the search of one of several graphs."""
    return lambda progress: report(graph, progress)


class _Bar:
    def __init__(self, seconds: float, unit: str):
        self._seconds, self._unit = seconds, unit
        self._started, self._latest = time.monotonic(), dict[str, str]()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def report(self, graph: str, progress: SearchProgress) -> None:
        bound = f"lower bound {progress.lower_bound}"
        if progress.cost <= progress.lower_bound:
            bound = "optimal"
        self._latest[graph] = f"{progress.cost} {self._unit} ({bound})"

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
        costs = [
            f"{graph}: {latest}" if len(self._latest) > 1 else latest
            for graph, latest in self._latest.copy().items()
        ]
        self._write(f"\roptimise [{bar}] {elapsed:.1f} s  {'; '.join(costs)}\x1b[K")

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._draw()
        self._write("\n")

    def _write(self, text: str) -> None:
        # A search must not fail for want of a console: `sys.stderr` is then closed, or
        # `None`.
        if sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(text)
                sys.stderr.flush()


class _Handler:
    """Remembers the first Ctrl-C, and raises at the second."""

    def __init__(self):
        self.pressed = False

    def __call__(self, number, frame):
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns true after a first Ctrl-C, which raises nothing.
    A second one raises `KeyboardInterrupt`. Nested uses share one handler.

    An exception could be lost: Python ignores those raised within callbacks, such as
    XLA's on garbage collection. Threads other than the main one get no signals, and
    programs may have their own handler: there the function returns false.
    """
    current = signal.getsignal(signal.SIGINT)
    if isinstance(current, _Handler):
        yield lambda: current.pressed
        return
    main = threading.current_thread() is threading.main_thread()
    if not main or current is not signal.default_int_handler:
        yield lambda: False
        return
    handler = _Handler()
    signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: handler.pressed
    finally:
        signal.signal(signal.SIGINT, current)
