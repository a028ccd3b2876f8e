"""Ctrl-C, for searches that end with what they have."""

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
    """While its body runs, a first Ctrl-C raises nothing: what is yielded tells of it.
    A second one raises `KeyboardInterrupt`. Within another, it is that one.

    An exception might be lost: Python ignores those that are raised within callbacks,
    such as that of XLA on garbage collection. Other threads than the main one, to which
    no signals come, and programs with a handler of their own are left alone.
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
