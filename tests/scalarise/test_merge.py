"""Programs that are written entry by entry."""

import eqx_cc
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from eqx_cc import cc_jacobian
from eqx_cc._scalarise.merge import merged
from eqx_cc._strategy.jacobian_blocks import trace_function
from jax import lax


N = 12
X = jnp.linspace(0.3, 1.4, N) ** 2


def _assert_close(block, expected):
    np.testing.assert_allclose(block, expected, rtol=1e-12, atol=1e-14)


def _entry(x, i):
    n = len(x)
    return (x[(i + 1) % n] - x[i - 2]) * x[i - 1] - x[i]


def _vectorised(x):
    return (jnp.roll(x, -1) - jnp.roll(x, 2)) * jnp.roll(x, 1) - x


def _stack(x):
    return jnp.stack([_entry(x, i) for i in range(len(x))])


def _array(x):
    entries = list(x)
    return jnp.array([_entry(entries, i) for i in range(len(x))])


def _concatenate(x):
    return jnp.concatenate([_entry(x, i)[None] for i in range(len(x))])


def _set(x):
    y = jnp.zeros_like(x)
    for i in range(len(x)):
        y = y.at[i].set(_entry(x, i))
    return y


def _add(x):
    y = -x
    for i in range(len(x)):
        y = y.at[i].add(_entry(x, i) + x[i])
    return y


def _take(x):
    n = len(x)
    neighbours = [[x[jnp.array((i + k) % n)] for k in (1, -2, -1, 0)] for i in range(n)]
    return jnp.stack([(a - b) * c - d for a, b, c, d in neighbours])


@pytest.mark.parametrize("fun", [_stack, _array, _concatenate, _set, _add, _take])
def test_the_structure_is_that_of_the_vectorised_form(fun):
    def blocks(x):
        return [cc_jacobian(f, structured=True)(x) for f in (fun, _vectorised)]

    block, expected = jax.jit(blocks)(X)
    assert (
        block.structure
        == expected.structure
        == "banded (offsets -11, -2, -1, 0, 1, 10, 11)"
    )
    assert block.num_values == expected.num_values == 3 * N
    np.testing.assert_allclose(block.todense(), expected.todense(), rtol=1e-14)


@pytest.mark.slow
def test_many_entries():
    x = jnp.linspace(0.1, 1.3, 300)
    block = jax.jit(cc_jacobian(_stack, structured=True))(x)
    assert block.num_values == 3 * len(x) and block.to_bcoo().nse == 4 * len(x)
    np.testing.assert_allclose(block.todense(), jax.jacfwd(_vectorised)(x), rtol=1e-14)


def _coefficients(x):
    scales = np.linspace(0.5, 2, N)
    return jnp.stack(
        [
            scales[i] * jnp.exp(x[i]) * x[i - 1] + (2.0 * x[i - 3] if i % 3 else 1.0)
            for i in range(N)
        ]
    )


def _own_derivatives(x):
    def entry(i):
        chosen = jnp.where(x[i - 1] > 0.5, x[i - 1] ** 2, 0.0)
        return jax.nn.softplus(x[i]) * chosen + jax.nn.relu(x[i - 3] - 0.4)

    return jnp.stack([entry(i) for i in range(N)])


def _sums(x):
    return jnp.stack([jnp.sum(x[max(i - 1, 0) : i + 1] ** 2) for i in range(N)])


def _irregular(x):
    pairs = np.random.default_rng(0).integers(0, N, (N, 2))
    return jnp.stack([jnp.sin(x[i]) * x[j] - x[k] for k, (i, j) in enumerate(pairs)])


def _mapped(x):
    def field(s):
        return jnp.stack([s[(i + 1) % 6] * s[i] - jnp.sin(s[i - 1]) for i in range(6)])

    return jax.vmap(field)(x.reshape(-1, 6)).ravel()


def _out_of_bounds(x):
    y = jnp.zeros(N)
    for i in range(N):
        y = y.at[i + 3].set(x[i] ** 2, mode="drop")
    return y + jnp.stack(
        [x.at[i + 2].get(mode="fill", fill_value=1.0) for i in range(N)]
    )


@pytest.mark.parametrize(
    "fun, most",
    [
        (_coefficients, 3 * N),
        (_own_derivatives, 3 * N),
        (_sums, 2 * N),
        (_irregular, 3 * N),
        (_mapped, 3 * N),
        (_out_of_bounds, 2 * N),
    ],
)
def test_only_entries_that_may_differ_from_zero_are_stored(fun, most):
    block = jax.jit(cc_jacobian(fun, structured=True))(X)
    assert block.to_bcoo().nse <= most
    _assert_close(block.todense(), jax.jit(jax.jacfwd(fun))(X))


def _sequential(x):
    for i in range(1, N):
        x = x.at[i].set(x[i] * x[i - 1] + x[i])
    return x


def _scan(x):
    return lax.scan(lambda c, _: (c + 0.1 * _stack(c), c[0]), x, None, length=3)


def _branches(x):
    return lax.cond(x[0] > 0, _stack, lambda x: -_set(x), x)


@pytest.mark.parametrize("fun", [_sequential, _scan, _branches])
def test_values(fun):
    blocks = jax.jit(cc_jacobian(fun, structured=True))(X)
    dense = jax.tree.map(
        lambda b: b.todense(), blocks, is_leaf=lambda b: isinstance(b, eqx_cc.Partial)
    )
    expected = jax.jit(jax.jacfwd(fun))(X)
    for block, array in zip(jax.tree.leaves(dense), jax.tree.leaves(expected)):
        _assert_close(block, array)


def _program(fun):
    return trace_function(lambda leaves: ([fun(leaves[0])], None), [X])[0]


def test_bodies_of_loops_are_merged():
    [equation] = merged(_program(lambda x: _scan(x)[0]), [X]).equations
    assert len(equation.params["jaxpr"].jaxpr.eqns) < 2 * N


def test_programs_of_arrays_are_left_alone():
    program = _program(_vectorised)
    assert merged(program, [X]) is program


def test_a_rule_that_differs_keeps_functions_apart():
    def scaled(factor):
        @jax.custom_jvp
        def double(x):
            return 2 * x

        double.defjvp(lambda primals, tangents: (2 * primals[0], factor * tangents[0]))
        return double

    def fun(x):
        return jnp.stack([scaled(2.0 + i % 2)(x[i]) * x[i - 1] for i in range(N)])

    block = jax.jit(cc_jacobian(fun, structured=True))(X)
    _assert_close(block.todense(), jax.jit(jax.jacfwd(fun))(X))


def test_derivatives_of_the_jacobian():
    def total(jacobian):
        return lambda x: jnp.sum(jnp.sin(jacobian(x)))

    def dense(x):
        return cc_jacobian(_own_derivatives, structured=True)(x).todense()

    gradient = jax.jit(jax.grad(total(dense)))(X)
    expected = jax.jit(jax.grad(total(jax.jacfwd(_own_derivatives))))(X)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def _chain(y, args=None):
    def entry(i):
        left = y[i - 1] ** 2 if i > 0 else 0.0
        return 3.0 * y[i] + left - (jnp.sin(y[i + 1]) if i < 23 else 0.0)

    return jnp.stack([entry(i) for i in range(24)])


def test_solvers():
    y, rhs = jnp.linspace(0.1, 0.7, 24), jnp.arange(24.0)
    operator = lx.JacobianLinearOperator(_chain, y)
    solution = jax.jit(lambda: lx.linear_solve(operator, rhs, eqx_cc.Banded()).value)()
    np.testing.assert_allclose(jax.jacfwd(_chain)(y) @ solution, rhs, atol=1e-12)
    assert lx.is_tridiagonal(eqx_cc.jacobian_operator(_chain, y))
