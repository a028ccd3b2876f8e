"""Programs of scalars as one call that XLA compiles to one native function.

On CPU, XLA runs a compiled program operation by operation; where these are of single
numbers, starting them takes nearly all of the time. An attribute of a call, which XLA
uses for its own small loops, has the whole call compiled as one function.

- In: a jaxpr of scalars, and how results are put together. Out: arrays.
- Imports `_jaxpr`.
"""
