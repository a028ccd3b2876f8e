"""Costs of graphs by policies and by simple orderings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from ..._graph.graph import ComputationalGraph
from ..._orders.baseline import order_cost
from ..._orders.cost import AbstractCost
from ..._orders.orderings import greedy_order
from .._game.policy import AbstractPolicy
from .._rule import RulePolicy
from .._training.train import game_costs


Graphs = Sequence[ComputationalGraph]
Costs = Float[np.ndarray, " graphs"]
Ordering = Callable[[ComputationalGraph], Sequence[int]]


def ordering_costs(ordering: Ordering, graphs: Graphs, cost: AbstractCost) -> Costs:
    """The cost of each graph in the order that an ordering gives."""
    views = [cost.view(graph) for graph in graphs]
    return np.asarray([order_cost(v, ordering(v), cost) for v in views], float)


def markowitz_costs(graphs: Graphs, cost: AbstractCost) -> Costs:
    """The cost of each graph by the greedy Markowitz rule."""
    return ordering_costs(lambda graph: greedy_order(graph, cost), graphs, cost)


def policy_costs(policy: AbstractPolicy, graphs: Graphs, cost: AbstractCost) -> Costs:
    """The cost of each graph if the policy's first choice is always taken. A rule plays
    in plain Python, as it does where it is used."""
    if isinstance(policy, RulePolicy):
        return ordering_costs(policy.ordering(cost), graphs, cost)
    return game_costs(policy, graphs, cost)


def ratios(costs: Costs, markowitz: Costs) -> Costs:
    """Costs over those of Markowitz; 0 where both are zero."""
    return costs / np.maximum(markowitz, 1)
