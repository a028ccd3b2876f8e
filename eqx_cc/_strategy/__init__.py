"""The method by which a Jacobian is accumulated.

- In: a function of arrays (`jacobian_blocks`). Out: its value and the blocks of its
  Jacobian.
- `methods` has the candidates: one sweep of JAX's own, elimination of arrays, or of
  entries. `select` takes one by the model of `time_model`, or the one that `autotune`
  found to be the fastest.
- Imports `_scalarise`, `_linearise`, `_orders` and `_blocks`.
"""
