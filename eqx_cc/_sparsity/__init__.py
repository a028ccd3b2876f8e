"""The sparsity pattern of one block, as a sum of terms.

A term is an einsum with Kronecker deltas whose positions are affine in its indices, so
that diagonals, broadcasts, reductions, permutations, slices and bands are of one type.

- In: shapes and known coefficients. Out: patterns, and recipes of what goes where.
- From the ground up: `affine`, `term`, `recipe`, `sum`, `product`, `pattern`.
- Imports the standard library alone: no JAX, no NumPy.
"""
