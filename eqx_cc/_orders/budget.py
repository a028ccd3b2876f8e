"""A budget for the symbolic work on one order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar


# The budget of one graph, in pairs of terms that meet in products and sums of blocks,
# and its default, which is some ten seconds.
_LIMIT: ContextVar[float] = ContextVar("limit", default=float("inf"))
DEFAULT_BUDGET = 25_000.0
# That of an order which is one of several: far more than the orders of stencils, meshes
# and networks take.
SEARCH_BUDGET = 5_000.0

# To list so many entries takes as long as two terms that meet.
ENTRIES_PER_PAIR = 1 << 10


class BudgetExceeded(Exception):
    """The budget was exceeded before there was an order."""


@contextmanager
def limited(pairs: float) -> Iterator[None]:
    """Limits the work on each graph to so many pairs of terms.

    Beyond it, `BudgetExceeded` is raised. Earlier searches and caches do not count."""
    token = _LIMIT.set(pairs)
    try:
        yield
    finally:
        _LIMIT.reset(token)


@contextmanager
def optional() -> Iterator[None]:
    """Limits the work on an order that may be left out, as there is another one."""
    with suppress(BudgetExceeded), limited(min(_LIMIT.get(), SEARCH_BUDGET)):
        yield


class Budget:
    """The remaining budget of one graph."""

    def __init__(self) -> None:
        self._remaining: float = _LIMIT.get()

    def spend(self, pairs: int) -> None:
        """Subtracts work that is about to be done."""
        self._remaining -= pairs
        if self._remaining < 0:
            raise BudgetExceeded
