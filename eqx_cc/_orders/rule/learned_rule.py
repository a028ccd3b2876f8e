"""The learned rule: greedy elimination by a score of local features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import equinox as eqx

from ..._graph.graph import ComputationalGraph
from ..cost import AbstractCost, as_cost
from ..orderings import AbstractOrdering
from ..state import AbstractSpace, space
from .game import Opening
from .weights import packaged_weights, RuleWeights


def _several(weights: Any) -> tuple[RuleWeights, ...] | None:
    """A user's `weights`: one set, a sequence of them, or `None` for the package's."""
    if weights is None:
        return None
    sets = (weights,) if isinstance(weights, RuleWeights) else tuple(weights)
    if not sets or not all(isinstance(each, RuleWeights) for each in sets):
        raise ValueError(
            "`weights` must be an `eqx_cc.RuleWeights`, or a sequence of at least one; "
            f"got {weights!r}."
        )
    return sets


class LearnedRule(AbstractOrdering):
    r"""Greedy: eliminates next the vertex with the least score, which is learned.

    The score is a weighted sum $w \cdot f_v$ of [local features][eqx_cc.RuleWeights] of
    the vertex: its cost, the edges that its elimination makes, how much more its
    neighbours will cost, where it is in the graph. An evolution strategy trained the
    weights, on traced programs and random graphs. Ties go to the last vertex.

    No weights are the best for all graphs. There are three sets of them, each trained
    to be good where the others are not: the rule plays with all three, and returns the
    cheapest order. For a graph of more than 500 vertices there is a set of its own.

    After an elimination, the neighbours that have become cheaper are scored again, and
    so are the vertices between the ends of a new edge. Neighbours that have become more
    expensive are scored when it is their turn. So a game takes about twice as long as
    the Markowitz rule.

    **Arguments:**

    - `weights`: [`eqx_cc.RuleWeights`][], or a sequence of them, which are all played;
        by default those that come with the package.
    - `cost`: the cost model, or its name.

    !!! Example

        ```python
        eqx_cc.filter_jacobian(fun, order=eqx_cc.LearnedRule())(x)
        ```

    ??? cite "References"

        A. Griewank and S. Reese, *On the calculation of Jacobian matrices by the
        Markowitz rule*, in Automatic Differentiation of Algorithms, SIAM, 1991.

        A. Albrecht, P. Gottschling and U. Naumann, *Markowitz-type heuristics for
        computing Jacobian matrices efficiently*, in Computational Science - ICCS 2003,
        Springer, 2003.
    """

    weights: tuple[RuleWeights, ...] | None = eqx.field(
        converter=_several, default=None, static=True
    )
    cost: AbstractCost = eqx.field(converter=as_cost, default="multiplications")

    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        return _learned_order(graph, self.weights, self.cost)


@lru_cache(maxsize=1024)
def _learned_order(
    graph: ComputationalGraph,
    weights: tuple[RuleWeights, ...] | None,
    cost: AbstractCost,
) -> tuple[int, ...]:
    states = space(graph, cost)
    order, _ = rule_order_and_cost(states, weights)
    return states.named(order)


def rule_order_and_cost(
    space: AbstractSpace, weights: Sequence[RuleWeights] | None = None
) -> tuple[tuple[int, ...], int]:
    """The cheapest order of the rule, by the vertices of the space, and its cost."""
    opening = Opening(space, space.start, space.inner)
    sets = packaged_weights(len(space.inner)) if weights is None else weights
    return min(map(opening.play, sets), key=lambda game: game[1])
