"""Recipes for sums: the value of each term of the result, from those of the addends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from .positions.affine import Affine
from .positions.table import Form, Table
from .term import Scalar, Term


@dataclass(frozen=True)
class Embedding:
    """Positions of the values of a term in the value of a term that contains it.

    `forms[axis]` is the position along each axis of the target's value, over the
    indices of the source, whose sizes and value axes are `sizes` and `value`. A
    diagonal of three in a full matrix has the forms `(i, i)` and the shape `(3, 3)`.
    """

    forms: tuple[Form, ...]
    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    value: tuple[int, ...] | None

    @property
    def has_table(self) -> bool:
        """True if positions along an axis of the target are a table."""
        return any(isinstance(form, Table) for form in self.forms)

    def box(self) -> tuple[tuple[int, int], ...] | None:
        """The range along each axis of the target, if all in these ranges is filled.

        `(2 + i, j)` with `i < 3` and `j < 4` fills `((2, 4), (0, 3))`; `(i, i)` and
        `(2 * i,)` leave gaps.
        """
        indices = [i for form in self.forms for i in form.indices]
        if len(set(indices)) < len(indices):
            return None
        strides = [f.strides for f in self.forms if isinstance(f, Affine)]
        if len(strides) < len(self.forms):
            return None
        if any(len(pairs) > 1 or abs(s) != 1 for pairs in strides for _, s in pairs):
            return None
        return tuple(form.range(self.sizes.__getitem__) for form in self.forms)


@dataclass(frozen=True)
class Tiling:
    """Members of a group that lie beside each other along one axis of the target.

    `tiles` has the numbers of the members at each place, in order, and `lengths` how
    long these places are. Rows 0 and 1 from two members each, and row 2 from another:
    `axis=0, tiles=((0, 1), (2,)), lengths=(2, 1)`.
    """

    axis: int
    tiles: tuple[tuple[int, ...], ...]
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """`target = sum(scale * embed(value))` over `members` (source, scale, embedding);
    an embedding `None` stands for equal structure."""

    target: Term
    members: tuple[tuple[int, Scalar, Embedding | None], ...]

    @cached_property
    def tiling(self) -> Tiling | None:
        """The tiling of the target, if members fill it without overlap other than of
        those at one place."""
        members: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for number, (_, _, embedding) in enumerate(self.members):
            box = None if embedding is None else embedding.box()
            if box is None:
                return None
            members.setdefault(box, []).append(number)
        shape = self.target.value_shape
        axes = [
            axis
            for axis, size in enumerate(shape)
            if any(box[axis] != (0, size - 1) for box in members)
        ]
        if len(members) < 2 or len(axes) != 1:
            return None
        (axis,) = axes
        boxes = sorted(members, key=lambda box: box[axis])
        starts = [box[axis][0] for box in boxes]
        ends = [box[axis][1] + 1 for box in boxes]
        if [*starts, shape[axis]] != [0, *ends]:
            return None
        lengths = tuple(end - start for start, end in zip(starts, ends))
        return Tiling(axis, tuple(tuple(members[box]) for box in boxes), lengths)

    @property
    def num_additions(self) -> int:
        """Additions, each of the size of the target or of its tile."""
        if self.target.value is None:
            return 0
        if self.tiling is None:
            return self.target.num_values * (len(self.members) - 1)
        tiles = zip(self.tiling.tiles, self.tiling.lengths)
        row = self.target.num_values // sum(self.tiling.lengths)
        return sum(row * length * (len(members) - 1) for members, length in tiles)


@dataclass(frozen=True)
class Sum:
    """The recipe by which the values of a list of terms add up to those of others.

    `assembles`: the targets are dense, and most of their entries may be zero.
    """

    groups: tuple[Group, ...]
    num_scalings: int
    num_additions: int
    assembles: bool = False

    @staticmethod
    def of(
        terms: Sequence[Term], groups: Iterable[Group], *, assembles: bool = False
    ) -> Sum:
        """A recipe with its costs; scaling by 1 or -1 is free."""
        groups = tuple(groups)
        scalings = sum(
            terms[source].num_values
            for group in groups
            for source, scale, _ in group.members
            if scale not in (1, -1)
        )
        additions = sum(group.num_additions for group in groups)
        return Sum(groups, scalings, additions, assembles)

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms that the values add up to."""
        return tuple(group.target for group in self.groups)
