"""Programs: jaxprs as flat lists of equations.

- In: functions and what JAX traces of them. Out: `Program`, evaluated equation by
  equation; fingerprints; the table of what is known of each primitive (`primitives`).
- `releases` has all that differs between the supported releases of JAX.
- Imports JAX alone.
"""
