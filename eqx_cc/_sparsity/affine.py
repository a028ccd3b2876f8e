"""Integer affine forms over box-bounded indices, and equations between them.

A position along an array axis is `offset + sum(stride * index)`. Composing two
Jacobian blocks equates such positions along the contracted axes; solving these
equations is all the arithmetic that structure needs.
"""

from __future__ import annotations

import math
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


def single(index: int) -> Affine:
    """The form that is one index."""
    return Affine(0, ((index, 1),))


def scaled(form: Affine, factor: int, offset: int = 0) -> Affine:
    """The form `offset + factor * form`; `factor` is not zero."""
    strides = tuple((i, factor * s) for i, s in form.strides)
    return Affine(offset + factor * form.offset, strides)


def divided(form: Affine, divisor: int, offset: int = 0) -> Affine | None:
    """The form `(form - offset) / divisor`, or None if it has fractions.

    `3 + 4i` less 1, over 2, is `1 + 2i`; over 4 it has no integer offset.
    """
    distance = form.offset - offset
    if any(n % divisor for n in (distance, *(s for _, s in form.strides))):
        return None
    strides = tuple((i, s // divisor) for i, s in form.strides)
    return Affine(distance // divisor, strides)


def difference(a: Affine, b: Affine) -> Affine:
    """The form `a - b`."""
    return Affine(0, ((0, 1), (1, -1))).substitute((a, b).__getitem__)


def is_injective(form: Affine, sizes: Callable[[int], int]) -> bool:
    """True if the position determines every index, as digits do.

    `10i + j` is for `j < 10`, and is not for `j < 11`: 10 is `(0, 10)` or `(1, 0)`.
    """
    return all(stride > reach for stride, reach in _radices(form, sizes))


def is_contiguous(form: Affine, sizes: Callable[[int], int]) -> bool:
    """True if the form reaches every position of its range.

    `10i + j` does for `j < 10`, and does not for `j < 9`: it skips 9.
    """
    return all(stride <= reach + 1 for stride, reach in _radices(form, sizes))


def _radices(form: Affine, sizes: Callable[[int], int]) -> list[tuple[int, int]]:
    """Strides by ascending length, each with the reach of all shorter ones.

    `10i + j` with `j < 7` has `[(1, 0), (10, 6)]`.
    """
    radices, reach = [], 0
    for stride, index in sorted((abs(stride), i) for i, stride in form.strides):
        radices.append((stride, reach))
        reach += stride * (sizes(index) - 1)
    return radices


# An equation that falls into more families than this is not solved, but made dense.
MAX_BRANCHES = 6


class Unsolved(Exception):
    """An equation whose solutions are not a few affine families."""


class SolutionSet:
    """An affine family: the original indices as forms over a box of free indices.

    `sizes` has the size of every free index, `values` the form of every original one.
    `equate` narrows it to the solutions of `a == b`, as disjoint families: none if
    there is no solution, several if the equation crosses rows of a flattened axis.

    For `i, j < 4`, `i == j + 1` leaves one free index `t < 3`, with `i = 1 + t` and
    `j = t`.
    """

    def __init__(self, sizes: dict[int, int]):
        self.sizes = {i: n for i, n in sizes.items() if n > 1}
        self.values = {i: single(i) if n > 1 else Affine(0) for i, n in sizes.items()}
        self.fresh = max(sizes, default=-1) + 1

    def resolve(self, form: Affine) -> Affine:
        """`form`, written for the original indices, over the free ones."""
        return form.substitute(self.values.__getitem__)

    def equate(self, a: Affine, b: Affine) -> list[SolutionSet]:
        """All solutions of `a == b` (forms over the original indices)."""
        return self._solve(difference(self.resolve(a), self.resolve(b)))

    def _copy(self) -> SolutionSet:
        new = object.__new__(SolutionSet)
        new.sizes, new.values = dict(self.sizes), dict(self.values)
        new.fresh = self.fresh
        return new

    def _new_index(self, size: int) -> Affine:
        if size == 1:
            return Affine(0)
        self.sizes[self.fresh] = size
        self.fresh += 1
        return single(self.fresh - 1)

    def _replace(self, index: int, value: Affine) -> None:
        del self.sizes[index]
        for original, form in self.values.items():
            self.values[original] = _replaced(form, index, value)

    def _solve(self, form: Affine) -> list[SolutionSet]:
        """All solutions of `form == 0`, a form over the free indices."""
        low, high = form.range(self.sizes.__getitem__)
        if low > 0 or high < 0:
            return []
        if not form.strides:
            return [self]
        reduced = divided(form, math.gcd(*(stride for _, stride in form.strides)))
        if reduced is None:  # `2i - 4j == 1` has no integer solution.
            return []
        if len(reduced.strides) == 2:
            return self._progression(reduced)
        return self._isolate(reduced) or self._split(reduced)

    def _progression(self, form: Affine) -> list[SolutionSet]:
        """Solves `offset + p*i + q*j == 0`, p and q coprime: i, j advance together.

        `2i - 3j - 1 == 0` holds at `(i, j) = (2, 1), (5, 3), ...`, so `i = 2 + 3t` and
        `j = 1 + 2t`; the sizes of `i` and `j` bound `t`.
        """
        (i, p), (j, q) = form.strides
        start, step = _first(-form.offset, p, q), abs(q)
        start_j, step_j = (-form.offset - p * start) // q, -p * (1 if q > 0 else -1)
        low, high = _window(start, step, self.sizes[i])
        low_j, high_j = _window(start_j, step_j, self.sizes[j])
        low, high = max(low, low_j), min(high, high_j)
        if low > high:
            return []
        along = self._new_index(high - low + 1)
        self._replace(i, scaled(along, step, start + step * low))
        self._replace(j, scaled(along, step_j, start_j + step_j * low))
        return [self]

    def _isolate(self, form: Affine) -> list[SolutionSet] | None:
        """Solves for one index if the rest of the form never leaves its range.

        `i - 2 == 0` gives `i = 2`; `k - 4i - j == 0` gives `k = 4i + j` if `k` is large
        enough for all `i` and `j`.
        """
        for index, stride in form.strides:
            if abs(stride) == 1:
                rest = difference(single(index), scaled(form, stride))
                low, high = rest.range(self.sizes.__getitem__)
                if 0 <= low and high < self.sizes[index]:
                    self._replace(index, rest)
                    return [self]
        return None

    def _split(self, form: Affine) -> list[SolutionSet]:
        """Splits a mixed-radix equation into one for the small strides and the rest.

        `4i + j - 4k - l + 1 == 0` with `j, l < 4`, modulo 4: `j - l + 1` is 0 or 4. So
        either `j == l - 1` in the same row, or `j == l + 3` in the row before.
        """
        moduli = sorted({abs(s) for _, s in form.strides} - {1})
        if not moduli:
            raise Unsolved
        cuts = [self._cut(form, modulus) for modulus in moduli]
        fine, coarse, carries = min(cuts, key=lambda cut: len(cut[2]))
        if len(carries) > 1:
            refined = self._refine(form, moduli)
            if refined is not None:
                return self._solve(refined)
        if len(carries) > MAX_BRANCHES:
            raise Unsolved
        return [
            solution
            for carry in carries
            for part in self._copy()._solve(Affine(form.offset - carry, fine))
            for solution in part._solve(Affine(carry, coarse))
        ]

    def _cut(self, form: Affine, modulus: int):
        """The strides that `modulus` does not divide, those it does, and the carries
        from the former to the latter."""
        fine = tuple((i, s) for i, s in form.strides if s % modulus)
        coarse = tuple((i, s) for i, s in form.strides if s % modulus == 0)
        low, high = Affine(form.offset, fine).range(self.sizes.__getitem__)
        return fine, coarse, range(-(-low // modulus) * modulus, high + 1, modulus)

    def _refine(self, form: Affine, moduli: list[int]) -> Affine | None:
        """Writes one index as `radix * quotient + remainder`, if its size allows.

        `(4, 6) -> (8, 3)`: in `6i + j == 3k + l`, `j < 6` becomes `3q + r`, so that
        `l == r` and `k == 2i + q`.
        """
        for modulus in moduli:
            for index, stride in form.strides:
                radix, rest = divmod(modulus, abs(stride))
                size = self.sizes[index]
                if rest == 0 and 1 < radix < size and size % radix == 0:
                    (q,) = self._new_index(size // radix).indices
                    (r,) = self._new_index(radix).indices
                    value = Affine(0, ((q, radix), (r, 1)))
                    self._replace(index, value)
                    return _replaced(form, index, value)
        return None


def _replaced(form: Affine, index: int, value: Affine) -> Affine:
    if index not in form.indices:
        return form
    return form.substitute(lambda i: value if i == index else single(i))


def _first(target: int, p: int, q: int) -> int:
    """The smallest `i >= 0` with `p * i == target` modulo `q`, for coprime p and q.

    `2 * i == 1` modulo 3: `i` is 2, as 2 is its own inverse.
    """
    modulus = abs(q)
    return target * pow(p, -1, modulus) % modulus if modulus > 1 else 0


def _window(start: int, step: int, size: int) -> tuple[int, int]:
    """The range of `t` for which `start + step * t` lies in `range(size)`.

    `2 + 3t` lies in `range(9)` for `t` from 0 to 2; `2 - 3t` from -2 to 0.
    """
    if step > 0:
        return -(start // step), (size - 1 - start) // step
    return -((size - 1 - start) // -step), start // -step
