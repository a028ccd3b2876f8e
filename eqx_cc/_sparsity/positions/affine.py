"""Integer affine forms over box-bounded indices: `offset + sum(stride * index)`.

They are the positions along an array axis that slices, reshapes and strides read. Those
that follow no such rule are tables (`table`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Affine(NamedTuple):
    """The form `offset + sum(stride * index for index, stride in strides)`.

    **Arguments:**

    - `offset`: an integer.
    - `strides`: pairs of an index and its stride, by ascending index.

    !!! Example

        ```python
        i = eqx_cc.Affine(0, ((0, 1),))  # The index 0.
        after = eqx_cc.Affine(1, ((0, 1),))  # One place after it.
        flat = eqx_cc.Affine(0, ((0, 10), (1, 1)))  # Row 0, column 1, of ten columns.
        ```
    """

    offset: int
    strides: tuple[tuple[int, int], ...] = ()

    @property
    def indices(self) -> tuple[int, ...]:
        """The indices that the form depends on."""
        return tuple(index for index, _ in self.strides)

    def substitute(self, values: Callable[[int], Affine]) -> Affine:
        """Replaces every index by an affine form."""
        # `1 + 3i` with `i = 2 + 5j` is `7 + 15j`.
        offset, strides = self.offset, {}
        for index, stride in self.strides:
            value = values(index)
            offset += stride * value.offset
            for inner, inner_stride in value.strides:
                strides[inner] = strides.get(inner, 0) + stride * inner_stride
        return Affine(offset, tuple((i, s) for i, s in sorted(strides.items()) if s))

    def range(self, sizes: Callable[[int], int]) -> tuple[int, int]:
        """The smallest and the largest position that the form reaches."""
        # `1 + 4i - 3j` for `i < 3` and `j < 4` runs from `1 - 9` to `1 + 8`.
        low = high = self.offset
        for index, stride in self.strides:
            reach = stride * (sizes(index) - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
        return low, high

    def divided(self, divisor: int, offset: int = 0) -> Affine | None:
        """The form `(self - offset) / divisor`, or None if it has fractions."""
        # `3 + 4i` less 1, over 2, is `1 + 2i`; over 4 it has no integer offset.
        distance = self.offset - offset
        if any(n % divisor for n in (distance, *(s for _, s in self.strides))):
            return None
        strides = tuple((i, s // divisor) for i, s in self.strides)
        return Affine(distance // divisor, strides)

    def is_injective(self, sizes: Callable[[int], int]) -> bool:
        """True if the position determines every index, as digits do."""
        # `10i + j` is for `j < 10`, and is not for `j < 11`: 10 is `(0, 10)`, `(1, 0)`.
        return all(stride > reach for stride, reach in self._radices(sizes))

    def is_contiguous(self, sizes: Callable[[int], int]) -> bool:
        """True if the form reaches every position of its range."""
        # `10i + j` does for `j < 10`, and does not for `j < 9`: it skips 9.
        return all(stride <= reach + 1 for stride, reach in self._radices(sizes))

    def _radices(self, sizes: Callable[[int], int]) -> list[tuple[int, int]]:
        """Strides by ascending length, each with the reach of all shorter ones."""
        # `10i + j` with `j < 7` has `[(1, 0), (10, 6)]`.
        radices, reach = [], 0
        for stride, index in sorted((abs(stride), i) for i, stride in self.strides):
            radices.append((stride, reach))
            reach += stride * (sizes(index) - 1)
        return radices


def single(index: int) -> Affine:
    """The form that is one index."""
    return Affine(0, ((index, 1),))


def scaled(form: Affine, factor: int, offset: int = 0) -> Affine:
    """The form `offset + factor * form`; `factor` is not zero."""
    strides = tuple((i, factor * s) for i, s in form.strides)
    return Affine(offset + factor * form.offset, strides)


def difference(a: Affine, b: Affine) -> Affine:
    """The form `a - b`."""
    return Affine(0, ((0, 1), (1, -1))).substitute((a, b).__getitem__)
