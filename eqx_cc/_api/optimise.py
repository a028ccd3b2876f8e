"""Searching for a better order, for as long as one likes, and keeping it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx

from .._graph.graph import ComputationalGraph
from .._orders.cache import default_cache, OrderCache
from .._orders.cost import AbstractCost, as_cost
from .._orders.lookup import Automatic
from .._orders.order import Order
from .._orders.orderings import AbstractOrdering, checked_order
from .._orders.search.base import (
    AbstractSearch,
    as_seconds,
    baseline,
    order_cost,
    Report,
)
from .._orders.search.interrupt import interruptible
from .._orders.search.progress import progress_bar
from .._orders.search.searches import Annealing
from .._strategy.jacobian_blocks import measure_methods
from .explain import flat_of, graph_of
from .trees import check_callable


def optimise(
    fun: Callable | ComputationalGraph,
    /,
    *args: Any,
    seconds: float | None = None,
    ordering: AbstractOrdering | None = None,
    cost: str | AbstractCost | None = None,
    cache: OrderCache | None = None,
    progress: bool = True,
    measure: bool = False,
    **kwargs: Any,
) -> Order:
    """Searches for an elimination order that costs less, and stores it, so that the
    next trace of the function uses it.

    Loops and branches of the function have graphs of their own, and so has a small
    function in scalars; all are given their share of the time. What has been compiled
    already stays as it is.

    **Arguments:**

    - `fun`, `*args`, `**kwargs`: a function and its arguments, as for
        [`eqx_cc.trace`][]; or an [`eqx_cc.ComputationalGraph`][] alone.
    - `seconds`: how long to search; as the ordering says if left out. `math.inf` is
        until Ctrl-C, or until no order can be better.
    - `ordering`: what to search with: [`eqx_cc.Annealing`][] if left out. Any
        [`eqx_cc.AbstractOrdering`][] will do; one that does not search gives way to
        Markowitz, reverse or forward where these are better.
    - `cost`: the cost model or its name; `"multiplications"`, which is what
        [`eqx_cc.filter_jacobian`][] looks up, if neither it nor the ordering says.
    - `cache`: where to store orders; by default, where `filter_jacobian` finds them.
    - `progress`: whether to show a progress bar, with the least cost so far, on
        standard error. Ctrl-C ends the search with the best order so far.
    - `measure`: whether to compile and time Jacobians by several orders, by arrays and
        by scalars, in forward and in reverse mode, at these arguments and on this
        machine, once orders have been found. The next trace takes the fastest of them,
        by default and with `order="measured"`.

    **Returns:** the best [`eqx_cc.Order`][] of the graph of the function (of its
    arrays, as [`eqx_cc.explain`][] has it by default) that is now known, with its
    `cost`, `lower_bound`, whether it is `optimal`, and how it was found.

    !!! Example

        ```python
        eqx_cc.optimise(model, x, seconds=5)
        jacobian = eqx_cc.filter_jacobian(model)(x)
        ```
    """
    if isinstance(fun, ComputationalGraph) and (args or kwargs):
        raise TypeError("`optimise` of a graph takes no arguments of a function.")
    if isinstance(fun, ComputationalGraph) and measure:
        raise TypeError("`measure=True` needs a function, not its graph.")
    if not isinstance(fun, ComputationalGraph) and not args:
        check_callable(fun)
        raise TypeError("`optimise` of a function needs its arguments as well.")
    _check_ordering(ordering)
    ordering, model = _configured(ordering, seconds, cost)
    cache = default_cache() if cache is None else cache
    if not isinstance(cache, OrderCache):
        raise TypeError(f"`cache` must be an `eqx_cc.OrderCache`; got {cache!r}.")

    def graph(order: AbstractOrdering) -> ComputationalGraph:
        if isinstance(fun, ComputationalGraph):
            return fun
        scalars = graph_of(fun, args, kwargs, order, "auto")
        if scalars is not None:
            order(scalars)
        arrays = graph_of(fun, args, kwargs, order)
        assert arrays is not None
        return arrays

    seen, bar = _Seen([]), contextlib.nullcontext(lambda progress: None)
    if progress:
        bar = progress_bar("optimise", getattr(ordering, "seconds", 0.0), model.name)
    with bar as report, interruptible():
        shares = _shares([graph(seen), *seen.graphs])
        searcher = _Searcher(ordering, model, cache, shares, report)
        found = searcher.order(graph(_Searching(searcher)))
    if measure:
        flat, inputs = flat_of(fun, args, kwargs)
        measure_methods(flat, inputs.leaves, "auto", cache)
    return found


def _configured(
    ordering: AbstractOrdering | None,
    seconds: Any,
    cost: str | AbstractCost | None,
) -> tuple[AbstractOrdering, AbstractCost]:
    """The ordering with the time and the cost model that were asked for; the model."""
    ordering = Annealing() if ordering is None else ordering
    if not isinstance(ordering, AbstractSearch):
        return ordering, as_cost("multiplications" if cost is None else cost)
    if seconds is not None:
        ordering = replace(ordering, seconds=as_seconds(seconds))
    if cost is not None:
        ordering = replace(ordering, cost=as_cost(cost))
    return ordering, ordering.cost


def _check_ordering(ordering: Any) -> None:
    if ordering is not None and not isinstance(ordering, AbstractOrdering):
        raise ValueError(
            "`ordering` must be an `eqx_cc.AbstractOrdering`, such as "
            f"`eqx_cc.Exact()`; got {ordering!r}."
        )


def _shares(graphs: list[ComputationalGraph]) -> dict[ComputationalGraph, float]:
    """How much of the time each graph gets: in proportion to its vertices."""
    sizes = {graph: len(graph.intermediates) for graph in graphs}
    whole = sum(sizes.values())
    return {graph: size / whole for graph, size in sizes.items() if size}


class _Seen(AbstractOrdering):
    """Remembers every graph that it is asked for: those of loops and branches."""

    graphs: list[ComputationalGraph] = eqx.field(static=True)

    def __call__(self, graph: ComputationalGraph) -> Order:
        self.graphs.append(graph)
        return Automatic()(graph)


class _Searcher:
    """Searches each graph once, in its share of the time, and stores what it finds."""

    def __init__(
        self,
        ordering: AbstractOrdering,
        model: AbstractCost,
        cache: OrderCache,
        shares: dict[ComputationalGraph, float],
        report: Report,
    ):
        self._ordering, self._model, self._cache = ordering, model, cache
        self._shares, self._report = shares, report
        self._found: dict[ComputationalGraph, Order] = {}
        self._interrupted = False

    def order(self, graph: ComputationalGraph) -> Order:
        if graph not in self._found:
            self._found[graph] = self._best(graph)
        return self._found[graph]

    def _best(self, graph: ComputationalGraph) -> Order:
        known = self._cache.get(graph, self._model)
        if known is not None and self._interrupted:
            return known
        found = self._search(graph)
        self._cache.put(graph, found, self._model)
        if known is None:
            return found
        return min(found, known, key=lambda order: (order.cost, -order.lower_bound))

    def _search(self, graph: ComputationalGraph) -> Order:
        if not isinstance(self._ordering, AbstractSearch):
            return self._asked(graph)
        if self._interrupted:
            return baseline(graph, self._model)
        seconds = self._ordering.seconds * self._shares.get(graph, 0.1)
        try:
            search = replace(self._ordering, seconds=seconds)
            found = search.search(graph, self._report)
        except KeyboardInterrupt:  # While it was getting ready.
            self._interrupted = True
            return baseline(graph, self._model)
        self._interrupted = found.found_by.endswith("interrupted")
        return found

    def _asked(self, graph: ComputationalGraph) -> Order:
        """The order of an ordering that does not search, or one that is better and
        takes no search either, as what is stored is what is used from now on."""
        started = time.monotonic()
        vertices = checked_order(graph, self._ordering)
        asked = Order(
            vertices,
            cost=order_cost(graph, vertices, self._model),
            cost_model=self._model.name,
            found_by=type(self._ordering).__name__,
            seconds=time.monotonic() - started,
        )
        return min(asked, baseline(graph, self._model), key=lambda order: order.cost)


class _Searching(AbstractOrdering):
    """What a searcher finds, as an ordering."""

    searcher: _Searcher = eqx.field(static=True)

    def __call__(self, graph: ComputationalGraph) -> Order:
        return self.searcher.order(graph)
