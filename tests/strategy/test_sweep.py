"""The Jacobian by one pass of forward or reverse mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._strategy.jacobian_blocks import trace_function
from eqx_cc._strategy.sweep import directions, sweep
from helpers import reference_jacobian, relative_error, RTOL


@jax.custom_vjp
def reversed_only(x):
    return jnp.sin(x)


reversed_only.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (3 * ct * jnp.cos(x),))


def _mixed(x, y):
    """Inputs of two types, an output of each, one of integers and one of zeros."""
    wide = jnp.sum(x.astype("float64")) * y
    return [wide, x * 2, jnp.argmax(x), jnp.zeros(2), (y > 0).astype(int)]


def _loop(x):
    return jax.lax.while_loop(lambda y: jnp.sum(y) < 9, lambda y: 2 * y * x, x)


f32 = np.float32
CASES = {
    "scalar": (lambda x: jnp.sin(x) * x, [np.float64(0.5)]),
    "one": (lambda x: jnp.exp(x[0]), [np.array([0.3])]),
    "empty": (lambda x: jnp.sum(x) * jnp.ones(3), [np.zeros((0,))]),
    "empty_output": (lambda x: x[:0], [np.ones(3)]),
    "matrix": (lambda x, y: [x @ y, y.T], [np.eye(2, 3) + 1, np.full((3, 2), 0.5)]),
    "repeated": (lambda x: [x, x, x * x + x[0]], [np.arange(3.0)]),
    "constant": (lambda x: [jnp.ones(2), x], [np.ones(2)]),
    "mixed": (_mixed, [np.arange(3, dtype=f32), np.arange(2.0)]),
    "float32": (lambda x, y: jnp.outer(x, y) @ y, [np.ones(2, f32), np.ones(3, f32)]),
    "sorted": (lambda x: jnp.sort(x)[::-1] * x, [np.array([0.3, -1.0, 2.0])]),
}  # fmt: skip


def _swept(fun, points, direction):
    leaves = [jnp.asarray(x) for x in points]

    def flat(leaves):
        out = fun(*leaves)
        return (out if isinstance(out, list) else [out]), None

    program, count, _ = trace_function(flat, leaves)
    return leaves, flat, sweep(program, leaves, count, direction)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("name", CASES)
def test_as_jax(name, direction):
    fun, points = CASES[name]
    leaves, flat, (outputs, blocks) = _swept(fun, points, direction)
    expected = flat(leaves)[0]
    assert [o.dtype for o in outputs] == [e.dtype for e in expected]
    inexact = [
        i for i, e in enumerate(expected) if jnp.issubdtype(e.dtype, jnp.floating)
    ]
    rows = reference_jacobian(
        jax.jacfwd, lambda x: [flat(x)[0][i] for i in inexact], leaves, by_leaf=True
    )
    assert set(blocks) == {(i, j) for i in inexact for j in range(len(leaves))}
    for i, row in zip(inexact, rows):
        np.testing.assert_array_equal(outputs[i], expected[i])
        for j, want in enumerate(row):
            ours = blocks[i, j]
            assert ours.shape == want.shape and ours.dtype == want.dtype
            assert relative_error(ours, want) <= RTOL[ours.dtype.name]


def _directions(fun, x):
    program, count, _ = trace_function(lambda leaves: ([fun(*leaves)], None), [x])
    return directions(program, count)


def test_directions():
    x = jnp.ones(2)
    assert _directions(jnp.sin, x) == ("forward", "reverse")
    assert _directions(reversed_only, x) == ("reverse",)
    assert _directions(jax.jit(lambda x: reversed_only(x) * x), x) == ("reverse",)
    assert _directions(lambda x: jax.lax.complex(x, x), x) == ("forward",)


def test_a_function_that_has_only_a_reverse_rule():
    leaves, _, (_, blocks) = _swept(reversed_only, [np.arange(3.0)], "reverse")
    np.testing.assert_allclose(blocks[0, 0], np.diag(3 * np.cos(leaves[0])))


def test_a_loop_that_has_only_a_forward_rule():
    point = np.array([1.5, 2.0])
    _, _, (_, blocks) = _swept(_loop, [point], "forward")
    np.testing.assert_allclose(blocks[0, 0], jax.jacfwd(_loop)(jnp.asarray(point)))
