"""Orderings that need no search: forward, reverse, greedy, and given orders."""

from __future__ import annotations

import abc
import heapq
from collections.abc import Callable, Sequence
from functools import lru_cache

import equinox as eqx

from .._graph.graph import ComputationalGraph
from .._sparsity.pattern import Pattern, update
from .cost import AbstractCost, Multiplications
from .state import AbstractSpace, space, State


# Vertices that an error message lists.
_MAX_LISTED = 10


class AbstractOrdering(eqx.Module):
    """Chooses the order in which the intermediates of a graph are eliminated.

    Every order gives the same Jacobian (up to rounding); they differ in cost.

    !!! Example

        ```python
        class Odd(eqx_cc.AbstractOrdering):
            def __call__(self, graph):
                inner = graph.intermediates
                return inner[1::2] + inner[::2]

        eqx_cc.filter_jacobian(fun, order=Odd())(x)
        ```
    """

    @abc.abstractmethod
    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        """**Arguments:**

        - `graph`: a [`eqx_cc.ComputationalGraph`][].

        **Returns:** a permutation of `graph.intermediates`.
        """


class Forward(AbstractOrdering):
    """Eliminates from the inputs to the outputs: forward accumulation.

    !!! Example

        ```python
        print(eqx_cc.Forward()(graph))  # Or `order="forward"`.
        ```

        ```text
        (1, 2)
        ```

    ??? cite "Reference"

        A. Griewank and A. Walther. *Evaluating Derivatives: Principles and Techniques
        of Algorithmic Differentiation*, chapters 3 and 9. SIAM, 2nd edition, 2008.
    """

    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        return graph.intermediates


class Reverse(AbstractOrdering):
    """Eliminates from the outputs to the inputs: reverse accumulation.

    !!! Example

        ```python
        print(eqx_cc.Reverse()(graph))  # Or `order="reverse"`.
        ```

        ```text
        (2, 1)
        ```

    ??? cite "Reference"

        A. Griewank and A. Walther. *Evaluating Derivatives: Principles and Techniques
        of Algorithmic Differentiation*, chapters 3 and 9. SIAM, 2nd edition, 2008.
    """

    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        return graph.intermediates[::-1]


class MinimalMarkowitz(AbstractOrdering):
    """Greedy: eliminates next the vertex that takes the fewest multiplications.

    For scalars with unknown partials this is the Markowitz degree, the number of
    predecessors times the number of successors. Ties go to the last vertex.

    !!! Example

        ```python
        print(eqx_cc.MinimalMarkowitz()(graph))  # Or `order="markowitz"`.
        ```

        ```text
        (2, 1)
        ```

    ??? cite "Reference"

        Griewank and Reese, *On the calculation of Jacobian matrices by the Markowitz
        rule*, in Automatic Differentiation of Algorithms, SIAM, 1991.
    """

    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        return greedy_order(graph, Multiplications())


class MinimalFill(AbstractOrdering):
    """Greedy: eliminates next the vertex whose elimination stores the fewest numbers.

    Narrow vertices stay longest: of a chain of matrix products, the widest vertex is
    eliminated first, while `MinimalMarkowitz` takes the narrowest. For scalars the two
    are the same. Ties go to the last vertex.

    !!! Example

        ```python
        eqx_cc.filter_jacobian(fun, order=eqx_cc.MinimalFill())(x)
        ```

    ??? cite "Reference"

        F. Y. Chin, *An O(n) algorithm for determining a near-optimal computation order
        of matrix chain products*, Communications of the ACM 21, 1978.
    """

    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        return greedy_order(graph, _FillIn())


class _FillIn(AbstractCost):
    """The numbers stored by the blocks that an elimination writes."""

    def __call__(self, old: Pattern | None, left: Pattern, right: Pattern) -> int:
        return update(old, left, right).pattern.num_values


@lru_cache(maxsize=1024)
def greedy_order(graph: ComputationalGraph, cost: AbstractCost) -> tuple[int, ...]:
    """The order of `greedy` for a whole graph."""
    states = space(graph, cost)
    order = greedy(states, states.start, states.inner)
    return states.named(order)


def greedy(
    space: AbstractSpace,
    start: State,
    vertices: Sequence[int],
    preference: Callable[[int], float] = lambda vertex: -vertex,
    slack: Callable[[], float] = lambda: 1.0,
) -> tuple[int, ...]:
    """The Markowitz rule: eliminates a vertex of least cost next.

    Ties go to the least `preference` (the last vertex by default). Each cost is
    multiplied by `slack()` when it is computed.
    """

    def key(vertex):
        return space.cost(state, vertex) * slack(), preference(vertex)

    state, order = start, []
    keys = {vertex: key(vertex) for vertex in vertices}
    queue = [(vertex_key, vertex) for vertex, vertex_key in keys.items()]
    heapq.heapify(queue)
    while queue:
        popped, vertex = heapq.heappop(queue)
        if keys.get(vertex) != popped:  # An old entry: the cost has changed since.
            continue
        del keys[vertex]
        touched = *space.predecessors(state, vertex), *space.successors(state, vertex)
        _, state = space.eliminate(state, vertex)
        order.append(vertex)
        for other in touched:
            if other in keys:
                keys[other] = key(other)
                heapq.heappush(queue, (keys[other], other))
    return tuple(order)


class Given(AbstractOrdering):
    """Eliminates in a given order.

    **Arguments:**

    - `order`: a permutation of the graph's intermediates, by their numbers (as
        [`eqx_cc.explain`][] shows them).

    Raises a `ValueError` if the order is not a permutation of a graph's intermediates.

    !!! Example

        ```python
        order = eqx_cc.explain(fun, x).order
        eqx_cc.filter_jacobian(fun, order=eqx_cc.Given(order))(x)  # Or `order=order`.
        ```
    """

    order: tuple[int, ...] = eqx.field(converter=tuple, static=True)

    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        check_order(graph, self.order)
        return self.order


def checked_order(
    graph: ComputationalGraph, ordering: AbstractOrdering
) -> tuple[int, ...]:
    """The order that an ordering chooses, after `check_order`."""
    order = tuple(ordering(graph))
    check_order(graph, order)
    return order


def check_order(graph: ComputationalGraph, order: tuple[int, ...]) -> None:
    """Raises a `ValueError` unless `order` is a permutation of the intermediates."""
    if len(order) == len(graph.intermediates) and set(order) == {*graph.intermediates}:
        return
    count = len(graph.intermediates)
    listed = f" ({_listed(graph.intermediates)})" if count else ""
    misfits = _misfits(graph, order).items()
    kinds = [f"{kind}: {_listed(sorted(v))}" for kind, v in misfits if v]
    raise ValueError(
        f"`order` must be a permutation of the {count} intermediate vertices{listed}; "
        f"got {len(order)} numbers, of which {'; '.join(kinds)}. "
        "`eqx_cc.explain` lists the vertices."
    )


def _misfits(graph: ComputationalGraph, order: tuple[int, ...]) -> dict[str, set[int]]:
    """The vertices that keep an order from being a permutation, by kind."""
    inner, ordered = set(graph.intermediates), set(order)
    inputs, outputs = set(graph.independents), set(graph.dependents)
    others = ordered - inner - inputs - outputs
    return {
        f"inputs (there are {len(inputs)})": ordered & inputs,
        f"outputs (there are {len(outputs)})": ordered & outputs - inputs,
        "no vertices on a path from an input to an output": others,
        "repeated": {v for v in ordered if order.count(v) > 1},
        "missing": inner - ordered,
    }


def _listed(vertices: Sequence[int]) -> str:
    """The first vertices, and the number of all if there are more."""
    shown, count = ", ".join(map(str, vertices[:_MAX_LISTED])), len(vertices)
    return shown + (f", ... ({count} in all)" if count > _MAX_LISTED else "")
