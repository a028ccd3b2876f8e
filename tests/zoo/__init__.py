"""Functions that must have the right Jacobian in every order of elimination."""

from . import (
    control_flow,
    elementwise,
    indexing,
    layers,
    linalg,
    published,
    reductions,
    rules,
    shapes,
    solvers,
    special,
    traps,
    windows,
)
from ._case import Case as Case


_FAMILIES = (
    elementwise,
    special,
    shapes,
    indexing,
    reductions,
    linalg,
    windows,
    control_flow,
    rules,
    layers,
    solvers,
    traps,
    published,
)

ZOO: dict[str, Case] = {
    f"{family.__name__.rpartition('.')[2]}-{name}": each
    for family in _FAMILIES
    for name, each in family.CASES.items()
}
