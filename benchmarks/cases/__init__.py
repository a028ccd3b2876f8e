"""Problems: the functions whose Jacobians are timed, by name, are `CASES`.

`tasks` has the published functions, `stiff` the initial value problems of the solvers,
and `linearised` the loops whose work is nearly all in Jacobians.
"""

from . import (
    coupled,
    everyday,
    filters,
    grids,
    irregular,
    kinetics,
    networks,
    published,
    real_robots,
    robots,
)
from ._case import batch_size as batch_size, Case as Case, SETTINGS as SETTINGS


CASES: dict[str, Case] = {
    case.name: case
    for module in (
        published,
        robots,
        real_robots,
        kinetics,
        grids,
        networks,
        coupled,
        filters,
        irregular,
        everyday,
    )
    for case in module.CASES
}
