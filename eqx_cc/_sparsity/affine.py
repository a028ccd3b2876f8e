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
        offset, strides = self.offset, {}
        for index, stride in self.strides:
            value = values(index)
            offset += stride * value.offset
            for inner, inner_stride in value.strides:
                strides[inner] = strides.get(inner, 0) + stride * inner_stride
        return Affine(offset, tuple((i, s) for i, s in sorted(strides.items()) if s))

    def range(self, sizes: Callable[[int], int]) -> tuple[int, int]:
        """The smallest and the largest position that the form reaches."""
        low = high = self.offset
        for index, stride in self.strides:
            reach = stride * (sizes(index) - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
        return low, high


def single(index: int) -> Affine:
    """The form that is one index."""
    return Affine(0, ((index, 1),))


def difference(a: Affine, b: Affine) -> Affine:
    """The form `a - b`."""
    pair = Affine(0, ((0, 1), (1, -1)))
    return pair.substitute(lambda which: (a, b)[which])


MAX_BRANCHES = 6


class Unsolved(Exception):
    """An equation whose solutions are not a few affine families."""


class System:
    """Indices with sizes, and what each of the original ones is in terms of them.

    `equate` yields the solution set of `a == b` as disjoint systems: none if there
    is no solution, several if the equation crosses rows of a flattened axis.
    """

    def __init__(self, sizes: dict[int, int]):
        self.sizes = {i: n for i, n in sizes.items() if n > 1}
        self.values = {i: single(i) if n > 1 else Affine(0) for i, n in sizes.items()}
        self.fresh = max(sizes, default=-1) + 1

    def resolve(self, form: Affine) -> Affine:
        """`form`, written for the original indices, in terms of the current ones."""
        return form.substitute(self.values.__getitem__)

    def copy(self) -> System:
        new = object.__new__(System)
        new.sizes, new.values = dict(self.sizes), dict(self.values)
        new.fresh = self.fresh
        return new

    def new_index(self, size: int) -> Affine:
        if size == 1:
            return Affine(0)
        self.sizes[self.fresh] = size
        self.fresh += 1
        return single(self.fresh - 1)

    def replace(self, index: int, value: Affine) -> None:
        del self.sizes[index]
        for original, form in self.values.items():
            if index in form.indices:
                self.values[original] = form.substitute(
                    lambda i: value if i == index else single(i)
                )

    def equate(self, a: Affine, b: Affine) -> list[System]:
        """All solutions of `a == b` (forms over the original indices)."""
        return self._solve(difference(self.resolve(a), self.resolve(b)))

    def _solve(self, form: Affine) -> list[System]:
        """All solutions of `form == 0`, a form over the current indices."""
        low, high = form.range(self.sizes.__getitem__)
        if low > 0 or high < 0:
            return []
        if not form.strides:
            return [self]
        divisor = math.gcd(*(stride for _, stride in form.strides))
        if form.offset % divisor:
            return []
        form = Affine(
            form.offset // divisor, tuple((i, s // divisor) for i, s in form.strides)
        )
        if len(form.strides) == 1:
            return self._fix(form)
        if len(form.strides) == 2:
            return self._progression(form)
        return self._isolate(form) or self._split(form)

    def _fix(self, form: Affine) -> list[System]:
        ((index, stride),) = form.strides
        self.replace(index, Affine(-form.offset // stride))
        return [self]

    def _progression(self, form: Affine) -> list[System]:
        """`offset + p*i + q*j == 0`, with p and q coprime: i, j advance together."""
        (i, p), (j, q) = form.strides
        start = _first(-form.offset, p, q)
        low, high = _window(start, abs(q), self.sizes[i])
        other, step = (-form.offset - p * start) // q, -p * (1 if q > 0 else -1)
        low_j, high_j = _window(other, step, self.sizes[j])
        low, high = max(low, low_j), min(high, high_j)
        if low > high:
            return []
        along = self.new_index(high - low + 1)
        self.replace(i, _scaled(along, abs(q), start + abs(q) * low))
        self.replace(j, _scaled(along, step, other + step * low))
        return [self]

    def _isolate(self, form: Affine) -> list[System] | None:
        """Solves for one index if the rest of the form never leaves its range."""
        for index, stride in form.strides:
            if abs(stride) == 1:
                rest = Affine(
                    -form.offset * stride,
                    tuple((i, -s * stride) for i, s in form.strides if i != index),
                )
                low, high = rest.range(self.sizes.__getitem__)
                if 0 <= low and high < self.sizes[index]:
                    self.replace(index, rest)
                    return [self]
        return None

    def _split(self, form: Affine) -> list[System]:
        """Splits a mixed-radix equation into one for the small strides and the rest."""
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
            for part in self.copy()._solve(Affine(form.offset - carry, fine))
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
        """Writes one index as `radix * quotient + remainder`, if its size allows."""
        for modulus in moduli:
            for index, stride in form.strides:
                radix, rest = divmod(modulus, abs(stride))
                size = self.sizes[index]
                if rest == 0 and 1 < radix < size and size % radix == 0:
                    quotient = self.new_index(size // radix)
                    remainder = self.new_index(radix)
                    (q,), (r,) = quotient.indices, remainder.indices
                    value = Affine(0, ((q, radix), (r, 1)))
                    self.replace(index, value)
                    return form.substitute(lambda i: value if i == index else single(i))
        return None


def _scaled(form: Affine, stride: int, offset: int) -> Affine:
    return Affine(offset, tuple((i, stride * s) for i, s in form.strides))


def _first(target: int, p: int, q: int) -> int:
    """The smallest `i >= 0` with `p * i == target` modulo `q`, for coprime p and q."""
    modulus = abs(q)
    return target * pow(p, -1, modulus) % modulus if modulus > 1 else 0


def _window(start: int, step: int, size: int) -> tuple[int, int]:
    """The range of `t` for which `start + step * t` lies in `range(size)`."""
    if step > 0:
        return -(start // step), (size - 1 - start) // step
    return -((size - 1 - start) // -step), start // -step
