"""A few moves of annealing, always the same, where the default has an order already."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .chain import Chain
from .state import AbstractSpace, total


_MOVES = 2  # For each vertex.
_MAX_VERTICES = 500
_COLD = 1e-3  # Costs are whole numbers: next to no move that raises the cost is taken.


def refined(space: AbstractSpace, order: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """The order after a few moves that do not raise its cost, and its cost."""
    if len(order) <= _MAX_VERTICES:
        chain = Chain(space, random.Random(0), space.start, order)
        for _ in range(_MOVES * len(order)):
            chain.move(_COLD)
        order = chain.order
    # The cost of the chain may differ a little: sums of patterns depend on the order.
    return tuple(order), total(space, space.start, order)
