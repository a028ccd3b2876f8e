"""Values that are known while tracing: indices, masks, constants.

- In: equations and the NumPy arrays of their operands. Out: those of their results.
- NumPy computes the commonest primitives, as JAX compiles each for every shape, which
  took most of a first trace; JAX computes the others.
"""
