"""The sparsity pattern of one block, as a sum of terms.

A term is an einsum with Kronecker deltas whose positions are affine in its indices,
or tables of them: diagonals, broadcasts, reductions, permutations, slices, bands and
meshes are of one type.

- In: shapes and known coefficients. Out: patterns, and recipes for their values.
- From the ground up: `positions` (affine forms and tables, and equations between them),
  `term`, `entries` (terms that are lists), `within` (a part of a term), `containment`,
  `product`, `recipes` and `sum` (of terms), `cover` (terms for several blocks),
  `pattern`.
- Imports NumPy, for tables; no JAX.
"""
