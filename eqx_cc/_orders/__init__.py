"""Elimination orders: what they cost, how they are chosen, and where they are kept.

- In: a graph and a cost model. Out: an `Order`.
- `orderings` has those of a rule, `search` those that take time, `cache` those that
  were found before, and `lookup` the default, which asks the cache first.
- Imports `_graph` and `_sparsity`; JAX nowhere.
"""
