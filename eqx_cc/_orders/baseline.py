"""The cost of an order, and the best of the orders that need no search."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .._graph.graph import ComputationalGraph
from .cost import AbstractCost
from .order import Order
from .orderings import Forward, MinimalFill, MinimalMarkowitz, Reverse
from .state import space, total


def baseline(graph: ComputationalGraph, cost: AbstractCost) -> Order:
    """The best of the Markowitz, minimal-fill, reverse and forward orders."""
    # For scalars minimal fill is the Markowitz rule.
    arrays = any(edge.out_shape or edge.in_shape for edge in graph.edges.values())
    fill = [MinimalFill()] if arrays else []
    cost_of = _cost_function(graph, cost)
    orders = []
    for ordering in (MinimalMarkowitz(), *fill, Reverse(), Forward()):
        vertices, name = ordering(graph), type(ordering).__name__
        total_cost = cost_of(vertices)
        orders.append(
            Order(vertices, cost=total_cost, cost_model=cost.name, found_by=name)
        )
    return min(orders, key=lambda order: order.cost)


def order_cost(
    graph: ComputationalGraph, order: Iterable[int], cost: AbstractCost
) -> int:
    """The cost of an order of a graph's intermediates under a cost model."""
    return _cost_function(graph, cost)(order)


def order_or_baseline(
    graph: ComputationalGraph,
    vertices: Iterable[int],
    cost: AbstractCost,
    found_by: str,
) -> Order:
    """An order of these vertices with its cost, or the baseline if that costs less."""
    total_cost = order_cost(graph, vertices, cost)
    order = Order(vertices, cost=total_cost, cost_model=cost.name, found_by=found_by)
    return min(order, baseline(graph, cost), key=lambda order: order.cost)


def _cost_function(
    graph: ComputationalGraph, cost: AbstractCost
) -> Callable[[Iterable[int]], int]:
    """The map from an order of the graph to its cost."""
    states = space(graph, cost)
    return lambda order: total(
        states, states.start, (states.numbers[name] for name in order)
    )
