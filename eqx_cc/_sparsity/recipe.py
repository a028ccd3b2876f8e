"""Old place of the recipes in `sum`."""

from .sum import (
    Embedding as Embedding,
    Group as Group,
    Sum as Sum,
    Tiling as Tiling,
)
