"""Sweeps of JAX that are compressed by a colouring of the pattern (`sweeps`), and the
colouring, by rustworkx (`colouring`)."""
