"""Ctrl-C, for searches that end with what they have."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """While its body runs, a first Ctrl-C raises nothing: what is yielded tells of it.
    A second one raises `KeyboardInterrupt`.

    An exception might be lost: Python ignores those that are raised within callbacks,
    such as that of XLA on garbage collection. Other threads than the main one, to which
    no signals come, and programs with a handler of their own are left alone.
    """
    pressed: list[int] = []

    def handle(number, frame):
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
