"""What a user's `order` stands for; orders that are looked up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from .._graph.graph import ComputationalGraph
from .cache import default_cache
from .cost import AbstractCost, Multiplications
from .order import Order
from .orderings import AbstractOrdering, Forward, Given, MinimalMarkowitz, Reverse
from .search.base import baseline


class Automatic(AbstractOrdering):
    """Looks up the order that takes the fewest multiplications of all that are known:
    those that [`eqx_cc.optimise`][] found, and the library of the package.

    For a graph that nothing is known of, it is the best of Markowitz, minimal fill,
    reverse and forward, which takes milliseconds. See [`eqx_cc.OrderCache`][] for where
    orders are kept.

    !!! Example

        ```python
        eqx_cc.filter_jacobian(fun, order=eqx_cc.Automatic())(x)
        ```
    """

    def __call__(self, graph: ComputationalGraph) -> Order:
        return _looked_up(graph, Multiplications())


class Cheapest(AbstractOrdering):
    """The order of least cost that is known, under any cost model."""

    cost: AbstractCost

    def __call__(self, graph: ComputationalGraph) -> Order:
        return _looked_up(graph, self.cost)


class Measured(AbstractOrdering):
    """Says that not an order is to be chosen, but the fastest of several ways to the
    Jacobian. Where there is nothing to measure, it is the order of `Automatic`."""

    def __call__(self, graph: ComputationalGraph) -> Order:
        return _looked_up(graph, Multiplications())


def _looked_up(graph: ComputationalGraph, cost: AbstractCost) -> Order:
    simple = _baseline(graph, cost)
    if len(graph.intermediates) > 1:
        order = default_cache().get(graph, cost)
        # Somebody may have stored one that is worse.
        if order is not None and order.cost <= simple.cost:
            order.found_by += " (looked up)"
            return order
    return simple


@lru_cache(maxsize=1024)
def _baseline(graph: ComputationalGraph, cost: AbstractCost) -> Order:
    return baseline(graph, cost)


_NAMED = {
    "auto": Automatic,
    "forward": Forward,
    "reverse": Reverse,
    "markowitz": MinimalMarkowitz,
    "measured": Measured,
}


def as_ordering(order: str | Sequence[int] | AbstractOrdering) -> AbstractOrdering:
    """The ordering that a user's `order` argument stands for."""
    if isinstance(order, AbstractOrdering):
        return order
    if isinstance(order, str) and order in _NAMED:
        return _NAMED[order]()
    if not isinstance(order, str | set | frozenset | dict):
        try:
            return Given(tuple(int(vertex.__index__()) for vertex in order))
        except (TypeError, AttributeError):
            pass
    hint = ""
    if isinstance(order, type) and issubclass(order, AbstractOrdering):
        hint = f" Make one: `{order.__name__}()`."
    raise ValueError(
        f"`order` must be one of {', '.join(map(repr, _NAMED))}, a sequence of vertex "
        f"numbers, or an `eqx_cc.AbstractOrdering`; got {order!r}.{hint}"
    )
