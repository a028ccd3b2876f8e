"""The public functions: PyTrees in, PyTrees out, and every check of what users pass.

- In: functions and their arguments, as users have them. Out: Jacobians, and reports.
- `jacobian` has the transforms, `explain` and `plot` show what they do, `optimise`
  searches for orders, and `check` compares with JAX and finite differences.
- Imports `_strategy` and what is below it.
"""
