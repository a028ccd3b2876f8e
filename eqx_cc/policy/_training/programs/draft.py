"""Drafts of programs: a function with the shapes of its arguments, and combinators."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


Shapes: TypeAlias = tuple[tuple[int, ...], ...]


class Draft(NamedTuple):
    """A function of several arrays of these shapes, which returns a list of arrays."""

    fun: Callable[..., list[Array]]
    shapes: Shapes


# A family of programs: draws one of any size.
Family: TypeAlias = Callable[[random.Random], Draft]


def constants(rng: random.Random, *shape: int) -> Float[Array, ...]:
    """Known numbers, some of them zero or one, as in the data of a program."""
    count = 1
    for n in shape:
        count *= n
    kinds = (0.0, 1.0, -1.0), (0.0, 1.3), (0.7, 1.1, 1.9)
    values = [rng.choice(rng.choice(kinds)) for _ in range(count)]
    return jnp.asarray(values, jnp.float32).reshape(shape)


def shapes_of(draft: Draft) -> Shapes:
    """The shapes of the results."""
    avals = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in draft.shapes]
    return tuple(out.shape for out in jax.eval_shape(draft.fun, *avals))


def flat(arrays: Sequence[Array]) -> Float[Array, " n"]:
    return jnp.concatenate([jnp.ravel(x) for x in arrays])


def after(rng: random.Random, first: Draft, second: Draft) -> Draft:
    """The second program on numbers from the results of the first."""
    count = flat_size(shapes_of(first))
    picks = [
        [rng.randrange(count) for _ in range(flat_size((shape,)))]
        for shape in second.shapes
    ]

    def fun(*args):
        numbers = flat(first.fun(*args))
        arrays = [
            numbers[jnp.asarray(pick)].reshape(shape)
            for pick, shape in zip(picks, second.shapes)
        ]
        return second.fun(*arrays)

    return Draft(fun, first.shapes)


def beside(first: Draft, second: Draft) -> Draft:
    """Both programs on the same arguments, as far as their shapes agree."""
    shared = [i for i, s in enumerate(first.shapes) if s in second.shapes]
    rest = list(second.shapes)
    for i in shared:
        if first.shapes[i] in rest:
            rest.remove(first.shapes[i])

    def fun(*args):
        count = len(first.shapes)
        inputs, more = list(args[:count]), list(args[count:])
        arrays = []
        for shape in second.shapes:
            fitting = [x for x in (*inputs, *more) if x.shape == shape]
            arrays.append(fitting[0])
        return [*first.fun(*inputs), *second.fun(*arrays)]

    return Draft(fun, (*first.shapes, *rest))


def gradient(draft: Draft) -> Draft:
    """The gradient of the sum of squares of the results: its Jacobian is a Hessian."""

    def total(args: Any):
        return sum(jnp.sum(x * x) for x in draft.fun(*args))

    return Draft(lambda *args: list(jax.grad(total)(args)), draft.shapes)


def unrolled(rng: random.Random, draft: Draft, steps: int) -> Draft:
    """Steps of Euler's method for the program as a right-hand side. Numbers that it
    does not return are constant in time."""
    count, rate = flat_size(shapes_of(draft)), rng.choice((0.1, 0.01))
    picks = [
        [rng.randrange(count) for _ in range(flat_size((shape,)))]
        for shape in draft.shapes
    ]

    def fun(*args):
        state = list(args)
        for _ in range(steps):
            numbers = flat(draft.fun(*state))
            state = [
                x + rate * numbers[jnp.asarray(pick)].reshape(x.shape)
                for x, pick in zip(state, picks)
            ]
        return state

    return Draft(fun, draft.shapes)


def flat_size(shapes: Shapes) -> int:
    """The number of entries of arrays of these shapes."""
    total = 0
    for shape in shapes:
        size = 1
        for n in shape:
            size *= n
        total += size
    return total
