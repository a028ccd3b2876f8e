"""Programs: jaxprs as flat lists of equations.

- In: functions and what JAX traces of them. Out: `Program`, evaluated equation by
  equation; fingerprints; the table of the properties of primitives (`primitives`).
- `releases` has all that differs between the supported releases of JAX.
- Imports JAX and NumPy, and no other folder.
"""
