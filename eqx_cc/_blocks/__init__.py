"""Blocks: patterns with their values.

- In: arrays, and the recipes of `_sparsity`. Out: products (`multiply`), sums (`add`),
  dense arrays (`scatter`), dense blocks of linear maps (`unit_vectors`), `NumericBlock`
  for elimination, and `Partial`, the block that users see.
- Imports `_sparsity`, `_jaxpr` and JAX.
"""
