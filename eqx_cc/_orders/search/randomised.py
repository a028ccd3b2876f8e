"""The Markowitz rule again and again, a little different each time."""

from __future__ import annotations

from ..greedy import greedy
from .component import Part


def blurred_greedy(part: Part, noise: float = 0.5) -> None:
    """Offers greedy orders with ties broken in several ways, and then with costs that
    are blurred at random as well, until the part is finished."""
    own, rng = part.space, part.rng

    def degree(vertex: int) -> int:
        before = own.predecessors(part.start, vertex)
        return len([*before, *own.successors(part.start, vertex)])

    ties = (lambda v: v, degree, lambda v: -degree(v), lambda v: rng.random())
    for tie in ties:
        if part.finished:
            return
        part.offer(greedy(own, part.start, part.vertices, tie))
    while not part.finished:
        most = noise * rng.random()
        tie, blur = rng.choice(ties), lambda most=most: 1 + most * rng.random()
        part.offer(greedy(own, part.start, part.vertices, tie, blur))
