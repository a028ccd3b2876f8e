"""The old place of `greedy`."""

from .orderings import greedy as greedy
