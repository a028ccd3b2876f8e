"""Matrices by their entries at static positions, and the structure of these positions.

- In: the blocks of a Jacobian. Out: a `Matrix`: one array of entries, and low rank.
- Imports `_blocks`.
"""
