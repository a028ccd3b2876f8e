"""Random functions of arrays, whose graphs are structured."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from ..._api.explain import trace
from ..._graph.graph import ComputationalGraph


_Shape: TypeAlias = tuple[int, ...]
_UNARY = jnp.sin, jnp.exp, jnp.tanh, jnp.log, jnp.square, jnp.sqrt, jnp.negative
_BINARY = jnp.multiply, jnp.multiply, jnp.add, jnp.subtract, jnp.divide


class _Line(NamedTuple):
    """A line of a program: an operation on earlier values."""

    operation: Callable[..., jax.Array]
    operands: tuple[int, ...]


class _Program:
    """A function of a tuple of arrays, line by line, with the shape of every value."""

    def __init__(self, shapes: list[_Shape]):
        self.shapes, self.lines, self._inputs = list(shapes), [], len(shapes)

    def add(self, operation: Callable, *operands: int) -> int:
        avals = [jax.ShapeDtypeStruct(self.shapes[i], jnp.float32) for i in operands]
        self.shapes.append(jax.eval_shape(operation, *avals).shape)
        self.lines.append(_Line(operation, operands))
        return len(self.shapes) - 1

    @property
    def results(self) -> list[int]:
        """Values that no line uses."""
        used = {i for line in self.lines for i in line.operands}
        return [i for i in range(self._inputs, len(self.shapes)) if i not in used]

    def __call__(self, inputs: tuple[jax.Array, ...]) -> list[jax.Array]:
        values = list(inputs)
        for line in self.lines:
            values.append(line.operation(*(values[i] for i in line.operands)))
        return [values[i] for i in self.results]


def random_function(
    seed: int, smallest: int, largest: int
) -> tuple[Callable[[Any], list[jax.Array]], tuple[jax.ShapeDtypeStruct, ...]]:
    """A random function of a few scalars, vectors and matrices: entry by entry, with
    broadcasts, sums, products with known and unknown matrices, slices and transposes.

    **Arguments:**

    - `seed`: the seed that determines the function.
    - `smallest`, `largest`: bounds of the number of lines; drawn by the logarithm.

    **Returns:** the function, and the shapes of its argument, a tuple of arrays.

    !!! Example

        ```python
        drawn, shapes = eqx_cc.policy.random_function(seed=0, smallest=5, largest=10)
        arrays = tuple(jnp.ones(s.shape, s.dtype) for s in shapes)
        eqx_cc.trace(drawn, arrays).graph
        ```
    """
    rng = random.Random(seed)
    lengths = [rng.randint(2, 8) for _ in range(2)]
    choices = [(), *((n,) for n in lengths), tuple(lengths), tuple(lengths[::-1])]
    program = _Program([rng.choice(choices[1:]) for _ in range(rng.randint(1, 4))])
    inputs = tuple(jax.ShapeDtypeStruct(s, jnp.float32) for s in program.shapes)
    reach, far = rng.randint(3, 12), rng.uniform(0.0, 0.3)
    wide = rng.uniform(0.0, 0.4)  # The share of operations that mix entries.
    for _ in range(round(smallest * (largest / smallest) ** rng.random())):
        count = len(program.shapes)
        least = 0 if rng.random() < far else max(0, count - reach)
        left = rng.randrange(least, count)
        if rng.random() < wide:
            _mix(rng, program, left)
        elif rng.random() < 0.35:
            program.add(rng.choice(_UNARY), left)
        else:
            _combine(rng, program, left)
    return program, inputs


def _combine(rng: random.Random, program: _Program, left: int) -> None:
    """An operation on two values whose shapes can be broadcast against each other."""
    fitting = [i for i in range(len(program.shapes)) if _fit(program, left, i)]
    right, operation = rng.choice(fitting[-8:]), rng.choice(_BINARY)
    rank = max(len(program.shapes[left]), len(program.shapes[right]))

    def aligned(x):
        return x[None] if 0 < x.ndim < rank else x

    program.add(lambda x, y: operation(aligned(x), aligned(y)), left, right)


def _fit(program: _Program, left: int, right: int) -> bool:
    one, other = program.shapes[left], program.shapes[right]
    return one == other or not one or not other or one[-1:] == other or one == other[1:]


def _mix(rng: random.Random, program: _Program, value: int) -> None:
    """An operation on more than entries, as the shape allows."""
    shape = program.shapes[value]
    if not shape:
        vectors = [i for i, s in enumerate(program.shapes) if s]
        program.add(jnp.multiply, value, rng.choice(vectors))
    elif len(shape) == 1:
        rng.choice((_sum, _known_product, _neighbours, _outer, _mean))(
            rng, program, value
        )
    else:
        rng.choice((_sum, _known_product, _unknown_product, _transpose))(
            rng, program, value
        )


def _sum(rng: random.Random, program: _Program, value: int) -> None:
    axis = rng.randrange(len(program.shapes[value]))
    program.add(lambda x: jnp.sum(x, axis), value)


def _mean(rng: random.Random, program: _Program, value: int) -> None:
    mean = program.add(lambda x: jnp.mean(x), value)
    program.add(jnp.subtract, value, mean)


def _known_product(rng: random.Random, program: _Program, value: int) -> None:
    """Multiplies the last axis by a constant matrix."""
    n = program.shapes[value][-1]
    sizes = {s[-1] for s in program.shapes if s}
    m = rng.choice(sorted(sizes))
    matrix = 1.5 + jnp.arange(n * m, dtype=jnp.float32).reshape(n, m)
    program.add(lambda x: x @ matrix, value)


def _unknown_product(rng: random.Random, program: _Program, value: int) -> None:
    n = program.shapes[value][1]
    fitting = [i for i, s in enumerate(program.shapes) if s[:1] == (n,)]
    if fitting:
        program.add(jnp.matmul, value, rng.choice(fitting))
    else:
        _transpose(rng, program, value)


def _neighbours(rng: random.Random, program: _Program, value: int) -> None:
    if program.shapes[value][0] < 2:
        return _sum(rng, program, value)
    rolled = program.add(lambda x: jnp.concatenate([x[1:], x[:1]]), value)
    program.add(jnp.multiply, value, rolled)


def _outer(rng: random.Random, program: _Program, value: int) -> None:
    vectors = [i for i, s in enumerate(program.shapes) if len(s) == 1]
    program.add(lambda x, y: x[:, None] * y[None], value, rng.choice(vectors))


def _transpose(rng: random.Random, program: _Program, value: int) -> None:
    program.add(jnp.transpose, value)


def random_structured_graph(
    seed: int, smallest: int, largest: int
) -> ComputationalGraph:
    """The graph of a random function.

    **Arguments:** as for `random_function`; vertices are about as many as lines.

    **Returns:** an [`eqx_cc.ComputationalGraph`][].
    """
    fun, inputs = random_function(seed, smallest, largest)
    arrays = tuple(jnp.zeros(x.shape, x.dtype) for x in inputs)
    return trace(fun, arrays).graph
