"""Factorisations of matrices of known structure, and solves with them.

- In: the entries of a matrix (`_solve.matrix`). Out: factors, and solutions.
- A new factorisation is a file here, and a line in `_solve.select`.
"""
