"""Loops and what they carry.

`body` is the body with its Jacobian, `loop` what all loops have in common, `reach` the
entries that iterations reach, `carried` what is carried; each primitive has a module.
"""
