"""Computational graphs, and plans that eliminate their vertices.

- In: a pattern for every edge, and an order. Out: the plan, that is the blocks to
  multiply and add (`elimination`), and those to leave as factors (`low_rank`).
- Imports `_sparsity`: a plan needs no numbers.
"""
