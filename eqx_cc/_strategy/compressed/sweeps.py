"""Sweeps of JAX for sums of unit vectors, where the pattern of a Jacobian is sparse.

Columns that have no entry in the same row are computed together: the product of the
Jacobian with the sum of their unit vectors has the entries of all. The pattern is that
which elimination found. The entries of the Jacobian with two diagonals

    a b . .
    . c d .      (columns 0 and 2, columns 1 and 3)
    . . e f

are those of two products: `(a, d, e)` and `(b, c, f)`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..._blocks.arrays import DoesNotFit
from ..._blocks.partial import Partial
from ..._jaxpr.avals import as_arrays, is_complex, struct
from ..._jaxpr.program import evaluate, Program
from ..._jaxpr.shard_map import vary_as
from ..._sparsity.entries import listed, positions
from ..._sparsity.pattern import Pattern
from ..._sparsity.term import Term
from ..methods import AbstractMethod, JacobianBlocks, prepare, Prepared, Problem
from ..sweep import call_jax, Direction, directions, NotDifferentiable
from ..time_model import jaxpr_work, program_work, sweep_work
from .colouring import colour_columns, fewest_colours, is_installed


# The model compares times roughly: a compressed sweep has to take so much less. (Of 21
# irregular problems, those at 0.8 to 0.9 took 1.0 to 1.2 times as long as elimination.)
_LESS = 0.7
# Nanoseconds to read an entry out of the products.
_READ = 0.5
# The most entries of all blocks that are listed while tracing, and the most conflicts.
_MOST = 1 << 21


class _Entries(NamedTuple):
    """The positions of the stored entries in the matrix of all blocks."""

    rows: np.ndarray
    columns: np.ndarray
    shape: tuple[int, int]

    def of(self, direction: Direction) -> _Entries:
        """As they are in forward mode; those of the transpose in reverse mode."""
        if direction == "forward":
            return self
        height, width = self.shape
        return _Entries(self.columns, self.rows, (width, height))


@dataclass(frozen=True, eq=False)
class CompressedSweep(AbstractMethod):
    """A sweep of JAX for a few sums of unit vectors. Raises `NotDifferentiable` where
    JAX has none.

    Each value that `patterns` store is an entry of the Jacobian. `colours` has the
    number of the sum in which each unit vector is: those of the inputs in forward mode,
    those of the outputs in reverse mode.
    """

    direction: Direction
    patterns: Sequence[Sequence[Pattern]]
    colours: np.ndarray
    name: ClassVar[str] = "a sweep of JAX, compressed by a colouring of the pattern"

    def __call__(self, problem: Problem) -> JacobianBlocks:
        count, forward = problem.num_outputs, self.direction == "forward"
        compress = self._push if forward else self._pull
        outputs, products = compress(problem.program, problem.leaves, count)
        rows = _offsets([row[0].out_shape for row in self.patterns])
        columns = _offsets([pattern.in_shape for pattern in self.patterns[0]])
        blocks = [
            [
                _filled(pattern, products[i], self.colours[b:], forward=True)
                if forward
                else _filled(pattern, products[j], self.colours[a:], forward=False)
                for j, (pattern, b) in enumerate(zip(row, columns))
            ]
            for i, (row, a) in enumerate(zip(self.patterns, rows))
        ]
        return JacobianBlocks(outputs[:count], outputs[count:], blocks)

    def _push(self, program: Program, leaves: Sequence[Array], count: int):
        """The outputs, and for each the products of its rows with the sums."""
        _, push, outputs = call_jax(
            "forward",
            lambda: jax.linearize(_primal(program, count), *leaves, has_aux=True),
        )
        return outputs, self._products(lambda *v: push(*vary_as(v, leaves)), leaves)

    def _pull(self, program: Program, leaves: Sequence[Array], count: int):
        """The outputs, and for each leaf the products of the sums with its columns."""
        main, pull, outputs = call_jax(
            "reverse", lambda: jax.vjp(_primal(program, count), *leaves, has_aux=True)
        )
        return outputs, self._products(lambda *v: pull(vary_as(v, main)), main)

    def _products(self, linear: Callable, vectors: Sequence[Array]) -> list[Array]:
        ends = _offsets([jnp.shape(v) for v in vectors])
        numbers = jnp.arange(self.colours.max() + 1).reshape(-1, 1)
        sums = [
            (numbers == self.colours[a : a + v.size].reshape(1, -1))
            .astype(v.dtype)
            .reshape(-1, *v.shape)
            for v, a in zip(vectors, ends)
        ]
        return list(call_jax(self.direction, lambda: jax.vmap(linear)(*sums)))


def compressed(prepared: Prepared, time: float) -> Prepared | None:
    """The compressed sweep for the blocks of a traced method, if by the model there is
    one that takes less than `time`."""
    if not is_installed() or prepared.traced is None:
        return None
    problem, patterns = prepared.problem, _patterns(prepared.traced.struct.blocks)
    if not (patterns and patterns[0] and _has_one_real_type(problem)):
        return None
    entries = _entries(patterns)
    if not 0 < len(entries.rows) < math.prod(entries.shape):
        return None
    for direction in directions(problem.program, problem.num_outputs):
        colours = _colours(problem.program, entries, direction, _LESS * time)
        if colours is not None:
            method = CompressedSweep(direction, patterns, colours)
            with contextlib.suppress(NotDifferentiable, DoesNotFit):
                return prepare(method, problem)
    return None


def summing_work(blocks: Sequence[Sequence[Partial]]) -> float:
    """The time to sum the values of blocks that have several for one entry, as nearly
    all that is done with blocks takes sums."""
    if _are_many(blocks):
        return 0.0
    overlapping = [
        jax.tree.map(struct, block)
        for row in blocks
        for block in row
        if not block.factors and _disjoint(block.pattern) is not block.pattern
    ]
    traced = jax.make_jaxpr(lambda blocks: [block.data for block in blocks])
    return jaxpr_work(traced(overlapping).jaxpr)


def _colours(
    program: Program, entries: _Entries, direction: Direction, time: float
) -> np.ndarray | None:
    """The colours for a compressed sweep, if this takes less than a time."""
    rows, columns, shape = entries.of(direction)
    fixed = program_work(program) + _READ * len(rows)

    def is_fast(count: int) -> bool:
        work = sweep_work(program, count, reverse=direction == "reverse")
        return fixed + work < time

    fewest = fewest_colours(rows)
    if not is_fast(fewest) or len(rows) * fewest > _MOST:
        return None
    colours = colour_columns(rows, columns, shape)
    return colours if is_fast(int(colours.max()) + 1) else None


def _patterns(blocks: Sequence[Sequence[Partial]]) -> list[list[Pattern]] | None:
    """Patterns in which each stored value is one entry of the Jacobian, or None if a
    block keeps factors, or if there are too many entries."""
    if any(block.factors for row in blocks for block in row) or _are_many(blocks):
        return None
    return [[_disjoint(block.pattern) for block in row] for row in blocks]


def _are_many(blocks: Sequence[Sequence[Partial]]) -> bool:
    """True if the entries are too many to list, or fill the blocks."""
    patterns = [block.pattern for row in blocks for block in row]
    entries = sum(term.num_nonzeros for p in patterns for term in p.terms)
    return not entries < min(_MOST, sum(math.prod(p.shape) for p in patterns))


def _disjoint(pattern: Pattern) -> Pattern:
    """The pattern, or a list of its entries if several values add up to one."""
    flat, terms = _positions(pattern), pattern.terms
    union = np.unique(flat)
    if len(union) == len(flat) and all(t.value is None or t.scale == 1 for t in terms):
        return pattern
    shapes = pattern.out_shape, pattern.in_shape
    return Pattern(*shapes, (listed(union, *shapes),))


def _positions(pattern: Pattern) -> np.ndarray:
    flat = [positions(term, pattern.shape).ravel() for term in pattern.terms]
    return np.concatenate([np.zeros(0, int), *flat])


def _entries(patterns: Sequence[Sequence[Pattern]]) -> _Entries:
    above = _offsets([row[0].out_shape for row in patterns])
    before = _offsets([pattern.in_shape for pattern in patterns[0]])
    rows, columns = [], []
    for row, a in zip(patterns, above):
        for pattern, b in zip(row, before):
            width = max(1, math.prod(pattern.in_shape))
            down, across = np.divmod(_positions(pattern), width)
            rows.append(a + down)
            columns.append(b + across)
    height = sum(math.prod(row[0].out_shape) for row in patterns)
    width = sum(math.prod(pattern.in_shape) for pattern in patterns[0])
    return _Entries(np.concatenate(rows), np.concatenate(columns), (height, width))


def _has_one_real_type(problem: Problem) -> bool:
    avals = [*problem.avals, *map(jax.typeof, problem.leaves)]
    return len({aval.dtype for aval in avals}) == 1 and not is_complex(avals[0])


def _filled(
    pattern: Pattern, products: Array, colours: np.ndarray, *, forward: bool
) -> Partial:
    """The block with its values out of the products, of shape `(colours, ...)`."""
    flat = products.reshape(len(products), -1)
    width = max(1, math.prod(pattern.in_shape))

    def values(term: Term) -> Array | None:
        if term.value is None:
            return None
        rows, columns = np.divmod(_stored_positions(term, pattern.shape), width)
        if forward:
            place = flat.at[colours[columns], rows]
        else:
            place = flat.at[colours[rows], columns]
        return place.get(mode="promise_in_bounds")

    return Partial(pattern, tuple(map(values, pattern.terms)), products.dtype)


def _stored_positions(term: Term, shape: tuple[int, ...]) -> np.ndarray:
    """The position of an entry for each value that a term stores."""
    grid = positions(term, shape).reshape(term.sizes)
    stored = term.value or ()
    first = tuple(slice(None) if i in stored else 0 for i in range(len(term.sizes)))
    return np.asarray(grid[first])


def _primal(program: Program, count: int) -> Callable:
    def primal(*leaves):
        outputs = as_arrays(evaluate(program, leaves), program.output_avals)
        return outputs[:count], outputs

    return primal


def _offsets(shapes: Sequence[tuple[int, ...]]) -> np.ndarray:
    """The position of the first element of each array in the vector of all."""
    return np.cumsum([0, *map(math.prod, shapes)])[:-1]


def _size(arrays: Sequence[Any]) -> int:
    return sum(math.prod(jnp.shape(array)) for array in arrays)
