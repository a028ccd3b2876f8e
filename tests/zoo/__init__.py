"""Functions that must have the right Jacobian in every order of elimination.

A file is a family of small functions of a few operations each. Problems that are
measured as well are written once, in `benchmarks.cases`: `published` takes its tasks
from there, and `solvers` its fields of stiff equations. Random functions are in
`tests/programs.py`. What `examples/` shows is written out there, so that each example
is a page that can be read by itself; tests run them.
"""

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
    f"{family.__name__.rpartition('.')[2]}-{name}": case
    for family in _FAMILIES
    for name, case in family.CASES.items()
}
