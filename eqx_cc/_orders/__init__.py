"""Elimination orders: their cost, their choice, and where they are stored.

- In: a graph and a cost model. Out: an `Order`.
- `orderings` has the rules that need no search, `baseline` the best of them, `search`
  those that take time, `cache` the stored orders, and `lookup` the default, which asks
  the cache first. `state` eliminates vertices, many times and fast.
- Imports `_graph` and `_sparsity`; no file imports JAX.
"""
