"""Which functions discard values whose derivatives may be infinite."""

from __future__ import annotations

from .graph import ComputationalGraph


# Primitives whose derivative may be infinite, at a pole or by overflow.
UNBOUNDED = frozenset(
    """acos acosh asin atanh cbrt div exp exp2 expm1 integer_pow log log1p log2 pow
    rsqrt sqrt tan""".split()
)


def may_discard_infinities(graph: ComputationalGraph) -> bool:
    """True if a vertex selects between vertices, and one has a derivative that may be
    infinite. The forward order then discards all infinities that `jax.jacfwd` does;
    another may multiply them by zero first, which is NaN."""
    labels = graph.labels
    return not UNBOUNDED.isdisjoint(labels) and any(
        labels[v] == "select_n" and u not in graph.independents for u, v in graph.edges
    )
