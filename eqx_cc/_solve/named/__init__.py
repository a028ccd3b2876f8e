"""Linear solvers by the name of a structure, one file a class or a few of a kind.

- In: a `lineax` operator whose matrix has that structure. Out: a solution, or an error
  that says which structure was found.
- Imports `_solve.factorisations` and `_solve.matrix`.
"""
