"""Local partials of linear primitives, by mathematical class.

A new primitive is a row of `_jaxpr.primitives` and a rule here: `elementwise`, `layout`
(what moves entries), `indexing`, `selection` (gather and scatter), `contraction`,
`sparse` (matrices that list their entries), `windows` (that slide over an array),
`pooling` (what selects an element of each of these).

- In: the operands of one linear equation. Out: a pattern for each pair of operand and
  result, and how its values are read off the operands.
- Without a rule, `fallback` has the exact dense block.
- Imports `_sparsity`, `_blocks` and `_jaxpr`.
"""

from . import (
    contraction,
    elementwise,
    indexing,
    layout,
    pooling,
    selection,
    sparse,
    windows,
)
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
    "pooling",
    "register_rule",
    "registry_version",
    "rules",
    "selection",
    "sparse",
    "windows",
]
