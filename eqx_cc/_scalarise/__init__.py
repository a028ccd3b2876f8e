"""Programs of small arrays as programs of single numbers, so that entries are vertices.

In a program of arrays, a 4x4 transform with nine zeros costs as much as any 4x4 matrix.
In one of scalars, entries that are 0 or 1 are constants, and cost nothing; moving
entries about (indexing, stacking, transposing) is no equation at all.

Where a structured Jacobian is wanted, the way back is taken as well (`merge`): what is
written entry by entry becomes few equations of arrays.

- In: a `Program`. Out: a `ScalarProgram`; its Jacobian (`jacobian`), computed by one
  native call (`native`).
- Imports `_linearise`, `_orders`, `_blocks` and `_jaxpr`.
"""
