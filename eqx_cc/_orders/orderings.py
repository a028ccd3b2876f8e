"""Elimination orders: forward, reverse, greedy ones, given."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from functools import lru_cache

import equinox as eqx

from .._graph.graph import ComputationalGraph
from .._sparsity.pattern import Pattern, update
from .cost import AbstractCost, Multiplications
from .greedy import greedy
from .state import space


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
        eqx_cc.Forward()(graph)  # Or `order="forward"`.
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
        eqx_cc.Reverse()(graph)  # Or `order="reverse"`.
        ```

    ??? cite "Reference"

        A. Griewank and A. Walther. *Evaluating Derivatives: Principles and Techniques
        of Algorithmic Differentiation*, chapters 3 and 9. SIAM, 2nd edition, 2008.
    """

    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        return graph.intermediates[::-1]


class MinimalMarkowitz(AbstractOrdering):
    """Eliminates a vertex that takes the fewest multiplications next: greedy.

    For scalars with unknown partials that number is the Markowitz degree, the number
    of predecessors times the number of successors. Ties go to the last vertex.

    !!! Example

        ```python
        eqx_cc.MinimalMarkowitz()(graph)  # Or `order="markowitz"`.
        ```

    ??? cite "Reference"

        Griewank and Reese, *On the calculation of Jacobian matrices by the Markowitz
        rule*, in Automatic Differentiation of Algorithms, SIAM, 1991.
    """

    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        return greedy_order(graph, Multiplications())


@lru_cache(maxsize=1024)
def greedy_order(graph: ComputationalGraph, cost: AbstractCost) -> tuple[int, ...]:
    own = space(graph, cost)
    order = greedy(own, own.start, own.inner)
    return tuple(name for vertex in order for name in own.names(vertex))


class MinimalFill(AbstractOrdering):
    """Eliminates a vertex whose elimination makes the fewest numbers next: greedy.

    It goes around what is narrow: of a chain of matrix products, the widest vertex is
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
        return greedy_order(graph, _Made())


class _Made(AbstractCost):
    """The numbers that the blocks made by an elimination store."""

    def __call__(self, old: Pattern | None, left: Pattern, right: Pattern) -> int:
        return update(old, left, right).pattern.num_values


class Given(AbstractOrdering):
    """Eliminates in a given order.

    **Arguments:**

    - `order`: a permutation of the graph's intermediates, by their numbers (as
        [`eqx_cc.explain`][] shows them).

    It raises a `ValueError` for a graph of which this is no permutation.

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
    """The order that an ordering chooses, if it is one: see `check_order`."""
    order = tuple(ordering(graph))
    check_order(graph, order)
    return order


def check_order(graph: ComputationalGraph, order: tuple[int, ...]) -> None:
    """Raises a `ValueError` unless `order` is a permutation of the intermediates."""
    wrong = _misfits(graph, order)
    if wrong:
        count = len(graph.intermediates)
        raise ValueError(
            f"`order` must be a permutation of the {count} intermediate vertices"
            f"{_some(graph.intermediates)}; got {len(order)} numbers, of which "
            + "; ".join(f"{what}: {_listed(which)}" for what, which in wrong)
            + ". `eqx_cc.explain` lists the vertices."
        )


def _misfits(graph, order) -> list[tuple[str, list[int]]]:
    inner, given = set(graph.intermediates), set(order)
    ends = set(graph.independents), set(graph.dependents)
    other = given - inner - ends[0] - ends[1]
    kinds = {
        f"inputs (there are {len(ends[0])})": given & ends[0],
        f"outputs (there are {len(ends[1])})": given & ends[1] - ends[0],
        "no vertices on a path from an input to an output": other,
        "repeated": {v for v in given if order.count(v) > 1},
        "missing": inner - given,
    }
    return [(what, sorted(which)) for what, which in kinds.items() if which]


def _listed(vertices: Sequence[int], most: int = 10) -> str:
    shown = ", ".join(map(str, vertices[:most]))
    return shown + (f", ... ({len(vertices)} in all)" if len(vertices) > most else "")


def _some(vertices: Sequence[int]) -> str:
    return f" ({_listed(vertices)})" if vertices else ""
