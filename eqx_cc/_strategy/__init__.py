"""The method by which a Jacobian is accumulated.

- In: a function of arrays (`jacobian_blocks`). Out: its value and the blocks of its
  Jacobian.
- `methods` has the candidates: one sweep of JAX's own, elimination of arrays, or of
  scalars. `select` takes one by the model of `time_model`, or the one that `autotune`
  found to be the fastest.
- Outside of `jax.jit`, `compile_once` keeps compiled Jacobians by their programs.
- A function that cannot be traced is left to `eager`. `structured` results skip the
  choice, as they are those of elimination of arrays.
- A new method is a class in `methods`, a row of `autotune.candidates`, and a branch of
  `select` if it can be the default.
- Imports `_scalarise`, `_linearise`, `_orders`, `_rules`, `_blocks`, `_sparsity` and
  `_jaxpr`.
"""
