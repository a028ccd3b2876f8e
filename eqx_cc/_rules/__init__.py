"""Local partials of linear primitives, by mathematical class.

A new primitive is a row of `_jaxpr.primitives` and a rule here: `elementwise`, `layout`
(what moves entries), `indexing`, `selection` (gather and scatter), `contraction`,
`sparse` (matrices that list their entries), `windows` (that slide over an array).

- In: the operands of one linear equation. Out: a pattern for each pair of operand and
  result, and how its values are read off the operands.
- Without a rule, `fallback` has the exact dense block.
- Imports `_sparsity`, `_blocks` and `_jaxpr`.
"""

from . import contraction, elementwise, indexing, layout, selection, sparse, windows
from .registry import (
    Block,
    BlockBuilder,
    linear_rule,
    Operand,
    register_rule,
    registry_version,
    rules,
)


__all__ = [
    "Block",
    "BlockBuilder",
    "Operand",
    "contraction",
    "elementwise",
    "indexing",
    "layout",
    "linear_rule",
    "register_rule",
    "registry_version",
    "rules",
    "selection",
    "sparse",
    "windows",
]
