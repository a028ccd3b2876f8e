"""Ctrl-C, which ends a search with the best order so far."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


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
