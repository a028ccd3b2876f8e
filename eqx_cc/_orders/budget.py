"""A limit to the symbolic work that goes into one order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


# What one graph may take, in pairs of terms that meet when blocks are multiplied and
# added up; and what it may take by default, which is some ten seconds.
_LIMIT: ContextVar[float] = ContextVar("limit", default=float("inf"))
MOST_EFFORT = 25_000.0


class TooDear(Exception):
    """No order was found within the limit."""


@contextmanager
def limited(pairs: float) -> Iterator[None]:
    """Within it, looking for an order of a graph raises `TooDear` once more pairs of
    terms than this have met. What counts does not depend on what was found before."""
    token = _LIMIT.set(pairs)
    try:
        yield
    finally:
        _LIMIT.reset(token)


class Effort:
    """What is left of the limit for one graph."""

    def __init__(self) -> None:
        self.left: float = _LIMIT.get()

    def spend(self, pairs: int) -> None:
        """Takes away what is about to be done."""
        self.left -= pairs
        if self.left < 0:
            raise TooDear
