"""Elimination orders: their cost, their choice, and where they are stored.

- In: a graph and a cost model. Out: an `Order`.
- `orderings` has the rules that need no search, `rule` one with learned weights,
  `baseline` the best of them after a few moves (`refine`), and `search` those that take
  time. `cache` has the stored orders, and `lookup` the default, which asks the cache
  first. `state` eliminates vertices, and `chain` moves them in an order.
- Imports `_graph` and `_sparsity`; no file imports JAX.
"""
