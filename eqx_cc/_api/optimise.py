"""Searches for better orders, which are kept in the cache."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx

from .._graph.graph import ComputationalGraph
from .._orders.baseline import baseline, has_arrays, order_or_known
from .._orders.cache import default_cache, OrderCache
from .._orders.cost import AbstractCost, as_cost
from .._orders.lookup import Automatic
from .._orders.order import Order
from .._orders.orderings import AbstractOrdering, checked_order
from .._orders.search.base import AbstractSearch, as_seconds
from .._orders.search.progress import (
    GraphReport,
    interruptible,
    of_graph,
    progress_bar,
    SearchProgress,
)
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
    """Searches for an elimination order of lower cost, and stores it. The next trace of
    the function uses it.

    Loops and branches of the function have graphs of their own, and a small function
    also has a graph of scalars. The time is shared among all of them. Functions that
    are compiled already do not change.

    **Arguments:**

    - `fun`, `*args`, `**kwargs`: a function and its arguments, as for
        [`eqx_cc.trace`][]; or an [`eqx_cc.ComputationalGraph`][] alone.
    - `seconds`: the time for the search; that of the ordering if left out. With
        `math.inf`, the search ends at Ctrl-C, or when no order can be better.
    - `ordering`: the search, [`eqx_cc.Annealing`][] if left out, or any other
        [`eqx_cc.AbstractOrdering`][]. If one that does not search is worse than
        Markowitz, reverse or forward, then the best of these is stored in its place.
    - `cost`: the cost model or its name; if left out, that of the ordering, or
        `"multiplications"`, which [`eqx_cc.filter_jacobian`][] looks up.
    - `cache`: the [`eqx_cc.OrderCache`][] to store orders in; by default, the one in
        which `filter_jacobian` looks.
    - `progress`: if `True` then a progress bar on standard error shows the least cost
        so far. Ctrl-C ends the search with the best order so far.
    - `measure`: if `True` then, after the search, Jacobians by several orders, by
        arrays and by scalars, and in forward and reverse mode are compiled and timed at
        these arguments on this machine. The next trace takes the fastest of them, by
        default and with `order="measured"`.

    **Returns:** the best [`eqx_cc.Order`][] so far of the graph of the function (the
    graph of arrays, as in [`eqx_cc.explain`][]), with its `cost`, its `lower_bound`,
    whether it is `optimal`, the `seconds` of the search of this graph, and where it
    comes from. If the search found nothing better than what was known, `found_by` names
    that, and in parentheses the search and what it proposed. The progress bar has the
    costs of all graphs.

    !!! Example

        ```python
        eqx_cc.optimise(model, x, seconds=5)
        jacobian = eqx_cc.filter_jacobian(model)(x)
        ```
    """
    _check_arguments(fun, args, kwargs, measure=measure)
    ordering, model = _configured(ordering, seconds, cost)
    cache = default_cache() if cache is None else cache
    if not isinstance(cache, OrderCache):
        raise TypeError(f"`cache` must be an `eqx_cc.OrderCache`; got {cache!r}.")
    collector = _Collector([])
    bar = contextlib.nullcontext(lambda graph, progress: None)
    if progress:
        bar = progress_bar(getattr(ordering, "seconds", 0.0), model.name)
    with bar as report, interruptible():
        graph = _ordered_graph(fun, args, kwargs, collector)
        shares = _shares([graph, *collector.graphs])
        searcher = _Searcher(ordering, model, cache, shares, graph, report)
        graph = _ordered_graph(fun, args, kwargs, _Searching(searcher))
        order = searcher.order(graph)
    if measure:
        flat, inputs = flat_of(fun, args, kwargs)
        measure_methods(flat, inputs.leaves, cache)
    return order


def _ordered_graph(
    fun: Any, args: tuple, kwargs: dict[str, Any], order: AbstractOrdering
) -> ComputationalGraph:
    """The graph of arrays, after `order` was called for all graphs on the way to it:
    that of scalars, and those of loops and branches."""
    if isinstance(fun, ComputationalGraph):
        return fun
    scalars = graph_of(fun, args, kwargs, order, "auto")
    if scalars is not None:
        order(scalars)
    arrays = graph_of(fun, args, kwargs, order)
    assert arrays is not None
    return arrays


def _check_arguments(
    fun: Any, args: tuple, kwargs: dict[str, Any], *, measure: bool
) -> None:
    if not isinstance(fun, ComputationalGraph):
        check_callable(fun)
        if not args:
            raise TypeError(
                "`optimise` of a function needs its arguments as well: "
                "`optimise(fun, x)`."
            )
    elif args or kwargs:
        raise TypeError("`optimise` of a graph takes no arguments of a function.")
    elif measure:
        raise TypeError("`measure=True` needs a function, not its graph.")


def _configured(
    ordering: Any, seconds: Any, cost: str | AbstractCost | None
) -> tuple[AbstractOrdering, AbstractCost]:
    """The ordering with the user's time and cost model, and this model."""
    ordering = Annealing() if ordering is None else ordering
    if not isinstance(ordering, AbstractOrdering):
        raise ValueError(
            "`ordering` must be an `eqx_cc.AbstractOrdering`, such as "
            f"`eqx_cc.Exact()`; got {ordering!r}."
        )
    if not isinstance(ordering, AbstractSearch):
        return ordering, as_cost("multiplications" if cost is None else cost)
    if seconds is not None:
        ordering = replace(ordering, seconds=as_seconds(seconds))
    if cost is not None:
        ordering = replace(ordering, cost=as_cost(cost))
    return ordering, ordering.cost


def _shares(graphs: list[ComputationalGraph]) -> dict[ComputationalGraph, float]:
    """The part of the time for each graph, in proportion to its vertices."""
    sizes = {graph: len(graph.intermediates) for graph in graphs}
    total = sum(sizes.values())
    return {graph: size / total for graph, size in sizes.items() if size}


class _Collector(AbstractOrdering):
    """Collects the graphs that it is called with: those of loops and branches."""

    graphs: list[ComputationalGraph] = eqx.field(static=True)

    def __call__(self, graph: ComputationalGraph) -> Order:
        self.graphs.append(graph)
        return Automatic()(graph)


class _Searcher:
    """Searches each graph once, in its share of the time, and stores the orders."""

    def __init__(
        self,
        ordering: AbstractOrdering,
        model: AbstractCost,
        cache: OrderCache,
        shares: dict[ComputationalGraph, float],
        arrays: ComputationalGraph,
        report: GraphReport,
    ):
        self._ordering, self._model, self._cache = ordering, model, cache
        self._shares, self._arrays, self._report = shares, arrays, report
        self._orders: dict[ComputationalGraph, Order] = {}
        self._interrupted = False

    def order(self, graph: ComputationalGraph) -> Order:
        if graph not in self._orders:
            self._orders[graph] = self._best(graph)
        return self._orders[graph]

    def _best(self, graph: ComputationalGraph) -> Order:
        cached = self._cache.get(graph, self._model)
        if cached is not None and self._interrupted:
            return cached
        order = self._search(graph)
        self._cache.put(graph, order, self._model)
        if cached is None or _rank(order) <= _rank(cached):
            return order
        cached.found_by += f", kept ({order.found_by}: {order.cost})"
        cached.seconds, cached.interrupted = order.seconds, order.interrupted
        return cached

    def _search(self, graph: ComputationalGraph) -> Order:
        if not isinstance(self._ordering, AbstractSearch):
            return self._without_search(graph)
        if self._interrupted:
            return baseline(graph, self._model)
        seconds = self._ordering.seconds * self._shares.get(graph, 0.1)
        try:
            search = replace(self._ordering, seconds=seconds)
            report = of_graph(self._report, self._name(graph))
            order = search.search(graph, report)
        except KeyboardInterrupt:  # Before the search began.
            self._interrupted = True
            return baseline(graph, self._model)
        self._interrupted = order.interrupted
        return order

    def _name(self, graph: ComputationalGraph) -> str:
        """What a user calls the graph."""
        if graph == self._arrays:
            return "arrays"
        return "loops and branches" if has_arrays(graph) else "entries"

    def _without_search(self, graph: ComputationalGraph) -> Order:
        """The order of an ordering that does not search, or the baseline if that is
        better: the order that is stored is used from now on."""
        started = time.monotonic()
        vertices = checked_order(graph, self._ordering)
        name = type(self._ordering).__name__
        known = baseline(graph, self._model)
        order = order_or_known(graph, vertices, self._model, name, known)
        order.seconds = time.monotonic() - started
        progress = SearchProgress(order.cost, order.lower_bound)
        self._report(self._name(graph), progress)
        return order


def _rank(order: Order) -> tuple[int, int]:
    """Orders of less cost come first, then those with the better bound."""
    return order.cost, -order.lower_bound


class _Searching(AbstractOrdering):
    """The orders of a searcher, as an ordering."""

    searcher: _Searcher = eqx.field(static=True)

    def __call__(self, graph: ComputationalGraph) -> Order:
        return self.searcher.order(graph)
