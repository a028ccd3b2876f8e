"""How terms add up: which go where in the value of which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .affine import Affine
from .term import Term


@dataclass(frozen=True)
class Embedding:
    """Where the values of a term go in the value of a term that contains it.

    `forms[axis]` is the position along each axis of the target's value, over the
    indices of the source, whose sizes and value axes are `sizes` and `value`.
    """

    forms: tuple[Affine, ...]
    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    value: tuple[int, ...] | None


@dataclass(frozen=True)
class Group:
    """`target = sum(scale * embed(value))` over `members` (source, scale, embedding);
    an embedding `None` stands for equal structure."""

    target: Term
    members: tuple[tuple[int, int | float | complex, Embedding | None], ...]

    @cached_property
    def tiling(self) -> Tiling | None:
        """How members lie beside each other, if they fill the target without overlap
        other than of those at one place."""
        return _tiling([embedding for *_, embedding in self.members])

    @property
    def num_additions(self) -> int:
        """Additions, each of the size of the target or of its tile."""
        if self.target.value is None:
            return 0
        if self.tiling is None:
            return self.target.num_values * (len(self.members) - 1)
        tiles = zip(self.tiling.tiles, self.tiling.lengths)
        row = self.target.num_values // sum(self.tiling.lengths)
        return sum(row * length * (len(own) - 1) for own, length in tiles)


@dataclass(frozen=True)
class Tiling:
    """Members of a group, by their numbers, at each of several places along an axis of
    the target's value, in order; and how long these places are."""

    axis: int
    tiles: tuple[tuple[int, ...], ...]
    lengths: tuple[int, ...]


def _tiling(embeddings: Sequence[Embedding | None]) -> Tiling | None:
    places: dict[tuple[tuple[int, int], ...], list[int]] = {}
    shape: tuple[int, ...] = ()
    for number, embedding in enumerate(embeddings):
        box = None if embedding is None else _box(embedding)
        if embedding is None or box is None:
            return None
        shape = embedding.shape
        places.setdefault(box, []).append(number)
    axes = [
        axis
        for axis, size in enumerate(shape)
        if any(box[axis] != (0, size - 1) for box in places)
    ]
    if len(places) < 2 or len(axes) != 1:
        return None
    (axis,) = axes
    order = sorted(places, key=lambda box: box[axis])
    ends = [-1, *(box[axis][1] for box in order)]
    if ends[-1] != shape[axis] - 1:
        return None
    if any(box[axis][0] != end + 1 for box, end in zip(order, ends)):
        return None
    lengths = tuple(box[axis][1] - box[axis][0] + 1 for box in order)
    return Tiling(axis, tuple(tuple(places[box]) for box in order), lengths)


def _box(embedding: Embedding) -> tuple[tuple[int, int], ...] | None:
    """The range along each axis of the target, if all in these ranges is filled."""
    indices = [i for form in embedding.forms for i in form.indices]
    if len(set(indices)) < len(indices):
        return None
    if any(abs(s) != 1 or len(f.strides) > 1 for f in embedding.forms for _, s in f[1]):
        return None
    return tuple(form.range(embedding.sizes.__getitem__) for form in embedding.forms)


@dataclass(frozen=True)
class Sum:
    """How the values of a list of terms add up to those of a pattern's terms.

    `assembles`: the targets are dense, and most of their entries may be zero.
    """

    groups: tuple[Group, ...]
    num_scalings: int
    num_additions: int
    assembles: bool = False
