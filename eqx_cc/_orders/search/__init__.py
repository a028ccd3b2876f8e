"""Searches for elimination orders.

- In: a graph, a cost model and some seconds. Out: the best order, and a lower bound.
- `reductions` and `component` make the problem smaller; `annealing`, `beam` and
  `best_first` search; `lower_bounds` and `bound_partition` prove.
- Imports `state`, `chain`, `orderings`, `rule`, `baseline`, `budget`, `cost` and
  `order` of `_orders`.
"""
