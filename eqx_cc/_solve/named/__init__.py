"""Linear solvers for a named structure, one file for each.

- In: a `lineax` operator whose matrix has that structure. Out: a solution, or an error
  that says which structure was found.
- Imports `_solve.direct`, `_solve.factorisations` and `_solve.matrix`.
"""
