"""Computational graphs, and the plan of eliminating their vertices.

- In: a pattern for every edge, and an order. Out: the plan, which says which blocks are
  multiplied and added (`elimination`), and which are left as factors (`low_rank`).
- Imports `_sparsity`: a plan is made before any number is there.
"""
