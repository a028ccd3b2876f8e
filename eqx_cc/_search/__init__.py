"""Searches for elimination orders."""

from ._orderings import (
    Annealing as Annealing,
    BeamSearch as BeamSearch,
    Exact as Exact,
    RandomisedMarkowitz as RandomisedMarkowitz,
)
from ._search import (
    AbstractSearch as AbstractSearch,
    as_seconds as as_seconds,
    baseline as baseline,
    order_cost as order_cost,
    Progress as Progress,
    Report as Report,
)
