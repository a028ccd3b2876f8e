"""Local partials of linear primitives, by mathematical class."""

from . import contraction, elementwise, indexing, layout, selection
from ._registry import Block, linear_rule, Operand, register_rule, rules


__all__ = [
    "Block",
    "contraction",
    "elementwise",
    "indexing",
    "layout",
    "linear_rule",
    "Operand",
    "register_rule",
    "rules",
    "selection",
]
