"""The default ordering, which looks orders up, and the `order` argument of users."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

import equinox as eqx

from .._graph.graph import ComputationalGraph
from .baseline import baseline
from .cache import default_cache
from .cost import AbstractCost, Multiplications
from .order import Order
from .orderings import AbstractOrdering, Forward, Given, MinimalMarkowitz, Reverse


class Automatic(AbstractOrdering):
    """Looks up the order with the fewest multiplications, among those stored by
    [`eqx_cc.optimise`][] and those in the library of the package.

    For a graph without a stored order, this is the best of Markowitz, minimal fill,
    reverse, forward and [`eqx_cc.LearnedRule`][], which takes milliseconds. Forward or
    reverse is taken at once if it multiplies few arrays by numbers beside what the
    function itself computes. See [`eqx_cc.OrderCache`][] for where orders are stored.

    !!! Example

        ```python
        eqx_cc.filter_jacobian(fun, order=eqx_cc.Automatic())(x)
        ```
    """

    def __call__(self, graph: ComputationalGraph) -> Order:
        return Cheapest(Multiplications())(graph)


class Cheapest(AbstractOrdering):
    """Looks up the order of least cost under any cost model."""

    cost: AbstractCost

    def __call__(self, graph: ComputationalGraph) -> Order:
        simple = _baseline(graph, self.cost)
        if len(graph.intermediates) > 1:
            order = default_cache().get(graph, self.cost)
            # The stored order may be worse.
            if order is not None and order.cost <= simple.cost:
                order.found_by += " (looked up)"
                return order
        return simple


class Measured(AbstractOrdering):
    """A request for the fastest of several methods for the Jacobian, by measurement.
    Where there is nothing to measure, the order is that of `Automatic`."""

    def __call__(self, graph: ComputationalGraph) -> Order:
        return Automatic()(graph)


_baseline = lru_cache(maxsize=1024)(baseline)


_NAMED = {
    "auto": Automatic,
    "forward": Forward,
    "reverse": Reverse,
    "markowitz": MinimalMarkowitz,
    "measured": Measured,
}


def as_ordering(order: str | Sequence[int] | AbstractOrdering) -> AbstractOrdering:
    """The ordering of a user's `order` argument."""
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
    if isinstance(order, str) and os.path.isdir(order):
        hint = f" A trained policy: `eqx_cc.policy.PolicyOrdering({order!r})`."
    got = repr(order)
    if isinstance(order, eqx.Module):  # Its arrays would fill pages.
        got, wanted = f"a `{type(order).__name__}`", getattr(order, "_as_ordering", "")
        hint = f" Make one of it: `{wanted}`." if wanted else ""
    raise ValueError(
        f"`order` must be one of {', '.join(map(repr, _NAMED))}, a sequence of vertex "
        f"numbers, or an `eqx_cc.AbstractOrdering`; got {got}.{hint}"
    )
