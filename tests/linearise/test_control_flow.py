"""Loops and branches: their bodies are eliminated once, whatever the length.

Everything here is compiled to be run once, so quickly rather than well.
"""

import itertools as it
from collections.abc import Callable
from functools import partial

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import filter_hessian
from jax import lax
from jax.experimental.ode import odeint
from jax.extend.core import jaxprs_in_params


# By elimination: through a loop, the default may take a sweep of JAX.
cc_jacobian = partial(eqx_cc.cc_jacobian, order="markowitz")


jit = partial(
    jax.jit,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    },
)


def array(*shape: int, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).uniform(0.3, 1.2, shape))


def assert_same(ours, expected, where=""):
    assert jax.tree.structure(ours) == jax.tree.structure(expected), where
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected)):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), where
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12, err_msg=str(where))


def num_equations(jaxpr) -> int:
    """Equations, those of loops and branches included."""
    inner = jaxprs_in_params
    return sum(1 + sum(map(num_equations, inner(e.params))) for e in jaxpr.eqns)


def num_scans(jaxpr) -> int:
    inner = jaxprs_in_params
    return sum(
        (e.primitive.name == "scan") + sum(map(num_scans, inner(e.params)))
        for e in jaxpr.eqns
    )


#
# Scans of constants, carries, stacked inputs and stacked outputs
#


def _few_inputs(w, carry, xs, **options):
    """Results are more than operands: forward accumulation."""

    def body(carry, x):
        carry = jnp.sin(carry * w + x)
        return carry, carry[:, None] * jnp.array([[1.0, x, w]])

    return lax.scan(body, carry, xs, **options)


def _few_outputs(w, carry, xs, **options):
    """Operands are more than results: reverse accumulation."""

    def body(carry, x):
        carry = jnp.sin(carry + w @ x)
        return carry, carry * jnp.sum(x) + w[0, 1]

    return lax.scan(body, carry, xs, **options)


def _arguments(fun, length: int):
    if fun is _few_inputs:
        return array(), array(2), array(length, seed=1)
    return array(2, 3), array(2), array(length, 3, seed=1)


MODES = pytest.mark.parametrize("fun", [_few_inputs, _few_outputs])
OUTPUTS = {"carry": 0, "ys": 1}


@MODES
def test_accumulation(fun):
    """Forward passes once, reverse goes back through what it stored."""
    args = _arguments(fun, 5)
    jaxpr = jax.make_jaxpr(cc_jacobian(fun, argnums=(0, 1, 2)))(*args).jaxpr
    assert num_scans(jaxpr) == (1 if fun is _few_inputs else 2)


@pytest.mark.parametrize("output", [0, 1], ids=["carry", "ys"])
@MODES
def test_what_is_active(fun, output):
    """Every choice of the operands that are differentiated, and of the results."""
    args = _arguments(fun, 5)
    choices = [c for n in (1, 2, 3) for c in it.combinations(range(3), n)]
    only = lambda *args: fun(*args)[output]  # noqa: E731

    @jit
    def jacobians(args):
        ours = {c: cc_jacobian(only, argnums=c)(*args) for c in choices}
        return ours, jax.jacfwd(only, argnums=(0, 1, 2))(*args)

    ours, expected = jacobians(args)
    for choice, jacobian in ours.items():
        assert_same(jacobian, tuple(expected[i] for i in choice), choice)


@pytest.mark.parametrize("length, reverse", [(0, False), (1, False), (5, True)])
@MODES
def test_lengths(fun, length, reverse):
    fun, args = partial(fun, reverse=reverse), _arguments(fun, length)
    argnums = (0, 1, 2)

    @jit
    def jacobians(args):
        return cc_jacobian(fun, argnums)(*args), jax.jacfwd(fun, argnums)(*args)

    assert_same(*jacobians(args))


#
# One by one
#


def _through_xs(xs):
    """A carry that is constant at first, and another that depends on it."""

    def body(carry, x):
        a, b, n = carry
        return (a + x * x, b + jnp.sin(a), n + 1), n

    (a, b, _), numbers = lax.scan(body, (0.0, 0.0, jnp.zeros((), int)), xs)
    return a, b, numbers


def _unused_carry(x):
    """One carry is never differentiated, one result never read."""

    def body(carry, y):
        a, k = carry
        return (jnp.sin(a) * k, 2.0 * k), (a, y)

    return lax.scan(body, (x, 1.0), jnp.arange(3.0))[0][0]


def _swapping(v):
    step = lambda c, _: ((c[1], jnp.sin(c[0])), None)  # noqa: E731
    return lax.scan(step, tuple(v), None, length=3)[0]


def _nested(x):
    def outer(carry, y):
        def inner(c, z):
            return jnp.sin(c * z), c * y

        return lax.scan(inner, carry, x[:2])

    return lax.scan(outer, x[0], x[1:])


def _nested_few_outputs(w):
    def outer(carry, row):
        inner = lax.scan(lambda c, z: (jnp.sin(c + z * row), None), carry, w[0])[0]
        return inner, None

    return jnp.sum(lax.scan(outer, jnp.zeros(3), w)[0])


def _windows(x):
    """The carry shifts, so that the pattern changes from one iteration to the next."""

    def body(carry, _):
        return jnp.concatenate([carry[1:], jnp.sin(carry[:1])]), carry[0]

    return lax.scan(body, x, None, length=3)


def _diffusion(x):
    def body(carry, _):
        inner = carry[2:] - 2.0 * carry[1:-1] + carry[:-2]
        return carry.at[1:-1].add(0.1 * inner), None

    return lax.scan(body, x, None, length=4)[0]


def _written(x):
    """Writes at an index that advances with the loop."""
    body = lambda i, v: v.at[i + 1].set(v[i] * x[i])  # noqa: E731
    return lax.fori_loop(0, 3, body, x)


def _complex_carry(x):
    def body(c, y):
        return c * (1.0 + 0.5j) + jnp.conj(c) * y.astype(complex), jnp.real(c)

    c, ys = lax.scan(body, lax.complex(x[0], x[1]), x)
    return jnp.imag(c), ys


def _half_precision(x):
    step = lambda c, y: (c + y.astype(jnp.float32), c)  # noqa: E731
    return lax.scan(step, x[0].astype(jnp.float32), x)


def _widened(t):
    """Few inputs of the function, many operands of the loop."""
    xs = t * jnp.arange(30.0).reshape(10, 3)
    return lax.scan(lambda c, x: (jnp.sin(c + x), None), jnp.ones(3), xs)[0]


def _narrowed(x):
    """Few outputs of the function, many results of the loop."""
    return jnp.sum(lax.scan(lambda c, y: (jnp.sin(c), c * y), x, jnp.arange(9.0))[1])


def _in_order(x):
    """A loop between other vertices, some of which bypass it."""
    y = jnp.sin(x)
    z = lax.scan(lambda c, s: (c * s, c + s), y[0], y * x)[1]
    return jnp.cos(z) * x + y


def _map_of_rows(x):
    return lax.map(lambda row: jnp.cumsum(jnp.sin(row)) * row, x)


def _fori(x):
    return lax.fori_loop(0, 4, lambda i, v: jnp.sin(v) * (i + 1.0), x)


def _fori_mixed(x):
    body = lambda _, c: (c[1], c[0] * c[1])  # noqa: E731
    return lax.fori_loop(0, 3, body, (x[0], jnp.sum(x)))


def _while(x):
    """As many iterations as it takes."""
    return lax.while_loop(lambda v: jnp.sum(v) < 50.0, lambda v: v * v + v[::-1], x)


def _while_between(x):
    y = jnp.sin(x)
    return _while(y) * y


def _while_that_does_not_start(x):
    return lax.while_loop(lambda v: jnp.sum(v) < 0.0, lambda v: v * v, x)


ONE_BY_ONE: dict[str, tuple[Callable, jax.Array]] = {
    "complex carry": (_complex_carry, array(3)),
    "diffusion": (_diffusion, array(7)),
    "fori": (_fori, array(3)),
    "fori mixed": (_fori_mixed, array(3)),
    "float32 carry": (_half_precision, array(3)),
    "in order": (_in_order, array(3)),
    "map of rows": (_map_of_rows, array(3, 2)),
    "narrowed": (_narrowed, array(3)),
    "nested": (_nested, array(3)),
    "nested, few outputs": (_nested_few_outputs, array(2, 3)),
    "swapping": (_swapping, array(2)),
    "through xs": (_through_xs, array(4)),
    "unused carry": (_unused_carry, array(3)),
    "while": (_while, array(3)),
    "while between": (_while_between, array(3)),
    "while that does not start": (_while_that_does_not_start, array(3)),
    "widened": (_widened, array()),
    "windows": (_windows, array(4)),
    "written": (_written, array(4)),
}


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_one_by_one(name):
    fun, x = ONE_BY_ONE[name]
    ours, expected = jit(lambda x: (cc_jacobian(fun)(x), jax.jacfwd(fun)(x)))(x)
    assert_same(ours, expected)


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize("name", ["in order", "complex carry", "while between"])
def test_orders(name, order):
    fun, x = ONE_BY_ONE[name]

    @jit
    def jacobians(x):
        return cc_jacobian(fun, order=order)(x), jax.jacfwd(fun)(x)

    assert_same(*jacobians(x))


def test_a_given_order_is_that_of_the_vertices_outside():
    fun, x = ONE_BY_ONE["in order"]
    inner = eqx_cc.trace(fun, x).graph.intermediates

    @jit
    def jacobians(x):
        return cc_jacobian(fun, order=inner[::-1])(x), jax.jacfwd(fun)(x)

    assert_same(*jacobians(x))


#
# Size does not depend on the length
#


def _grows(fun: Callable, x) -> Callable[[int], int]:
    def count(length: int) -> int:
        jacobian = cc_jacobian(lambda x: fun(x, length))
        return num_equations(jax.make_jaxpr(jacobian)(x).jaxpr)

    return count


def _xs(x, length: int):
    return lax.scan(lambda c, y: (jnp.sin(c * y), c), x[0], jnp.full(length, 0.5))


def _all_xs(x, length: int):
    xs = jnp.broadcast_to(x, (length, 3))
    return lax.scan(lambda c, y: (jnp.sin(c * y), None), x, xs)[0]


def _nest(x, length: int):
    step = lambda c, _: (_xs(c * x, length)[0] + x, None)  # noqa: E731
    return lax.scan(step, x, None, length=length)[0]


LENGTHS = {
    "scan": (_xs, array(3)),
    "inputs": (_all_xs, array(3)),
    "nested": (_nest, array(3)),
    "map": (lambda x, n: lax.map(jnp.sin, jnp.full(n, x[0])), array(3)),
    "fori": (lambda x, n: lax.fori_loop(0, n, lambda i, v: jnp.sin(v), x), array(3)),
    "few outputs": (
        lambda x, n: jnp.sum(_few_outputs(x, x[:, 0], jnp.ones((n, 3)))[0]),
        array(2, 3),
    ),
    "summed": (lambda x, n: jnp.sum(_xs(x, n)[1]), array(3)),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_size_does_not_depend_on_the_length(name):
    count = _grows(*LENGTHS[name])
    assert count(50) == count(5000)


#
# Structure
#

LARGE = jnp.linspace(0.1, 1.0, 100_000)


def _elementwise_scan(x):
    return lax.scan(lambda c, _: (jnp.sin(c) * x, None), x, None, length=3)[0]


def _elementwise_scan_of_xs(x):
    return lax.scan(lambda c, y: (jnp.sin(c) * x + y, None), x, jnp.arange(3.0))[0]


def _elementwise_fori(x):
    return lax.fori_loop(0, 3, lambda i, v: jnp.sin(v) * (1.0 + i), x)


def _elementwise_cond(x):
    return lax.cond(x[0] > 0.0, jnp.sin, lambda v: 2.0 * v, x)


def _elementwise_pair(x):
    step = lambda c, _: ((jnp.sin(c[1]), c[0] * x), None)  # noqa: E731
    return lax.scan(step, (x, jnp.cos(x)), None, length=3)[0][1]


LARGE_FUNCTIONS = [
    _elementwise_scan,
    _elementwise_scan_of_xs,
    _elementwise_fori,
    _elementwise_cond,
    _elementwise_pair,
]


@pytest.mark.parametrize("fun", LARGE_FUNCTIONS)
def test_elementwise_over_a_large_state(fun):
    """A dense block would be of 80 GB."""

    @jit
    def jacobians(x):
        block = cc_jacobian(fun, structured=True)(x)
        return block, jax.jvp(fun, (x,), (jnp.ones_like(x),))[1]

    block, expected = jacobians(LARGE)
    assert block.structure == "diagonal"
    assert block.pattern.num_values == LARGE.size
    values, rows, columns = block.to_coo()
    assert np.array_equal(rows, columns)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_map_is_block_diagonal():
    fun, x = _map_of_rows, array(4, 3)
    block = cc_jacobian(fun, structured=True)(x)
    assert block.structure == "block-diagonal"
    assert block.pattern.num_values == 4 * 3 * 3


def test_a_scan_is_one_vertex():
    graph = eqx_cc.trace(_in_order, array(3)).graph
    assert [graph.labels[v] for v in graph.intermediates].count("scan") == 1
    assert not graph.dense_fallbacks


#
# Branches
#

BRANCHES = {
    "identity": lambda v: v,
    "diagonal": lambda v: jnp.sin(v),
    "constant": lambda v: jnp.ones(3),
    "dense": lambda v: jnp.arange(9.0).reshape(3, 3) @ v,
    "broadcast": lambda v: jnp.broadcast_to(v[0], (3,)),
    "window": lambda v: jnp.pad(v[1:] ** 2, (0, 1)),
    "reversed": lambda v: v[::-1],
    "loop": lambda v: lax.fori_loop(0, 2, lambda _, u: jnp.cos(u) * v, v),
}
CHOICES = [
    ("identity", "diagonal"),
    ("diagonal", "constant"),
    ("constant", "constant"),
    ("diagonal", "dense"),
    ("window", "reversed"),
    ("broadcast", "loop"),
    tuple(BRANCHES),
]


@pytest.mark.parametrize("names", CHOICES, ids="-".join)
def test_branches(names):
    branches = [BRANCHES[name] for name in names]

    def fun(x, index):
        return lax.switch(index, branches, jnp.cos(x))

    @jit
    def jacobians(x, index):
        return cc_jacobian(fun)(x, index), jax.jacfwd(fun)(x, index)

    for index in range(len(branches)):
        assert_same(*jacobians(array(3), index), where=names[index])


def test_branches_under_vmap():
    branches = list(BRANCHES.values())[:5]

    def fun(x, index):
        return lax.switch(index, branches, jnp.cos(x))

    def inside(xs, index):
        return jax.vmap(fun)(xs, index)

    xs, index = array(4, 3), jnp.array([3, 0, 1, 4])

    @jit
    def jacobians(xs):
        outside = (
            jax.vmap(cc_jacobian(fun))(xs, index),
            jax.vmap(jax.jacfwd(fun))(xs, index),
        )
        return outside, (cc_jacobian(inside)(xs, index), jax.jacfwd(inside)(xs, index))

    for ours, expected in jacobians(xs):
        assert_same(ours, expected)


def test_a_branch_that_depends_on_the_input():
    def fun(x):
        return lax.cond(x[0] > 0.5, BRANCHES["dense"], BRANCHES["diagonal"], x)

    @jit
    def jacobians(x):
        return cc_jacobian(fun)(x), jax.jacfwd(fun)(x)

    for first in (0.2, 0.9):
        assert_same(*jacobians(array(3).at[0].set(first)))


def test_branches_with_several_operands_and_results():
    def fun(x, y, flag):
        def first(x, y):
            return x * y, (jnp.sum(x), y)

        def second(x, y):
            return jnp.sin(y), (x[0], y)

        return lax.cond(flag, first, second, x, y)

    @jit
    def jacobians(*args):
        ours, expected = cc_jacobian(fun, argnums=(0, 1)), jax.jacfwd(fun, (0, 1))
        return ours(*args), expected(*args)

    for flag in (False, True):
        assert_same(*jacobians(array(3), array(3, seed=1), flag))


def test_only_one_branch_runs():
    calls = []

    def noisy(v):
        jax.debug.callback(lambda: calls.append("noisy"))
        return v * v

    fun = lambda x, flag: lax.cond(flag, noisy, jnp.sin, x)  # noqa: E731
    jacobian = jit(cc_jacobian(fun))
    jax.block_until_ready(jacobian(array(2), False))
    jax.effects_barrier()
    assert calls == []
    jax.block_until_ready(jacobian(array(2), True))
    jax.effects_barrier()
    assert calls == ["noisy"]


@pytest.mark.parametrize("fun", [_xs, _all_xs])
def test_bodies_run_once_an_iteration(fun):
    calls = []

    def noisy(x, y):
        jax.debug.callback(lambda: calls.append(None))
        return jnp.sin(x * y), x

    f = lambda x: lax.scan(noisy, x[0], x)  # noqa: E731
    jax.block_until_ready(jit(cc_jacobian(f))(array(4)))
    jax.effects_barrier()
    assert len(calls) == 4


#
# Through the Jacobian of a loop
#


def _wide(x):
    """Accumulated forward."""
    return lax.scan(lambda c, y: (jnp.sin(c * y), c), x[0], x)[1]


def _deep(x):
    """Accumulated backwards."""
    return lax.scan(lambda c, y: (jnp.sin(c * y + c), None), x[0], x)[0]


def _loss(transform, fun):
    return lambda x: jnp.sum(transform(fun)(x) ** 2)


THROUGH = {
    "vmap": lambda t, f: lambda x: jax.vmap(t(f))(jnp.stack([x, 2.0 * x])),
    "grad": lambda t, f: jax.grad(_loss(t, f)),
    "jvp": lambda t, f: lambda x: jax.jvp(t(f), (x,), (x,))[1],
    "scan": lambda t, f: (
        lambda x: lax.scan(lambda c, _: (c, t(f)(c)), x, None, length=2)
    ),
    "nested": lambda t, f: t(t(f)),
}


@pytest.mark.parametrize("name", THROUGH)
def test_through_the_jacobian(name):
    make, functions = THROUGH[name], (_wide, _deep)

    @jit
    def both(x):
        ours = [make(cc_jacobian, fun)(x) for fun in functions]
        return ours, [make(jax.jacfwd, fun)(x) for fun in functions]

    assert_same(*both(array(3)))


def test_hessian_of_a_loop():
    x = array(3)
    ours, expected = jit(lambda x: (filter_hessian(_deep)(x), jax.hessian(_deep)(x)))(x)
    assert_same(ours, expected)


@pytest.mark.parametrize("order", ["forward", "reverse"])
def test_no_tracer_leaves_a_loop(order):
    def fun(x):
        last, each = lax.scan(lambda c, a: (jnp.sin(c) * a, c * a), x[0], x)
        few = lax.scan(lambda c, a: (c * a, None), 1.0, x)[0]
        return last, each, lax.cond(last > 0, jnp.sin, jnp.cos, x * few)

    # Templates of equations first: while one is made, the jaxpr of JAX 0.12 that it is
    # made of holds its constants.
    eqx_cc.cc_jacobian(fun, order=order)(jnp.arange(1.0, 4.0))
    with jax.checking_leaks():
        eqx_cc.cc_jacobian(fun, order=order)(jnp.arange(1.0, 4.0))


def test_a_reverse_rule_that_indexes_what_it_stores():
    """`odeint` stores its times, which are known here, and indexes them by a tracer."""

    def end(x):
        return odeint(lambda y, t: -(y**2), x, jnp.array([0.0, 1.0]))[-1]

    x = jnp.array([1.0, 2.0])
    assert_same(jit(cc_jacobian(end))(x), jit(jax.jacrev(end))(x))
