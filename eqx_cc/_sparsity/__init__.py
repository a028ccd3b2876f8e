"""The sparsity pattern of one block, as a sum of terms.

A term is an einsum with Kronecker deltas whose positions are affine in its indices, so
that diagonals, broadcasts, reductions, permutations, slices and bands are of one type.

- In: shapes and known coefficients. Out: patterns, and recipes for their values.
- From the ground up: `affine` (positions and equations between them), `term`, `product`
  and `sum` (of terms), `cover` (terms for several blocks), `pattern`.
- Imports the standard library alone: no JAX, no NumPy.
"""
