"""What the tests compare with, and how closely."""

import itertools as it
import os
import pathlib
import random
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from eqx_cc._scalarise.native.lowering import native_p


_ROOT = pathlib.Path(__file__).parents[1]

# Seconds after which a process that takes less than one minute is taken to hang.
_HANGS = 900

# A few hundred roundings.
RTOL = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2, "bfloat16": 6e-2}


def as_arrays(x: Any) -> Any:
    """`x` with JAX arrays in place of NumPy arrays."""
    is_numpy = lambda leaf: isinstance(leaf, np.ndarray | np.generic)  # noqa: E731
    return jax.tree.map(lambda leaf: jnp.asarray(leaf) if is_numpy(leaf) else leaf, x)


def flatten(fun: Callable, x: Any) -> tuple[Callable, list[jax.Array]]:
    """`fun` as a function from its inexact input leaves to its inexact output leaves.

    NumPy arrays in `x` become JAX arrays first.
    """
    dynamic, static = eqx.partition(as_arrays(x), eqx.is_inexact_array)
    leaves, treedef = jtu.tree_flatten(dynamic)

    def flat(leaves):
        out = fun(eqx.combine(jtu.tree_unflatten(treedef, leaves), static))
        return [y for y in jtu.tree_leaves(out) if eqx.is_inexact_array(y)]

    return flat, leaves


def intermediates(fun: Callable, *args: Any) -> list[int]:
    """The numbers of the vertices that an order of elimination is to name."""
    return list(eqx_cc.trace(fun, *args).graph.intermediates)


def native_functions(fun: Callable, *args: Any) -> list[Any]:
    """What the native calls of a function compute, those of its calls included."""

    def walk(jaxpr):
        for eqn in jaxpr.eqns:
            if eqn.primitive is native_p:
                yield eqn.params["call"].function
            for value in eqn.params.values():
                if hasattr(value, "jaxpr"):
                    yield from walk(value.jaxpr)

    return list(walk(jax.make_jaxpr(fun)(*args).jaxpr))


class Shuffled(eqx_cc.AbstractOrdering):
    """A permutation that a seed determines, of the bodies of loops as well."""

    seed: str

    def __call__(self, graph):
        rng = np.random.default_rng(zlib.crc32(self.seed.encode()))
        return tuple(rng.permutation(graph.intermediates).tolist())


def random_graph(seed: int, inner: int = 14) -> eqx_cc.ComputationalGraph:
    """Of up to 4 inputs, `inner` intermediates and 4 outputs. Layers are mixed: any
    vertex feeds any later one, the outputs excepted."""
    rng = random.Random(seed)
    counts = [rng.randint(1, most) for most in (4, inner, 4)]
    count, first = sum(counts), sum(counts[:2])
    chance = rng.uniform(0.1, 0.6)
    edges = [
        (u, v)
        for u, v in it.combinations(range(count), 2)
        if v >= counts[0] and u < first and rng.random() < chance
    ]
    return eqx_cc.ComputationalGraph.from_edges(
        count, range(counts[0]), range(first, count), edges
    )


def run_on_devices(script: str, count: int) -> None:
    """Runs a script of this folder in a process of so many devices, where every warning
    is an error; asserts that it succeeds.

    Programs are dispatched one after another: collective operations of two programs
    may wait for each other where there are fewer cores than devices.
    """
    path = pathlib.Path(__file__).with_name(script)
    flags = os.environ.get("XLA_FLAGS", "")
    flags += f" --xla_force_host_platform_device_count={count}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    environment["JAX_CPU_ENABLE_ASYNC_DISPATCH"] = "false"
    paths = [str(path.parents[1]), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    run_to_its_end(
        [sys.executable, "-W", "error", "-X", "faulthandler", str(path)], environment
    )


def run_to_its_end(command: list[str], environment: dict[str, str]) -> None:
    """Runs a process; asserts that it succeeds.

    One that hangs is ended by `SIGABRT`, on which Python's `faulthandler` prints where
    each thread is.
    """
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, cwd=_ROOT, **pipes) as process:
        try:
            printed, _ = process.communicate(timeout=_HANGS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            printed, _ = process.communicate()
    assert process.returncode == 0, printed


def reference_jacobian(
    transform: Callable, fun: Callable, leaves: list, *, by_leaf: bool = False
) -> list:
    """The Jacobian that `transform` (`jax.jacfwd` or `jax.jacrev`) gives.

    One leaf at a time if their dtypes differ, which JAX would promote, or `by_leaf`.
    """
    if len({leaf.dtype for leaf in leaves}) <= 1 and not by_leaf:
        return transform(fun)(leaves)

    def column(i):
        return transform(lambda v: fun([*leaves[:i], v, *leaves[i + 1 :]]))(leaves[i])

    columns = [column(i) for i in range(len(leaves))]
    return [list(row) for row in zip(*columns)]


def relative_error(
    ours: jax.Array, reference: jax.Array, *, allow_zeros: bool = False
) -> float:
    """`max |a - b| / max(1, max |b|)`, infinite where only one of them is finite.

    JAX pushes every basis vector through every partial, and where that is infinite it
    finds `0 * inf = nan`, even in entries of other inputs. A structured block holds
    nothing there: with `allow_zeros`, it may be zero where the reference is `nan`.
    """
    a, b = (np.asarray(v).astype(_wide(v.dtype)) for v in (ours, reference))
    if allow_zeros:
        b = np.where(np.isnan(b) & (a == 0.0), 0.0, b)
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return np.inf
    if not np.all(np.isfinite(a[finite])):
        return np.inf
    scale = max(1.0, np.max(np.abs(b[finite]), initial=0.0))
    return float(np.max(np.abs(a[finite] - b[finite]), initial=0.0) / scale)


def _wide(dtype):
    return np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64


def _tolerance(block: jax.Array, rtol: float | None) -> float:
    return RTOL[jnp.finfo(block.dtype).dtype.name] if rtol is None else rtol


def assert_jacobian_close(
    fun: Callable,
    x: Any,
    orders: Sequence[Any] = ("markowitz",),
    *,
    rtol: float | None = None,
    reference: Callable = jax.jacfwd,
    allow_zeros: bool = False,
    granularity: str = "array",
) -> None:
    """Asserts that our Jacobian in every order is that of `reference`.

    All of them are compiled together, which costs half of compiling each alone.

    **Arguments:**

    - `fun`, `x`: a function of one PyTree, and the point.
    - `orders`: each as `eqx_cc.cc_jacobian` takes it.
    - `rtol`: the relative error allowed in a block; by default that of its dtype.
    - `reference`: `jax.jacfwd`, or `jax.jacrev` for what has no forward mode.
    - `allow_zeros`: as for `relative_error`; the reference is then by leaf.
    - `granularity`: as `eqx_cc.cc_jacobian` takes it.
    """
    flat, leaves = flatten(fun, x)

    @jax.jit
    def jacobians(leaves):
        ours = {
            str(order): eqx_cc.cc_jacobian(flat, order=order, granularity=granularity)(
                leaves
            )
            for order in orders
        }
        expected = reference_jacobian(reference, flat, leaves, by_leaf=allow_zeros)
        return ours, expected

    ours, expected = jacobians(leaves)
    for name, jacobian in ours.items():
        _assert_blocks_close(name, jacobian, expected, rtol, allow_zeros)


def _assert_blocks_close(order, jacobian, expected, rtol, allow_zeros):
    assert jtu.tree_structure(jacobian) == jtu.tree_structure(expected), order
    for i, (row, expected_row) in enumerate(zip(jacobian, expected)):
        for j, (block, want) in enumerate(zip(row, expected_row)):
            where = f"order {order}, output leaf {i}, input leaf {j}"
            assert block.shape == want.shape, where
            assert block.dtype == want.dtype, where
            error = relative_error(block, want, allow_zeros=allow_zeros)
            assert error <= _tolerance(want, rtol), (
                f"{where}: error {error:.2e}\n{block}\nfor\n{want}"
            )
