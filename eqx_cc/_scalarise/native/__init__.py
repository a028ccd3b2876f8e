"""Programs of scalars as one call that XLA compiles to one native function.

On CPU, XLA runs a compiled program operation by operation; where these are of single
numbers, starting them takes nearly all of the time. An attribute of a call, which XLA
uses for its own small loops, has the whole call compiled as one function.

A program (`call`) loses its common subexpressions (`cse`), is cut into `stages`, and is
written as calls (`emit`); a `batch` is a loop over blocks. Loops over numbers
(`function`, `loops`, `inverse`) take the same primitive (`lowering`).

- In: a jaxpr of scalars, and the `layout` of results. Out: arrays.
- Imports `_jaxpr`.
"""
