"""The learned rule, the typed policy that the default runs.

- In: a graph and a cost model. Out: an order.
- `neighbourhoods` has the local features of vertices, `weights` those of their scores,
  `game` eliminates by the scores, and `learned_rule` takes the cheapest of some games.
- Imports `state`, `orderings` and `cost` of `_orders`; no file imports JAX.
"""
