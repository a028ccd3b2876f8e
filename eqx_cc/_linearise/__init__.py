"""From a program at a point to its outputs and its linearised computational graph.

- In: a `Program` and its inputs. Out: the graph, and the values of its local partials.
- `interpreter` walks through the equations; `equation` asks JAX for the linearisation
  of one and eliminates the inside of it; `loops` and `cond` eliminate bodies once.
- Imports `_rules`, `_orders`, `_graph`, `_blocks`, `_sparsity` and `_jaxpr`.
"""
