"""Cost models: the cost of an elimination, from the patterns of its edges."""

from __future__ import annotations

import abc
from dataclasses import replace

import equinox as eqx

from .._graph.graph import ComputationalGraph
from .._sparsity.pattern import Pattern, update


class AbstractCost(eqx.Module):
    """The cost of eliminating a vertex, as a sum over pairs of an edge into the vertex
    and an edge out of it.

    A cost model is static: two models that are equal must give equal costs.

    !!! Example

        ```python
        class Stored(eqx_cc.AbstractCost):
            def __call__(self, old, left, right):
                return left.num_values + right.num_values

        eqx_cc.Annealing(seconds=0.1, cost=Stored())(graph).cost
        ```
    """

    @abc.abstractmethod
    def __call__(self, old: Pattern | None, left: Pattern, right: Pattern) -> int:
        """**Arguments:**

        - `old`: the pattern of the edge from a predecessor to a successor of the
            vertex, before the elimination; `None` if there is none.
        - `left`: the pattern of the edge out of the vertex.
        - `right`: the pattern of the edge into it.

        **Returns:** the cost, not negative, of `old + left @ right`.
        """

    def view(self, graph: ComputationalGraph) -> ComputationalGraph:
        """The graph as the model sees it, with the same vertices and edges.

        **Arguments:**

        - `graph`: a [`eqx_cc.ComputationalGraph`][].

        **Returns:** a graph whose patterns may have less structure.
        """
        return graph

    @property
    def name(self) -> str:
        """The name of the model in reports and in the keys of the cache."""
        return repr(self)

    @property
    def counts_sums(self) -> bool:
        """True if the cost depends on `old`. Then parts of a graph that lead from the
        same input to the same output are ordered together."""
        return True


class Published(AbstractCost):
    """Multiplications as in published counts: every pair of edges is multiplied, even
    if a coefficient is known.

    A pair of scalars costs one, even if one of them is 1 or -1. A pair of arrays costs
    the number of products of two entries that are not zero by structure: a diagonal
    axis counts once, and an axis along which a value is constant (a Kronecker delta) is
    free. Additions are free.

    !!! Example

        ```python
        eqx_cc.optimise(graph, cost="published", seconds=1, progress=False).cost
        ```

    ??? cite "Reference"

        J. Lohoff and E. Neftci, *Optimizing Automatic Differentiation with Deep
        Reinforcement Learning*, Advances in Neural Information Processing Systems 37,
        2024.
    """

    def __call__(self, old: Pattern | None, left: Pattern, right: Pattern) -> int:
        return update(old, left, right).num_multiplications

    @property
    def counts_sums(self) -> bool:
        return False

    def view(self, graph: ComputationalGraph) -> ComputationalGraph:
        blocks = tuple((edge, unknown(block)) for edge, block in graph.blocks)
        return replace(graph, blocks=blocks)

    @property
    def name(self) -> str:
        return "published"


class Multiplications(AbstractCost):
    """Multiplications of two numbers that are both unknown when tracing.

    Coefficients 1, -1 and 0 are free, and so are other constants, which are multiplied
    with each other when tracing. This is the Markowitz cost of Griewank and Walther,
    without trivial multiplications.

    !!! Example

        ```python
        eqx_cc.optimise(graph, cost="multiplications", seconds=1, progress=False).cost
        ```

    ??? cite "Reference"

        A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd edition, SIAM, 2008,
        chapters 9 and 10.
    """

    def __call__(self, old: Pattern | None, left: Pattern, right: Pattern) -> int:
        return update(old, left, right).num_multiplications

    @property
    def counts_sums(self) -> bool:
        return False

    @property
    def name(self) -> str:
        return "multiplications"


class Flops(AbstractCost):
    """Floating-point operations: additions and multiplications, including those by
    constants other than 1 and -1.

    !!! Example

        ```python
        eqx_cc.optimise(graph, cost="flops", seconds=1, progress=False).cost
        ```

    ??? cite "Reference"

        A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd edition, SIAM, 2008,
        chapter 4 (the cost of additions).
    """

    def __call__(self, old: Pattern | None, left: Pattern, right: Pattern) -> int:
        new = update(old, left, right)
        return new.num_multiplications + new.num_scalings + new.num_additions

    @property
    def name(self) -> str:
        return "flops"


class Traffic(AbstractCost):
    """Bytes moved: the stored numbers of `old`, `left` and `right` are read, and those
    of the result are written. Constants are not stored.

    This bounds the elimination of large arrays, where arithmetic is far cheaper than
    memory.

    **Arguments:**

    - `itemsize`: bytes of one number. Raises a `ValueError` if it is less than 1.

    !!! Example

        ```python
        cost = eqx_cc.Traffic(itemsize=4)  # Of float32.
        eqx_cc.optimise(graph, cost=cost, seconds=1, progress=False).cost
        ```

    ??? cite "Reference"

        S. Williams, A. Waterman and D. Patterson, *Roofline: An Insightful Visual
        Performance Model for Multicore Architectures*, Communications of the ACM 52,
        2009.
    """

    itemsize: int = 8

    def __check_init__(self):
        if not self.itemsize >= 1:
            raise ValueError(f"`itemsize` must be at least 1; got {self.itemsize}.")

    def __call__(self, old: Pattern | None, left: Pattern, right: Pattern) -> int:
        new = update(old, left, right).pattern
        read = left.num_values + right.num_values
        if old is not None:
            read += old.num_values
        return self.itemsize * (read + new.num_values)

    @property
    def name(self) -> str:
        return "traffic" if self.itemsize == 8 else f"traffic-{self.itemsize}"


def unknown(pattern: Pattern) -> Pattern:
    """The pattern with unknown coefficients, and without masks."""
    terms = (
        replace(term, value=term.value or (), scale=1, kind="value")
        for term in pattern.terms
    )
    return replace(pattern, terms=tuple(terms))


_NAMED = {
    "published": Published,
    "multiplications": Multiplications,
    "flops": Flops,
    "traffic": Traffic,
}


def as_cost(cost: str | AbstractCost) -> AbstractCost:
    """The cost model of a user's `cost` argument."""
    if isinstance(cost, AbstractCost):
        return cost
    if isinstance(cost, str) and cost in _NAMED:
        return _NAMED[cost]()
    raise ValueError(
        f"`cost` must be one of {', '.join(map(repr, _NAMED))}, or an "
        f"`eqx_cc.AbstractCost`; got {cost!r}."
    )
