"""Which entries of a carry depend on which, after so many iterations of a loop.

With `M` for the zeros and ones of the carry's Jacobian in one iteration, those of `n`
iterations are the Boolean power `M^n`, and those of at most `n` are `(I + M)^n`. Both
take as many products as `n` has binary digits; without a number of iterations, the
second is squared until nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..._sparsity.entries import positions
from ..._sparsity.pattern import Pattern


# Pairs of entries that all products may join. Beyond them, what grows is dense.
MAX_WORK = 1 << 27


def every_time(
    flat: np.ndarray, length: int | None, axis: int, pattern: Pattern
) -> np.ndarray:
    """The positions of slices, in a block that has an axis of time as well.

    Of the diagonal of a 2 by 2 matrix, `[0, 3]`, with time as the first of two lengths:
    `[0, 3, 4, 7]`.
    """
    assert length is not None
    inner = math.prod(pattern.shape[axis:])
    outer, rest = np.divmod(flat, max(inner, 1))
    times = np.arange(length) * inner
    return np.sort((outer[:, None] * length * inner + times + rest[:, None]).ravel())


class TooMuchWork(Exception):
    """Powers that take more work than is worth it."""


class Reach:
    """Powers of the structure of a loop's body.

    `blocks` are the body's `(output, input)`. `carries` are the outputs that are
    carried, and `inputs` the inputs that they come from. `length` is the number of
    iterations, None where it is not known.
    """

    def __init__(
        self,
        blocks: Mapping[tuple[int, int], Pattern],
        carries: Sequence[int],
        inputs: Sequence[int],
        sizes: Sequence[int],
        length: int | None,
    ):
        self._blocks, self._carries, self._inputs = blocks, carries, inputs
        self._starts = np.cumsum([0, *sizes])
        self._length, self._work = length, 0

    def within(self, out: int, inp: int) -> np.ndarray:
        """The positions of a block after any number of iterations, ascending."""
        length = self._length
        if not (out in self._carries and inp in self._inputs) and length is not None:
            length = max(length - 1, 0)
        return self._between(out, inp, self._up_to(length))

    def after(self, out: int, inp: int) -> np.ndarray:
        """The positions of a block of carries after the last iteration, ascending."""
        return self._between(out, inp, self._last)

    def _between(self, out: int, inp: int, power: Any) -> np.ndarray:
        rows = power
        if out in self._carries:
            rows = power[self._part(self._carries.index(out)), :]
        else:
            parts = [self._block(out, i) for i in self._inputs]
            rows = self._product(_joined([parts]), power)
        if inp in self._inputs:
            block = rows[:, self._part(self._inputs.index(inp))]
        else:
            parts = [[self._block(c, inp)] for c in self._carries]
            block = self._product(rows, _joined(parts))
        block = block.tocoo()
        return np.sort(block.row.astype(np.int64) * block.shape[1] + block.col)

    def _part(self, carry: int) -> slice:
        return slice(int(self._starts[carry]), int(self._starts[carry + 1]))

    @cached_property
    def _matrix(self) -> Any:
        blocks = [[self._block(c, i) for i in self._inputs] for c in self._carries]
        return _joined(blocks)

    @cached_property
    def _sizes(self) -> tuple[dict[int, int], dict[int, int]]:
        """The sizes of outputs and of inputs, as far as they are known."""
        parts = np.diff(self._starts).tolist()
        outputs = {out: math.prod(p.out_shape) for (out, _), p in self._blocks.items()}
        inputs = {inp: math.prod(p.in_shape) for (_, inp), p in self._blocks.items()}
        outputs.update(zip(self._carries, parts))
        inputs.update(zip(self._inputs, parts))
        return outputs, inputs

    def _block(self, out: int, inp: int) -> Any:
        """The zeros and ones of a block of the body."""
        from scipy.sparse import coo_array

        outputs, inputs = self._sizes
        shape = outputs.get(out, 1), inputs.get(inp, 1)
        terms = self._blocks[out, inp].terms if (out, inp) in self._blocks else ()
        self._add_work(sum(term.num_nonzeros for term in terms))
        flat = [positions(term, self._blocks[out, inp].shape) for term in terms]
        rows, columns = divmod(np.concatenate([*flat, np.zeros(0, np.int64)]), shape[1])
        ones = np.ones(len(rows), bool)
        return coo_array((ones, (rows, columns)), shape, dtype=bool).tocsr()

    @cached_property
    def _last(self) -> Any:
        """`M^length`."""
        assert self._length is not None
        return self._power(self._matrix, self._length)

    def _up_to(self, length: int | None) -> Any:
        """`(I + M)^length`, and its limit without a length."""
        if length not in self._powers:
            self._powers[length] = self._power(
                _eye_like(self._matrix) + self._matrix, length
            )
        return self._powers[length]

    @cached_property
    def _powers(self) -> dict[int | None, Any]:
        return {}

    def _power(self, base: Any, exponent: int | None) -> Any:
        result = _eye_like(base)
        while exponent is None or exponent > 0:
            if exponent is not None and exponent % 2:
                result = self._product(result, base)
            exponent = None if exponent is None else exponent // 2
            if exponent == 0:
                break
            square = self._product(base, base)
            if square.nnz == base.nnz and (square != base).nnz == 0:
                return self._product(result, base)
            base = square
        return result

    def _product(self, left: Any, right: Any) -> Any:
        columns = np.bincount(left.indices, minlength=left.shape[1])
        self._add_work(int(columns @ np.diff(right.indptr).astype(np.int64)))
        return left @ right

    def _add_work(self, work: int) -> None:
        self._work += work
        if self._work > MAX_WORK:
            raise TooMuchWork


def _joined(blocks: list[list[Any]]) -> Any:
    from scipy.sparse import block_array

    return block_array(blocks, format="csr", dtype=bool)


def _eye_like(matrix: Any) -> Any:
    from scipy.sparse import eye_array

    return eye_array(matrix.shape[0], format="csr", dtype=bool)
