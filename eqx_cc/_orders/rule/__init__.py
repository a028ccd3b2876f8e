"""The learned rule, the typed policy that the default runs.

- In: a graph and a cost model. Out: an order.
- `neighbourhoods` has the local features of vertices, `weights` what was learned, and
  `learned_rule` eliminates by their scores.
- Imports `state`, `orderings` and `cost` of `_orders`; no file imports JAX.
"""
