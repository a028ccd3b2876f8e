"""Factorisations of matrices of known structure, and solves with them.

- In: the entries of a matrix (`_solve.matrix`). Out: factors, and solutions.
- A new factorisation is a class in a file here, and a line in the table of
  `_solve.select`.
"""
