"""Local partials of linear primitives, by mathematical class."""

from . import contraction, elementwise, indexing, layout, selection
from ._registry import (
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
    "contraction",
    "elementwise",
    "indexing",
    "layout",
    "linear_rule",
    "Operand",
    "register_rule",
    "registry_version",
    "rules",
    "selection",
]
