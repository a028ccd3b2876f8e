"""The cost of an order, and the best of the orders that need no search."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Sequence

from .._graph.graph import ComputationalGraph
from .._graph.infinities import may_discard_infinities
from .budget import BudgetExceeded, optional
from .cost import AbstractCost, Traffic
from .order import Order
from .orderings import (
    AbstractOrdering,
    Forward,
    MinimalFill,
    MinimalMarkowitz,
    Reverse,
)
from .refine import refined
from .rule.learned_rule import rule_order_and_cost
from .state import AbstractSpace, space, total


# Below this number of vertices a few simple orders are as good.
_MIN_LEARNED = 4

# Where a sweep of arrays takes at most so many multiplications for each number that the
# function and its partials consist of, no better order is sought: in loops around 13
# such functions the best of five was one percent faster in the median (ten of them
# within 5, the others within 50), and a search takes longer than hundreds of calls. The
# other sweep is as good if it takes at most as many as there are numbers: what moves
# fewer bytes was up to 18 times as fast.
_CHEAP, _AS_GOOD = 0.33, 1.0


def baseline(graph: ComputationalGraph, cost: AbstractCost) -> Order:
    """The best of the Markowitz, minimal-fill, reverse and forward orders and that of
    the learned rule, after a few moves of annealing."""
    return preferred(graph, candidates(graph, cost))


def candidates(graph: ComputationalGraph, cost: AbstractCost) -> list[Order]:
    """The best of the simple orders, that of the learned rule, and the preferred one
    of the two after a few moves of annealing."""
    sweeps = _sweeps(graph, cost)
    if cheap := _cheap(graph, sweeps):
        return [_finite(graph, cheap) or _of_fewest_bytes(graph, cheap)]
    simple = [*sweeps, *_greedy(graph, cost)]
    orders = [_best(graph, simple)]
    if _is_settled(graph, simple) or _cheap(graph, simple):
        return orders
    # What exceeds the budget is left out.
    with contextlib.suppress(BudgetExceeded), optional():
        states = space(graph, cost)
        played = rule_order_and_cost(states)
        orders.append(_named(states, played, cost, "LearnedRule"))
        best = preferred(graph, orders)
        moved = refined(states, [states.numbers[vertex] for vertex in best])
        orders.append(_named(states, moved, cost, f"{best.found_by}, refined"))
    return orders


def preferred(graph: ComputationalGraph, orders: Sequence[Order]) -> Order:
    """Of orders from the simplest on, the one of least cost. In a graph of arrays an
    order must not move more bytes than one that it replaces."""
    return functools.reduce(functools.partial(_better, graph), orders)


def _named(
    states: AbstractSpace,
    found: tuple[Sequence[int], int],
    cost: AbstractCost,
    found_by: str,
) -> Order:
    """The order of the graph, of one of the space with its cost."""
    vertices, paid = found
    return _order(states.named(vertices), paid, cost, found_by)


def _better(graph: ComputationalGraph, known: Order, other: Order) -> Order:
    """The other order if it costs less and, of a graph of arrays, moves no more bytes
    than the known one."""
    if other.cost < known.cost and not _moves_more(graph, other, known):
        return other
    return known


def _moves_more(graph: ComputationalGraph, first: Order, second: Order) -> bool:
    """True if the first order of a graph of arrays moves more bytes than the second.

    Two orders of fewer multiplications that did so took 1.4 and 1.9 times as long (of
    BlackScholes_Jacobian and of a Kalman filter); none of those that did not was
    slower. Scalars are in registers.
    """
    if not has_arrays(graph):
        return False
    return order_cost(graph, first, Traffic()) > order_cost(graph, second, Traffic())


def simple_order(graph: ComputationalGraph, cost: AbstractCost) -> Order:
    """The best of the reverse, forward, Markowitz and minimal-fill orders."""
    return _best(graph, [*_sweeps(graph, cost), *_greedy(graph, cost)])


def _best(graph: ComputationalGraph, orders: Sequence[Order]) -> Order:
    """The order of least cost, and of those of arrays that tie, of fewest bytes."""
    least = min(order.cost for order in orders)
    tied = [order for order in orders if order.cost == least]
    if (forward := _finite(graph, tied)) is not None:
        return forward
    return _of_fewest_bytes(graph, tied) if has_arrays(graph) else tied[0]


def _finite(graph: ComputationalGraph, orders: Sequence[Order]) -> Order | None:
    """The forward order, if it is one of these and others may give NaN where it does
    not."""
    if not may_discard_infinities(graph):
        return None
    forward = tuple(Forward()(graph))
    return next((order for order in orders if tuple(order) == forward), None)


def _of_fewest_bytes(graph: ComputationalGraph, orders: Sequence[Order]) -> Order:
    if len(orders) == 1:
        return orders[0]
    return min(orders, key=lambda order: order_cost(graph, order, Traffic()))


def _sweeps(graph: ComputationalGraph, cost: AbstractCost) -> list[Order]:
    """The reverse and the forward order. The wider sweep is left out if it exceeds a
    budget of symbolic work."""
    narrow, orders = _narrow_sweep(graph), []
    for ordering in (Reverse(), Forward()):
        is_needed = type(ordering) is narrow
        with contextlib.nullcontext() if is_needed else optional():
            orders.append(_simple(graph, ordering, cost))
    return orders


def _greedy(graph: ComputationalGraph, cost: AbstractCost) -> list[Order]:
    """The Markowitz and the minimal-fill order, but for what exceeds a budget of
    symbolic work."""
    # For scalars minimal fill is the Markowitz rule.
    fill, orders = [MinimalFill()] if has_arrays(graph) else [], []
    for ordering in (MinimalMarkowitz(), *fill):
        with optional():
            orders.append(_simple(graph, ordering, cost))
    return orders


def _narrow_sweep(graph: ComputationalGraph) -> type[AbstractOrdering]:
    """Reverse if the outputs are fewer numbers than the inputs, else forward."""
    inputs, outputs = {}, {}
    for (u, v), block in graph.edges.items():
        inputs[u], outputs[v] = math.prod(block.in_shape), math.prod(block.out_shape)
    num_inputs = sum(inputs.get(u, 0) for u in graph.independents)
    num_outputs = sum(outputs.get(v, 0) for v in graph.dependents)
    return Reverse if num_outputs < num_inputs else Forward


def _simple(
    graph: ComputationalGraph, ordering: AbstractOrdering, cost: AbstractCost
) -> Order:
    """The order of an ordering, with its cost."""
    vertices = ordering(graph)
    paid = order_cost(graph, vertices, cost)
    return _order(vertices, paid, cost, type(ordering).__name__)


def has_arrays(graph: ComputationalGraph) -> bool:
    """False if all vertices of the graph are scalars."""
    return any(edge.out_shape or edge.in_shape for edge in graph.edges.values())


def _order(
    vertices: Iterable[int], total_cost: int, cost: AbstractCost, found_by: str
) -> Order:
    return Order(vertices, cost=total_cost, cost_model=cost.name, found_by=found_by)


def _cheap(graph: ComputationalGraph, orders: Sequence[Order]) -> list[Order]:
    """The orders that no search improves upon, as none can cost less, or as they cost
    little beside the function itself."""
    costs = [order.cost for order in orders]
    count = _num_computed(graph) if has_arrays(graph) else 0
    if min(costs) > _CHEAP * count:
        return []
    most = max(_AS_GOOD * count, min(costs))
    return [order for order in orders if order.cost <= most]


def _num_computed(graph: ComputationalGraph) -> int:
    """The numbers that the function itself computes, and those of its partials."""
    sizes = {v: math.prod(block.out_shape) for (_, v), block in graph.edges.items()}
    stored = sum(block.num_values for block in graph.edges.values())
    return sum(sizes.values()) + stored


def _is_settled(graph: ComputationalGraph, orders: Sequence[Order]) -> bool:
    """True if the graph is tiny, or if all simple orders cost the same: mostly because
    none costs less, as in a chain of elementwise operations."""
    tiny = len(graph.intermediates) < _MIN_LEARNED
    return tiny or len({order.cost for order in orders}) == 1


def order_cost(
    graph: ComputationalGraph, order: Iterable[int], cost: AbstractCost
) -> int:
    """The cost of an order of a graph's intermediates under a cost model."""
    return _cost_function(graph, cost)(order)


def order_or_known(
    graph: ComputationalGraph,
    vertices: Iterable[int],
    cost: AbstractCost,
    found_by: str,
    known: Order,
) -> Order:
    """An order of these vertices with its cost, or the known one if that costs no more:
    then it says what was proposed in its place."""
    order = _order(vertices, order_cost(graph, vertices, cost), cost, found_by)
    if order.cost < known.cost:
        return order
    known.found_by += f" ({found_by}: {order.cost})"
    return known


def _cost_function(
    graph: ComputationalGraph, cost: AbstractCost
) -> Callable[[Iterable[int]], int]:
    """The map from an order of the graph to its cost."""
    states = space(graph, cost)
    return lambda order: total(
        states, states.start, (states.numbers[name] for name in order)
    )
