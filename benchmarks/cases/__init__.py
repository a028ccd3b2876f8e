"""The functions whose Jacobians are timed, by name."""

from . import coupled, filters, grids, kinetics, networks, published, robots
from ._case import batch_size as batch_size, Case as Case, SETTINGS as SETTINGS


CASES: dict[str, Case] = {
    case.name: case
    for module in (published, robots, kinetics, grids, networks, coupled, filters)
    for case in module.CASES
}
