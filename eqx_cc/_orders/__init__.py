"""Elimination orders: their cost, their choice, and where they are stored.

- In: a graph and a cost model. Out: an `Order`.
- `orderings` has the rules that need no search, `learned_rule` one with learned
  weights, `baseline` the best of them, and `search` those that take time. `cache` has
  the stored orders, and `lookup` the default, which asks the cache first. `state`
  eliminates vertices, many times and fast.
- Imports `_graph` and `_sparsity`; no file imports JAX.
"""
