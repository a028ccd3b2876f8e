"""Options of the transforms that contradict each other."""

from __future__ import annotations

from .._orders.lookup import Automatic, Measured
from .._orders.orderings import AbstractOrdering, Forward, Reverse
from .._strategy.granularity import Granularity


def check_options(
    order: AbstractOrdering,
    granularity: Granularity,
    structured: bool,
    chunk_size: int | None,
) -> None:
    """Refuses options that contradict each other."""
    if structured:
        _check_structured(order, granularity)
    if chunk_size is None:
        return
    if isinstance(chunk_size, bool) or not isinstance(chunk_size, int):
        raise TypeError(f"`chunk_size` must be an integer; got {chunk_size!r}.")
    if chunk_size < 1:
        raise ValueError(f"`chunk_size` must be at least 1; got {chunk_size}.")
    if structured:
        raise ValueError(
            "`chunk_size` is for dense Jacobians: the blocks of `structured=True` are "
            "not computed by rows or columns. Leave one of them out."
        )
    if granularity == "scalar" or not isinstance(order, Automatic | Forward | Reverse):
        raise ValueError(
            "With `chunk_size`, rows or columns are computed by sweeps of JAX: `order` "
            'must be "auto", "forward" or "reverse", and `granularity` "auto" or '
            '"array".'
        )


def _check_structured(order: AbstractOrdering, granularity: Granularity) -> None:
    """Refuses options that are for dense Jacobians alone."""
    if granularity == "scalar":
        raise ValueError(
            '`granularity="scalar"` has no structure for `structured=True` to return. '
            'Use `granularity="auto"` or `"array"`.'
        )
    if isinstance(order, Measured):
        raise ValueError(
            '`order="measured"` compares methods for a dense Jacobian, which '
            "`structured=True` does not return. Leave one of them out."
        )
