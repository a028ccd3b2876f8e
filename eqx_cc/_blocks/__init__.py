"""Blocks: patterns with their values.

- In: arrays, and the recipes of `_sparsity`. Out: products (`multiply`), sums (`add`),
  dense arrays (`scatter`), and `Partial`, the block that users see.
- Imports `_sparsity` and JAX.
"""
