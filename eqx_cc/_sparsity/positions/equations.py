"""Equations between positions, and the families of indices that solve them.

Composing two Jacobian blocks equates positions along the contracted axes; solving these
equations is all the arithmetic that structure needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .affine import Affine, difference, scaled, single
from .matching import listed_over, matched, solved_for
from .table import Form, substituted


# An equation that falls into more families than this is solved entry by entry.
MAX_BRANCHES = 6


class _Unsolved(Exception):
    """An equation whose solutions are not a few affine families."""


class SolutionSet:
    """A family of solutions: the original indices as forms over a box of free indices.

    `sizes` has the size of every free index, `values` the form of every original one.
    `equate` narrows it to the solutions of equations, as disjoint families: none if
    there is no solution, several if an equation crosses rows of a flattened axis.

    For `i, j < 4`, `i == j + 1` leaves one free index `t < 3`, with `i = 1 + t` and
    `j = t`. If `i` equals the table `[3, 0, 3]` of `k`, then `k` is free.
    """

    def __init__(self, sizes: Mapping[int, int]):
        self.sizes = {i: n for i, n in sizes.items() if n > 1}
        self.values: dict[int, Form] = {
            i: single(i) if n > 1 else Affine(0) for i, n in sizes.items()
        }
        self.fresh = max(sizes, default=-1) + 1

    def resolve(self, form: Form) -> Form:
        """`form`, written for the original indices, over the free ones."""
        return substituted(form, self.values.__getitem__, self.sizes.__getitem__)

    def equate(self, pairs: Sequence[tuple[Form, Form]]) -> list[SolutionSet]:
        """All solutions of `a == b` for all pairs of forms of the original indices.

        Raises `TooManyPairs` if there are too many to be listed.
        """
        families, rest = [self], []
        for a, b in pairs:
            if isinstance(a, Affine) and isinstance(b, Affine):
                families = [new for f in families for new in f._equate_affine(a, b)]
            else:
                rest.append((a, b))
        return [new for f in families for new in f._equate_tables(rest)]

    def listed(self, flat: np.ndarray) -> SolutionSet:
        """The family at some positions of its box, which has as many values."""
        values = listed_over(flat, self.sizes, self.fresh)
        if len(flat) > 1:
            self._new_index(len(flat))
        self._replace(values)
        return self

    def _equate_affine(self, a: Affine, b: Affine) -> list[SolutionSet]:
        solutions = self._copy()
        left, right = solutions.resolve(a), solutions.resolve(b)
        if isinstance(left, Affine) and isinstance(right, Affine):
            try:
                return solutions._solve(difference(left, right))
            except _Unsolved:
                pass
        return self._equate_tables([(a, b)])

    def _equate_tables(self, pairs: Sequence[tuple[Form, Form]]) -> list[SolutionSet]:
        """Solves for indices as long as an equation has one solution for each value of
        the others; what is left is matched entry by entry."""
        rest = list(pairs)
        while rest:
            resolved = [(self.resolve(a), self.resolve(b)) for a, b in rest]
            for number, (a, b) in enumerate(resolved):
                values = solved_for(a, b, self.sizes)
                if values is not None:
                    self._replace(values)
                    del rest[number]
                    break
            else:
                return self._match(resolved)
        return [self]

    def _match(self, pairs: Sequence[tuple[Form, Form]]) -> list[SolutionSet]:
        size, values = matched(pairs, self.sizes, self.fresh)
        if size == 0:
            return []
        if size is not None and size > 1:
            self._new_index(size)
        self._replace(values)
        return [self]

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

    def _replace(self, values: Mapping[int, Form]) -> None:
        """Replaces free indices by forms of the others."""
        for index in values:
            del self.sizes[index]
        current = lambda index: values.get(index, single(index))  # noqa: E731
        for original, form in self.values.items():
            if not values.keys().isdisjoint(form.indices):
                new = substituted(form, current, self.sizes.__getitem__)
                self.values[original] = new

    def _solve(self, form: Affine) -> list[SolutionSet]:
        """All solutions of `form == 0`, a form over the free indices."""
        low, high = form.range(self.sizes.__getitem__)
        if low > 0 or high < 0:
            return []
        if not form.strides:
            return [self]
        reduced = form.divided(math.gcd(*(stride for _, stride in form.strides)))
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
        at_i = scaled(along, step, start + step * low)
        at_j = scaled(along, step_j, start_j + step_j * low)
        self._replace({i: at_i, j: at_j})
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
                    self._replace({index: rest})
                    return [self]
        return None

    def _split(self, form: Affine) -> list[SolutionSet]:
        """Splits a mixed-radix equation into one for the small strides and the rest.

        `4i + j - 4k - l + 1 == 0` with `j, l < 4`, modulo 4: `j - l + 1` is 0 or 4. So
        either `j == l - 1` in the same row, or `j == l + 3` in the row before.
        """
        moduli = sorted({abs(s) for _, s in form.strides} - {1})
        if not moduli:
            raise _Unsolved
        cuts = [self._cut(form, modulus) for modulus in moduli]
        fine, coarse, carries = min(cuts, key=lambda cut: len(cut[2]))
        if len(carries) > 1:
            refined = self._refine(form, moduli)
            if refined is not None:
                return self._solve(refined)
        if len(carries) > MAX_BRANCHES:
            raise _Unsolved
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
                    self._replace({index: value})
                    return form.substitute(
                        lambda i: value if i == index else single(i)  # noqa: B023
                    )
        return None


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
