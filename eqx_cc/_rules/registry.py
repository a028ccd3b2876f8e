"""The registry of rules, and the builder with which a rule states a block."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np

from .._blocks.arrays import take, Values
from .._jaxpr.avals import is_complex
from .._sparsity.pattern import Pattern
from .._sparsity.positions.affine import Affine, single
from .._sparsity.positions.table import Form, Table
from .._sparsity.term import normalise, Scalar, Term


Arrays = Sequence[Any]


@dataclass(frozen=True)
class Operand:
    """An operand of a linear equation.

    `linear` is true if the equation is linear in it: it is a tangent. Otherwise it is a
    coefficient; `known` is its value if that is one number known while tracing, and
    `indices` if it is an integer array known while tracing. `is_nonzero` is a mask of
    the entries of a constant array that are not zero, if these are half of it at most.
    [`eqx_cc.register_rule`][] has an example of a rule.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    linear: bool
    known: Scalar | None = None
    indices: np.ndarray | None = None
    is_nonzero: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_complex(self) -> bool:
        """True if the elements are complex."""
        return is_complex(self)


@dataclass(frozen=True)
class Block:
    """The partial of one result with respect to one operand.

    `values` reads the pattern's values off the operands' arrays (`None` for linear
    ones). `fallback` is true if no rule stated a structure. `entries` computes the
    positions of the non-zeros, ascending in the ravelled block, where the pattern
    stores known zeros as well.

    [`eqx_cc.BlockBuilder`][] builds it.
    """

    operand: int
    pattern: Pattern
    values: Callable[[Arrays], Values]
    result: int = 0
    fallback: bool = False
    entries: Callable[[], np.ndarray] | None = None


Rule = Callable[
    [Sequence[Operand], Sequence[jax.ShapeDtypeStruct], Mapping[str, Any]],
    Sequence[Block] | None,
]

_RULES: dict[jex.Primitive, Rule] = {}
_registrations = 0


def register_rule(*primitives: Any) -> Callable[[Rule], Rule]:
    """Registers the local partials of linear primitives.

    The rule is called as `rule(operands, results, params)` while tracing, where
    `operands` has an `Operand` for each operand, and `results` the shape and dtype of
    each result. It returns a `Block` for each pair of a linear operand and a result. If
    the equation has no structure worth stating, it returns `None`, and an exact dense
    block is used.

    **Arguments:**

    - `*primitives`: objects such as those in `jax.extend.core.primitives`.

    **Returns:** a decorator, which returns the rule. A rule that is wrong makes
    Jacobians wrong: test it with [`eqx_cc.check_jacobian`][]. It raises a `TypeError`
    if anything else is passed, such as the name of a primitive.

    !!! Example

        The rule of a primitive that computes `2 * x`:

        ```python
        @eqx_cc.register_rule(double_p)
        def rule(operands, results, params):
            if not operands[0].linear or operands[0].is_complex:
                return None  # A dense block.
            axes = [eqx_cc.Affine(0, ((i, 1),)) for i in range(len(results[0].shape))]
            builder = eqx_cc.BlockBuilder(operands, 0, results[0])
            sizes = dict(enumerate(results[0].shape))
            return [builder.term(axes, axes, sizes, scale=2).block()]
        ```
    """

    # None may be left, of primitives that an earlier release of JAX does not have.
    if not all(isinstance(primitive, jex.Primitive) for primitive in primitives):
        raise TypeError(
            "`register_rule` takes primitives of JAX and returns a decorator, but got "
            f"{primitives!r}. Write `@eqx_cc.register_rule(jax.lax.sin_p)`, for "
            "example, above the rule."
        )

    def decorate(rule: Rule) -> Rule:
        global _registrations
        _registrations += 1
        _RULES.update((primitive, rule) for primitive in primitives)
        return rule

    return decorate


def rules() -> Mapping[jex.Primitive, Rule]:
    """The registered rules."""
    return _RULES


def registry_version() -> int:
    """The number of registrations: what is cached by equation depends on it."""
    return _registrations


def linear_rule(primitive: jex.Primitive) -> Rule | None:
    """The rule of a primitive, or None."""
    return _RULES.get(primitive)


class BlockBuilder:
    """States the block of one result with respect to one operand, for a rule.

    `term` adds a term to its pattern, over indices that are numbered freely; `block`
    makes the block.

    **Arguments:**

    - `operands`: as passed to the rule.
    - `which`: the position of the operand.
    - `result`: the result, of those passed to the rule.

    [`eqx_cc.register_rule`][] has an example.
    """

    def __init__(self, operands: Sequence[Operand], which: int, result) -> None:
        self.operand, self.position, self.result = operands[which], which, result
        self.terms: list[Term] = []
        self.reads: list[Callable[[Arrays], Any] | None] = []

    def term(
        self,
        out: Sequence[Form],
        inp: Sequence[Form],
        sizes: Mapping[int, int],
        *,
        scale: Scalar = 1,
        value: Sequence[int] | None = None,
        read: Callable[[Arrays], Any] | None = None,
        mask: bool = False,
        selection: bool = False,
        conj: bool = False,
    ) -> BlockBuilder:
        """Adds a term.

        **Arguments:**

        - `out`, `inp`: the position along each axis, an `Affine` form of the indices or
            a table of positions.
        - `sizes`: the size of each index.
        - `scale`: a known coefficient.
        - `value`, `read`: the indices that the value's axes run over, and the value, of
            the operands' arrays. Without them it is one.
        - `mask`: if true, the value is boolean, choosing between `scale` and zero.
        - `selection`: if true, it is a mask that has at most one element of the operand
            for each of the result.
        - `conj`: if true, the term acts on the conjugate of a complex operand.

        **Returns:** itself.
        """
        indices = None if value is None else tuple(value)
        if 0 in sizes.values() or 0 in self.result.shape or 0 in self.operand.shape:
            return self
        if scale != 0:
            kind = "selection" if selection else "mask" if mask else "value"
            forms = tuple(map(_plain, out)), tuple(map(_plain, inp))
            scale = scale.item() if isinstance(scale, np.generic) else scale
            raw = Term(*forms, (), indices, scale, kind, conj)
            term, recipe = normalise(raw, {i: int(n) for i, n in sizes.items()})
            self.terms.append(term)
            self.reads.append(
                None if read is None else lambda arrays: take(read(arrays), recipe)
            )
        return self

    def block(self, result: int = 0) -> Block:
        """The block; `result` is the result's position."""
        pattern = Pattern(
            tuple(self.result.shape),
            tuple(self.operand.shape),
            tuple(self.terms),
            is_complex(self.result),
            self.operand.is_complex,
        )
        reads = tuple(self.reads)
        return Block(
            self.position,
            pattern,
            lambda arrays: tuple(r if r is None else r(arrays) for r in reads),
            result,
        )


def _plain(form: Form) -> Form:
    """The form in Python's integers, as fingerprints have them written. Parameters of
    equations may be integers of NumPy."""
    if isinstance(form, Table):
        return form
    return Affine(int(form.offset), tuple((i, int(s)) for i, s in form.strides))


def one_term(
    operands: Sequence[Operand],
    position: int,
    result,
    out: Sequence[Form],
    inp: Sequence[Form],
    sizes: Mapping[int, int],
    *,
    index: int = 0,
    **term: Any,
) -> Block:
    """The block of one term, of the result at position `index`."""
    builder = BlockBuilder(operands, position, result)
    return builder.term(out, inp, sizes, **term).block(index)


def axes(shape: Sequence[int], first: int = 0) -> list[Affine]:
    """An index for each axis, numbered from `first`."""
    return [single(first + axis) for axis in range(len(shape))]


def indexed(shape: Sequence[int], first: int = 0) -> dict[int, int]:
    """The sizes of the indices of `axes(shape, first)`."""
    return {first + axis: size for axis, size in enumerate(shape)}


def broadcast(
    shape: Sequence[int], onto: Sequence[int], dims: Sequence[int] | None = None
) -> list[Affine]:
    """The axes of an operand over the indices of `axes(onto)`, to which it broadcasts;
    its axis `i` is `dims[i]` of the result, or `i`."""
    pairs = zip(shape, range(len(shape)) if dims is None else dims)
    return [single(axis) if size == onto[axis] else Affine(0) for size, axis in pairs]
