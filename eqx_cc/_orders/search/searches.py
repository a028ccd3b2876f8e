"""The public searches."""

from __future__ import annotations

import equinox as eqx

from ..._graph.graph import ComputationalGraph
from ..cost import AbstractCost, as_cost
from .annealing import anneal, blurred_greedy
from .base import AbstractSearch
from .beam import beam
from .best_first import solve
from .bound_partition import find_blocks, take_blocks
from .component import Part


_MAX_UNANNEALED = 12  # `solve` needs no better start for so few vertices.
_MAX_BLOCK = 20  # All subsets of a block are tabulated.


class RandomisedMarkowitz(AbstractSearch):
    """The Markowitz rule, repeated with random ties and with random noise on the costs.

    **Arguments:**

    - `seconds`, `seed`: the time limit, and the seed of its random choices.
    - `cost`: a cost model, or its name.
    - `noise`: costs are multiplied by a random number between 1 and 1 + `noise`.

    !!! Example

        ```python
        print(eqx_cc.RandomisedMarkowitz(seconds=0.1)(graph).cost)
        ```

        ```text
        3
        ```

    ??? cite "Reference"

        A. Griewank and S. Reese, *On the calculation of Jacobian matrices by the
        Markowitz rule*, in Automatic Differentiation of Algorithms, SIAM, 1991.
    """

    seconds: float = 1.0
    seed: int = 0
    cost: AbstractCost = eqx.field(converter=as_cost, default="multiplications")
    noise: float = 0.5

    def __check_init__(self):
        if not self.noise >= 0:
            raise ValueError(f"`noise` must not be negative; got {self.noise}.")

    def _improve(self, part: Part) -> None:
        blurred_greedy(part, self.noise)


class Annealing(AbstractSearch):
    """Simulated annealing. Vertices and blocks of vertices move to other positions in
    the order. Moves that raise the cost become rarer as the temperature falls. The
    search restarts from the best, forward, reverse and greedy orders until the time is
    up.

    **Arguments:**

    - `seconds`, `seed`: the time limit, and the seed of its random choices.
    - `cost`: a cost model, or its name.

    !!! Example

        ```python
        print(eqx_cc.Annealing(seconds=2)(graph).cost)
        eqx_cc.filter_jacobian(fun, order=eqx_cc.Annealing(seconds=2))(x)
        ```

        ```text
        3
        ```

    ??? cite "References"

        S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi, *Optimization by Simulated
        Annealing*, Science 220, 1983.

        U. Naumann and P. Gottschling, *Simulated Annealing for Optimal Pivot Selection
        in Jacobian Accumulation*, in Stochastic Algorithms: Foundations and
        Applications, Springer, 2003.
    """

    seconds: float = 10.0
    seed: int = 0
    cost: AbstractCost = eqx.field(converter=as_cost, default="multiplications")

    def _improve(self, part: Part) -> None:
        anneal(part)


class BeamSearch(AbstractSearch):
    """Beam search: keeps the few best beginnings of an order at every depth. While
    there is time, it repeats the search with a beam twice as wide.

    **Arguments:**

    - `seconds`, `seed`: the time limit, and the seed of its random choices.
    - `cost`: a cost model, or its name.
    - `width`: the number of beginnings that the first search keeps.
    - `branching`: the number of vertices, the cheapest ones, that may follow each
        beginning.

    !!! Example

        ```python
        print(eqx_cc.BeamSearch(seconds=1, width=16)(graph).cost)
        ```

        ```text
        3
        ```

    ??? cite "Reference"

        B. T. Lowerre. *The Harpy Speech Recognition System*. PhD thesis, Carnegie
        Mellon University, 1976.
    """

    seconds: float = 10.0
    seed: int = 0
    cost: AbstractCost = eqx.field(converter=as_cost, default="multiplications")
    width: int = 8
    branching: int = 8

    def __check_init__(self):
        if not (self.width >= 1 and self.branching >= 1):
            raise ValueError(
                "`width` and `branching` must be at least 1; got "
                f"{self.width} and {self.branching}."
            )

    def _improve(self, part: Part) -> None:
        width = self.width
        while not part.finished:
            beam(part, width, self.branching)
            width *= 2


class Exact(AbstractSearch):
    r"""Searches for the best order, with a proof that it is the best.

    For graphs of scalars with unknown coefficients, minimum cuts give lower bounds on
    the cost of blocks of vertices, and the bounds of disjoint blocks add up. Annealing
    over partitions into blocks raises them. Often they prove that the order from
    annealing is the best. If not, the sets of eliminated vertices are searched, best
    first, with the blocks as a bound. Other graphs are searched without a bound.

    If time (or memory) runs out, the best order so far is returned, with the
    `lower_bound` that was reached; see `optimal` of [`eqx_cc.Order`][].

    **Arguments:**

    - `seconds`, `seed`: the time limit, and the seed of its random choices.
    - `cost`: a cost model, or its name.
    - `blocks`: disjoint tuples of vertices that certify the lower bound. They are
        searched for if none are given. Raises a `ValueError` if a block has more than
        20 vertices, or if blocks overlap.

    !!! Example

        ```python
        order = eqx_cc.Exact(seconds=5)(graph)
        print(order.cost, order.lower_bound, order.optimal)
        ```

        ```text
        3 3 True
        ```

    ??? cite "References"

        U. Naumann, *Optimal Jacobian accumulation is NP-complete*, Mathematical
        Programming 112, 2008.

        J. Chen, P. Hovland, T. Munson and J. Utke, *An Integer Programming Approach to
        Optimal Derivative Accumulation*, in Recent Advances in Algorithmic
        Differentiation, Springer, 2012.

        M. Bentert, A. Crane, P. G. Drange, Y. Mizutani and B. D. Sullivan, *Structural
        Optimal Jacobian Accumulation and Minimum Edge Count are NP-Complete Under
        Vertex Elimination*, arXiv:2506.17521, 2025.

        A. Crane, A. Lyons, B. D. Sullivan et al., *A Comprehensive Evaluation of Vertex
        Elimination Algorithms for Algorithmic Differentiation*, arXiv:2605.24280, 2026.
    """

    seconds: float = 60.0
    seed: int = 0
    cost: AbstractCost = eqx.field(converter=as_cost, default="multiplications")
    blocks: tuple[tuple[int, ...], ...] = ()

    def _check(self, graph: ComputationalGraph) -> None:
        vertices = {vertex for block in self.blocks for vertex in block}
        if others := sorted(vertices - {*graph.intermediates}):
            raise ValueError(
                f"`blocks` must have intermediate vertices of the graph; got {others}."
            )

    def __check_init__(self):
        vertices = [vertex for block in self.blocks for vertex in block]
        if len(set(vertices)) < len(vertices):
            raise ValueError(f"`blocks` must be disjoint; got {self.blocks}.")
        if any(len(block) > _MAX_BLOCK for block in self.blocks):
            raise ValueError(
                f"`blocks` must have at most {_MAX_BLOCK} vertices each, as all "
                f"of their subsets are tabulated; got {max(map(len, self.blocks))}."
            )

    def _improve(self, part: Part) -> None:
        if self.blocks and part.cuts is not None:
            take_blocks(part, map(part.cuts.numbers, self.blocks))
        if len(part.vertices) > _MAX_UNANNEALED:
            with part.within(0.2):
                anneal(part)
            if not self.blocks and part.cuts is not None:
                with part.within(0.5):
                    find_blocks(part)
        solve(part)
