"""Programs that evaluate a Jacobian again and again, and how they are timed.

There are four settings:

- **call**: a jitted function is called eagerly, and its result waited for. Small
    functions spend this time in Python and in dispatch; large ones in the Jacobian,
    whose every entry is written, since it is returned.
- **loop**: inside one compiled loop, as in a solver. See below.
- **batch 512**, **batch 65536**: one call of `jit(vmap(jacobian))` at as many points,
    the whole of which is returned. A negated copy of an array of the size of the result
    is timed beside it, for the bandwidth.

What the loop does with the Jacobian decides what is timed. XLA deletes what nobody
reads, and moves a sum into what it sums (the sum of a broadcast becomes a product, that
of a concatenation a few smaller sums), so that a program that only adds the entries up
need not form them. Here the loop *carries* the Jacobian:

    J = 0
    repeat:  J = jacobian(x + eps * fold(J))

where `fold` adds up all that is stored, in pieces of the size of `x`: of a dense matrix
these are its rows. Then

- every entry has to be written, for the last iteration returns it, and the compiler
    does not know which is the last (the number of iterations is an argument);
- every entry is read by the next iteration, on the other side of the loop's boundary,
    which no pass of XLA moves sums across; iterations cannot overlap either;
- it is cheap: one read of the matrix, no weights to read with it, and vector additions,
    not one long chain of them. It is the least that a solver does with its Jacobian.

`eps` is an argument as well, so small that `x` stays what it is. The contestant "floor"
is a loop that does the same with a matrix of which every entry is copied from `x`: what
writing and reading cost, and what no Jacobian can go below. Ratios are of whole times,
with this part in them. (Direct consumption, `x + eps * sum(J * W)` without the carry,
was measured as well: for functions of vectors it takes about as long; Jacobians of many
separate scalars are two to three times faster, since XLA need not write them one by
one.)

Compilation starts from empty caches of JAX. Its stages are timed apart: "trace" (with
whatever the contestant does then: for eqx_cc elimination, and looking up the order),
"lower", "compile"; "retrace" is tracing and lowering a second time, from empty caches
of JAX again, when the contestant has seen it all before.

What is not quite even: XLA copies a large matrix that a loop carries once more in every
iteration, so that "call" says more of those; memory for results of tens of megabytes is
new at every call, and the operating system takes as long to clear it as many Jacobians
take to be computed (it is in the floor and in the copy, and in all contestants but
CasADi, which writes to the same place again).
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


# Far below what rounding sees of any point, and no problem for 32 bits.
EPS = 1e-25
SAMPLE = 0.05
MIN_ROUNDS, MAX_ROUNDS = 3, 25


@dataclass
class Cost:
    """Seconds to trace and compile a program, and bytes that it needs."""

    trace: float | None = None
    lower: float | None = None
    compile: float | None = None
    retrace: float | None = None
    temp_bytes: int | None = None
    output_bytes: int | None = None


@dataclass
class Program:
    """`evaluate(k)` evaluates a Jacobian (or a batch) `k` times, and returns the last
    when it is there."""

    evaluate: Callable[[int], Any]
    cost: Cost = field(default_factory=Cost)


def compiled(fun: Callable, *args: Any):
    """The compiled function, from empty caches, and its cost."""
    jax.clear_caches()
    stages, now = [], time.perf_counter()
    traced = jax.jit(fun).trace(*args)
    stages.append(time.perf_counter() - now)
    now = time.perf_counter()
    lowered = traced.lower()
    stages.append(time.perf_counter() - now)
    now = time.perf_counter()
    executable = lowered.compile()
    cost = Cost(*stages, compile=time.perf_counter() - now)
    jax.clear_caches()
    now = time.perf_counter()
    jax.jit(fun).trace(*args).lower()
    cost.retrace = time.perf_counter() - now
    memory = executable.memory_analysis()
    if memory is not None:
        cost.temp_bytes = memory.temp_size_in_bytes
        cost.output_bytes = memory.output_size_in_bytes
    return executable, cost


def stored(jacobian: Any) -> list[jax.Array]:
    """The numbers that a Jacobian consists of, whatever holds them."""
    return [leaf for leaf in jax.tree.leaves(jacobian) if is_number(leaf)]


def is_number(leaf: Any) -> bool:
    """True if an array holds numbers, and not positions."""
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def fold(values: Sequence[jax.Array], x: jax.Array) -> jax.Array:
    """Every number of `values`, added up in pieces of the size of `x`."""
    total = jnp.zeros_like(x)
    for value in values:
        flat = jnp.ravel(value)
        flat = jnp.pad(flat, (0, -flat.size % x.size))
        total = total + jnp.sum(flat.reshape(-1, x.size), axis=0).reshape(x.shape)
    return total


def shifted(x: Any, values: list[jax.Array], eps: jax.Array) -> Any:
    """`x + eps * fold(values)`. Of several inputs each folds the blocks that are its
    own: a Jacobian lists, for each output, one block for each input."""
    leaves, treedef = jax.tree.flatten(x)
    blocks = [values[i :: len(leaves)] or values for i in range(len(leaves))]
    moved = [leaf + eps * fold(vs, leaf) for leaf, vs in zip(leaves, blocks)]
    return jax.tree.unflatten(treedef, moved)


def loop_body(jacobian: Callable, x: Any, eps: jax.Array) -> Callable:
    """An iteration, from the numbers of a Jacobian to those of the next."""
    return lambda values: stored(jacobian(shifted(x, values, eps)))


def call_program(jacobian: Callable, x: Any) -> Program:
    """Eager calls of the jitted function; also of a vmapped one."""
    executable, cost = compiled(jacobian, x)

    def evaluate(k: int):
        out = None
        for _ in range(k):
            out = None  # Frees what large results take before the next is made.
            out = jax.block_until_ready(executable(x))
        return out

    return Program(evaluate, cost)


def batch_program(jacobian: Callable, xs: Any) -> Program:
    """Calls of the Jacobian at many points at once."""
    return call_program(jax.vmap(jacobian), xs)


def loop_program(jacobian: Callable, x: Any, eps: float = EPS) -> Program:
    """Evaluations inside one compiled loop."""

    def run(k, x, values, eps):
        body = loop_body(jacobian, x, eps)
        return lax.fori_loop(0, k, lambda _, values: body(values), values)

    shapes = jax.eval_shape(lambda x: stored(jacobian(x)), x)
    start = [jnp.zeros(s.shape, s.dtype) for s in shapes]
    scale = jnp.asarray(eps, jax.tree.leaves(x)[0].dtype)
    executable, cost = compiled(run, np.int32(1), x, start, scale)

    def evaluate(k: int):
        return jax.block_until_ready(executable(np.int32(k), x, start, scale))

    return Program(evaluate, cost)


def _seconds(program: Program, k: int) -> float:
    started = time.perf_counter()
    program.evaluate(k)
    return time.perf_counter() - started


def iterations(program: Program, target: float) -> int:
    """So many evaluations as take about `target` seconds."""
    k = 1
    _seconds(program, k)
    while (taken := _seconds(program, k)) < target / 4 and k < 1 << 24:
        k = max(2 * k, min(64 * k, int(0.5 * target * k / max(taken, 1e-9))))
    return max(1, round(k * target / taken))


def sample(programs: dict[str, Program], seconds: float) -> dict[str, list[float]]:
    """Seconds for one evaluation, of every program once a round, in random order.

    As many rounds as fit into `seconds`, within reason; shorter ones of what is fast.
    """
    target = min(SAMPLE, seconds / (MAX_ROUNDS * len(programs)))
    counts = {name: iterations(p, target) for name, p in programs.items()}
    times: dict[str, list[float]] = {name: [] for name in programs}
    rng, started = random.Random(0), time.perf_counter()
    for done in range(MAX_ROUNDS):
        if done >= MIN_ROUNDS and time.perf_counter() - started > seconds:
            break
        for name in rng.sample(list(programs), len(programs)):
            taken = _seconds(programs[name], counts[name])
            times[name].append(taken / counts[name])
    return times


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, middle, third
