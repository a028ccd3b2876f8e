"""What the tests compare with, and how closely."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np


# A few hundred roundings.
RTOL = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2, "bfloat16": 6e-2}


def flatten(fun: Callable, x: Any) -> tuple[Callable, list[jax.Array]]:
    """`fun` as a function from its inexact input leaves to its inexact output leaves.

    NumPy arrays in `x` become JAX arrays first.
    """
    is_numpy = lambda leaf: isinstance(leaf, np.ndarray | np.generic)  # noqa: E731
    x = jax.tree.map(lambda leaf: jnp.asarray(leaf) if is_numpy(leaf) else leaf, x)
    dynamic, static = eqx.partition(x, eqx.is_inexact_array)
    leaves, treedef = jtu.tree_flatten(dynamic)

    def flat(leaves):
        out = fun(eqx.combine(jtu.tree_unflatten(treedef, leaves), static))
        return [y for y in jtu.tree_leaves(out) if eqx.is_inexact_array(y)]

    return flat, leaves


def intermediates(fun: Callable, *args: Any) -> list[int]:
    """The numbers of the vertices that an order of elimination is to name."""
    return list(eqx_cc.trace(fun, *args).graph.intermediates)


def random_order(fun: Callable, *args: Any, seed: str) -> list[int]:
    """A permutation of the intermediate vertices that `seed` determines."""
    vertices = intermediates(fun, *args)
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    return rng.permutation(vertices).tolist()


def reference_jacobian(transform: Callable, fun: Callable, leaves: list) -> list:
    """The Jacobian that `transform` (`jax.jacfwd` or `jax.jacrev`) gives.

    One leaf at a time if their dtypes differ: JAX would promote them.
    """
    if len({leaf.dtype for leaf in leaves}) <= 1:
        return transform(fun)(leaves)

    def column(i):
        return transform(lambda v: fun([*leaves[:i], v, *leaves[i + 1 :]]))(leaves[i])

    columns = [column(i) for i in range(len(leaves))]
    return [list(row) for row in zip(*columns)]


def relative_error(ours: jax.Array, reference: jax.Array) -> float:
    """`max |a - b| / max(1, max |b|)`, infinite where only one of them is finite."""
    a, b = (np.asarray(v).astype(_wide(v.dtype)) for v in (ours, reference))
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
) -> None:
    """Asserts that our Jacobian in every order is that of `reference`.

    All of them are compiled together, which costs half of compiling each alone. An
    order `"random ..."` is the permutation which that string determines.

    **Arguments:**

    - `fun`, `x`: a function of one PyTree, and the point.
    - `orders`: as `eqx_cc.cc_jacobian` takes them, or `"random ..."`.
    - `rtol`: the relative error allowed in a block; by default that of its dtype.
    - `reference`: `jax.jacfwd`, or `jax.jacrev` for what has no forward mode.
    """
    flat, leaves = flatten(fun, x)

    def resolve(order):
        if isinstance(order, str) and order.startswith("random"):
            return random_order(flat, leaves, seed=order)
        return order

    resolved = {str(order): resolve(order) for order in orders}

    @jax.jit
    def jacobians(leaves):
        ours = {
            name: eqx_cc.cc_jacobian(flat, order=order)(leaves)
            for name, order in resolved.items()
        }
        return ours, reference_jacobian(reference, flat, leaves)

    ours, expected = jacobians(leaves)
    for name, jacobian in ours.items():
        _assert_blocks_close(name, jacobian, expected, rtol)


def _assert_blocks_close(order, jacobian, expected, rtol):
    assert jtu.tree_structure(jacobian) == jtu.tree_structure(expected), order
    for i, (row, expected_row) in enumerate(zip(jacobian, expected)):
        for j, (block, want) in enumerate(zip(row, expected_row)):
            where = f"order {order}, output leaf {i}, input leaf {j}"
            assert block.shape == want.shape, where
            assert block.dtype == want.dtype, where
            error = relative_error(block, want)
            assert error <= _tolerance(want, rtol), (
                f"{where}: error {error:.2e}\n{block}\nfor\n{want}"
            )
