"""Annealing over partitions into blocks, for a high lower bound."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

from ..state import members
from .component import Part


_MAX_SIZES = 5, 7, 9, 11  # Vertices of a block, at most, round after round.
_MOVES = 4000  # In each round, while it cools from the first
_HOT, _COLD = 1.5, 0.2  # temperature to the last.


def find_blocks(part: Part) -> None:
    """Searches for blocks that raise the lower bound, until the part is finished."""
    vertices = [w for v in part.vertices for w in part.space.group(v)]
    partition = Partition(part, [1 << v for v in vertices])
    while not part.finished:
        for max_size in _MAX_SIZES:
            _anneal(part, partition, max_size)


def take_blocks(part: Part, blocks: Iterable[int]) -> None:
    """Bounds the cost of a part by disjoint blocks.

    A block may have vertices of the prefix, which is eliminated before the part: their
    least cost is subtracted. Vertices of other parts are ignored.
    """
    in_part = sum(1 << w for v in part.vertices for w in part.space.group(v))
    allowed = in_part | sum(1 << v for v in part.prefix)
    blocks = [block & allowed for block in blocks if block & in_part]
    covered = sum(blocks)
    single = (1 << v for v in members(in_part & ~covered))
    partition = Partition(part, [*blocks, *single])
    paid = sum(partition.least(1 << v) for v in members(covered & ~in_part))
    part.blocks = frozenset(blocks)
    part.bound_below(partition.bound - paid)


class Partition:
    """Disjoint blocks, by vertex. `bound` is the sum of their least costs."""

    def __init__(self, part: Part, blocks: Iterable[int]):
        assert part.cuts is not None
        self._part, self.blocks = part, {}
        for block in blocks:
            self.blocks.update(dict.fromkeys(members(block), block))
        self._memo: dict[int, int] = {0: 0}
        self.vertices = sorted(self.blocks)
        self.related = {v: self._related(v) for v in self.vertices}

    def _related(self, vertex: int) -> list[int]:
        """The ancestors and descendants of a vertex, or itself if there are none."""
        cuts = self._part.cuts
        assert cuts is not None
        reached = cuts.before[vertex] | cuts.after[vertex]
        return [v for v in members(reached) if v in self.blocks] or [vertex]

    @property
    def bound(self) -> int:
        return sum(map(self.least, set(self.blocks.values())))

    def least(self, block: int) -> int:
        """The least cost of a block."""
        if block not in self._memo:
            self._memo[block] = self._part.table(block)[0]
        return self._memo[block]

    def gain(self, vertex: int, other: int | None) -> int:
        """The rise of the bound if `vertex` joins the block of `other`, or becomes a
        block by itself for `None`."""
        old, new = self.blocks[vertex], self._joined(vertex, other)
        rest = old ^ 1 << vertex
        joined = self.least(new ^ 1 << vertex)
        return self.least(new) + self.least(rest) - self.least(old) - joined

    def _joined(self, vertex: int, other: int | None) -> int:
        return (0 if other is None else self.blocks[other]) | 1 << vertex

    def move(self, vertex: int, other: int | None) -> None:
        """Moves `vertex` to the block of `other`, or to a new one for `None`."""
        rest, new = self.blocks[vertex] ^ 1 << vertex, self._joined(vertex, other)
        self.blocks.update(dict.fromkeys(members(rest), rest))
        self.blocks.update(dict.fromkeys(members(new), new))


def _anneal(part: Part, partition: Partition, max_size: int) -> None:
    """Anneals a partition once, with blocks of up to `max_size` vertices."""
    bound = partition.bound
    for count in range(_MOVES):
        if part.finished:
            return
        temperature = _HOT * (_COLD / _HOT) ** (count / _MOVES)
        bound += _try_move(partition, part.rng, max_size, temperature)
        if bound > part.lower_bound:
            blocks = set(partition.blocks.values())
            part.blocks = frozenset(b for b in blocks if b.bit_count() > 1)
            part.bound_below(bound)


def _try_move(
    partition: Partition, rng: random.Random, max_size: int, temperature: float
) -> int:
    """Moves a vertex to the block of a related one, or to a new block, unless that
    lowers the bound too much. Returns the change of the bound."""
    vertex = rng.choice(partition.vertices)
    allowed = temperature * math.log(1 - rng.random())
    if rng.random() < 0.1:
        gain = partition.gain(vertex, None)
        if gain >= allowed:
            partition.move(vertex, None)
        return gain if gain >= allowed else 0
    other = rng.choice(partition.related[vertex])
    into = partition.blocks[other]
    if into >> vertex & 1:
        return 0
    gain, out = 0, None
    if into.bit_count() >= max_size:
        out = rng.choice([v for v in members(into) if v != other])
        gain = partition.gain(out, None)
        partition.move(out, None)
    gain += partition.gain(vertex, other)
    if gain >= allowed:
        partition.move(vertex, other)
        return gain
    if out is not None:
        partition.move(out, other)
    return 0
