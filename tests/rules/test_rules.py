"""Each rule for a linear primitive is met, and states the structure that there is."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._linearise import equation as _template
from eqx_cc._rules import registry as _registry, rules, selection
from eqx_cc._rules.registry import BlockBuilder, Operand
from eqx_cc._sparsity.positions.affine import Affine
from jax import lax
from jax.experimental.sparse import BCOO, BCSR
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def array(*shape: int):
    rng = np.random.default_rng(sum(shape))
    return rng.uniform(0.5, 1.5, shape)


X, Y, M, S = array(3), array(4), array(2, 3), array()


class Case(NamedTuple):
    """A function to differentiate in all its arguments.

    `structure` names that of every block, where it is always the same. No block is
    dense but those with respect to the arguments `dense`.
    """

    fun: Callable
    args: tuple
    structure: str = ""
    dense: tuple[int, ...] = ()
    order: str = "markowitz"


def case(fun: Callable, *args, **options) -> Case:
    return Case(fun, args, **options)


def each(fun: Callable, *shapes: tuple[int, ...], structure: str = "") -> list[Case]:
    """A function of one array, at several shapes."""
    return [case(fun, array(*shape), structure=structure) for shape in shapes]


def pairs(fun: Callable) -> list[Case]:
    """A function of two arrays: equal shapes, axes of size 1, no axes, empty axes."""
    shapes = [((), ()), ((2, 3), (1, 3)), ((2, 1), (1, 3)), ((2, 1), (2, 3))]
    shapes += [((1, 1), (1, 1)), ((0, 1), (0, 2))]
    cases = [case(fun, array(*a), array(*b)) for a, b in shapes]
    return [*cases, case(fun, array(1), array(3), dense=(0,))]


def scalars(fun: Callable) -> list[Case]:
    """Elementwise with an operand that has no axes."""
    return [case(lambda x: fun(x, 2.0), array(*shape)) for shape in ((), (2, 3), (0,))]


def through_complex(fun: Callable) -> Callable:
    """`fun` of complex arguments, so that it meets complex blocks of all kinds."""

    def real(*args):
        out = fun(*(lax.complex(jnp.sin(x), x * x) for x in args))
        return jnp.real(out) * jnp.imag(jnp.conj(out) * (1.0 + 2.0j))

    return real


# What is compiled runs once.
QUICKLY = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
SHAPES = [(), (2, 3), (0,)]
FULL = [(2, 3), (2, 0), (4, 1)]
WEIGHTS = jnp.asarray(array(3, 2))
TRIANGLE = jnp.tril(jnp.asarray(array(3, 3))) + 2.0 * jnp.eye(3)
KERNEL = jnp.asarray(array(1, 1, 2))
AT, TABLE = jnp.array([2, 0]), jnp.array([[0, 2], [1, 1]])
SPARSE = BCOO.fromdense(jnp.array([[0.0, 2, 0, 3], [0, 0, 0, 0], [4, 0, 0, 5]]))
ROWS = BCSR.from_bcoo(SPARSE)
UNIQUE = dict(unique_indices=True, mode="promise_in_bounds")


def _above_one(x):
    return jnp.where(x > 1.0, x, 0.0).astype(complex)


def _convolution(x):
    return lax.conv(x, KERNEL, (1,), "VALID")


def _windows(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 2), (1, 2), "SAME")


def _pooled(x):
    return lax.reduce_window(x, -np.inf, lax.max, (2, 3), (1, 1), "VALID")


def _solve(b, **kwargs):
    return lax.linalg.triangular_solve(TRIANGLE, b, lower=True, **kwargs)


CASES: dict[str, list[Case]] = {
    "add": pairs(lax.add) + scalars(lax.add),
    "add_any": each(lambda x: x * x, *SHAPES)
    + [case(lambda x: lax.mul(x[:, :1], x), M), case(lambda x: jnp.sin(x) * x, X)],
    "bcoo_dot_general": [
        case(lambda x: SPARSE @ x, Y, structure="sparse"),
        case(lambda x: SPARSE @ x, array(4, 2), structure="sparse"),
        case(lambda x: x @ SPARSE, X, structure="sparse"),
    ],
    "bcsr_dot_general": [case(lambda x: ROWS @ x, Y, structure="sparse")],
    "broadcast_in_dim": [
        *each(lambda x: jnp.broadcast_to(x, (4, *x.shape)), *SHAPES),
        case(lambda x: jnp.broadcast_to(x, (2, 3)), array(2, 1)),
        case(lambda x: x[None, :, None], X),
    ],
    "complex": [
        case(lambda x, y: jnp.real(lax.complex(x, y) * (1.0 + 2.0j)), M, M + 1.0),
        *each(lambda x: lax.complex(x, x), *SHAPES),
        case(lambda x: lax.complex(x, x), X, structure="known diagonal"),
    ],
    "concatenate": [
        case(lambda x, y: jnp.concatenate([x, y, x]), X, Y),
        case(lambda x, y: jnp.concatenate([x, y], 1), M, array(2, 2)),
        case(lambda x, y: jnp.concatenate([x, y]), array(0), X),
    ],
    "conj": each(lambda x: jnp.conj(lax.complex(x, 2.0 * x)), *SHAPES),
    "conv_general_dilated": [
        case(_convolution, array(2, 1, 5), structure="block-diagonal"),
        case(_convolution, array(1, 1, 5), dense=(0,)),
        case(lambda x: jnp.convolve(x, jnp.array([1.0, 2.0])), Y, dense=(0,)),
    ],
    "convert_element_type": [
        *each(lambda x: x.astype(complex), *SHAPES),
        *each(lambda x: jnp.sin(x).astype(jnp.float32), (3,), ()),
    ],
    "copy": each(jnp.copy, *SHAPES),
    "cumsum": [
        case(jnp.cumsum, X, dense=(0,)),
        case(lambda x: lax.cumsum(x, reverse=True), X, dense=(0,)),
        case(lambda x: jnp.cumsum(x, 1), array(4, 3), structure="block-diagonal"),
        case(lambda x: jnp.cumsum(x, 0), array(4, 3), structure="block-diagonal"),
        case(lambda x: jnp.cumsum(x, 0), array(0, 3)),
    ],
    "div": pairs(lax.div) + scalars(lax.div),
    "dot_general": [
        case(lambda x: x @ WEIGHTS, array(4, 3), structure="block-diagonal"),
        case(lambda x: WEIGHTS @ x, array(2, 4), structure="block-diagonal"),
        case(lambda x: WEIGHTS.T @ x, X, dense=(0,)),
        case(lambda x, y: x @ y, M, array(3, 4)),
        case(
            lambda x, y: jnp.einsum("bij,bjk->bik", x, y),
            array(2, 2, 3),
            array(2, 3, 2),
        ),
        case(lambda x, y: x @ y, array(2, 0), array(0, 3)),
        case(lambda x, y: jnp.outer(x, y), X, Y),
    ],
    "dynamic_slice": [
        case(lambda x: lax.dynamic_slice(x, (1,), (2,)), Y, structure="selection"),
        case(lambda x: lax.dynamic_slice(x, (9,), (2,)), Y, structure="selection"),
        case(lambda x: lax.dynamic_slice(x, (1, 0), (1, 3)), M),
        case(lambda x: lax.dynamic_slice(x, (0,), (3,)), X, structure="identity"),
        case(lambda x: lax.dynamic_slice(x, (1,), (0,)), X, structure="zero"),
    ],
    "dynamic_update_slice": [
        case(lambda x, y: lax.dynamic_update_slice(x, y, (1,)), Y, array(2)),
        case(lambda x, y: lax.dynamic_update_slice(x, y, (9,)), Y, array(2)),
        case(lambda x, y: lax.dynamic_update_slice(x, y, (1, 1)), M, array(1, 2)),
        case(lambda x, y: lax.dynamic_update_slice(x, y, (0,)), X, X),
        case(lambda x, y: lax.dynamic_update_slice(x, y, (0,)), X, array(0)),
    ],
    "fft": [
        case(lambda x: jnp.abs(jnp.fft.fft(x.astype(complex))), array(2, 4)),
        case(lambda x: jnp.real(jnp.fft.ifft2(lax.complex(x, x))), array(2, 2, 2)),
    ],
    "gather": [
        case(lambda x: x[AT], X),
        case(lambda x: x[:, TABLE], M),
        case(lambda x: x[TABLE, 0], M.T),
        case(lambda x: x[jnp.array([], int)], X),
        case(lambda x: x.at[jnp.array([1, 9])].get(mode="fill", fill_value=0.0), X),
    ],
    "imag": each(lambda x: jnp.imag(lax.complex(x, x * x)), *SHAPES)
    + [case(lambda x: jnp.imag(jnp.sin(x).astype(complex)), X, order="forward")],
    "mul": pairs(lax.mul) + scalars(lax.mul),
    "neg": each(lambda x: -x, *SHAPES)
    + each(lambda x: -x, (3,), (2, 3), structure="known diagonal"),
    "optimization_barrier": [
        case(lambda x, y: lax.optimization_barrier((x, y)), X, M),
        case(lambda x: lax.optimization_barrier((x, 2.0))[0], array(0)),
    ],
    "pad": [
        case(lambda x: jnp.pad(x, 2), X),
        case(lambda x, y: lax.pad(x, y, [(1, 2, 1), (-1, 0, 2)]), M, S, dense=(1,)),
        case(lambda x, y: lax.pad(x, y, [(-1, -1, 0)]), Y, S, dense=(1,)),
        case(lambda x: lax.pad(x, 0.0, [(-2, -2, 0)]), Y),
        case(lambda x, y: lax.pad(x, y, [(1, 1, 0)]), array(0), S, dense=(1,)),
    ],
    "real": each(lambda x: jnp.real(lax.complex(x * x, x)), *SHAPES)
    + [case(lambda x: jnp.real(1j * _above_one(x)), X, order="forward")],
    "reduce_precision": each(lambda x: lax.reduce_precision(x, 11, 52), *SHAPES),
    "reduce_window_sum": [
        case(_windows, M),
        case(lambda x: lax.reduce_window(x, 0.0, lax.add, (2,), (1,), "VALID"), Y),
    ],
    "reduce_sum": [
        *each(jnp.sum, *SHAPES[1:]),
        *each(lambda x: jnp.sum(x, 1), *FULL),
        *each(lambda x: jnp.sum(x, 0, keepdims=True), *FULL),
    ],
    "reshape": [
        *each(jnp.ravel, (2, 3), (2, 1, 3), (0, 3), ()),
        *each(lambda x: x.reshape(8, 3), (4, 6), (24,), (2, 2, 6)),
        *each(lambda x: x.reshape(3, 2), (6,), (1, 6)),
    ],
    "rev": each(lambda x: x[::-1], (3,), (2, 3), (1, 3), (0,)),
    "scatter": [
        case(lambda x, y: x.at[AT].set(y, **UNIQUE), X, array(2)),
        case(lambda x, y: x.at[:, AT].set(y, **UNIQUE), M, array(2, 2)),
        case(lambda x, y: x.at[1].set(y, **UNIQUE), X, S),
    ],
    "scatter-mul": [
        case(lambda x: x.at[AT].multiply(2.0, **UNIQUE), X, structure="diagonal"),
        case(lambda x: x.at[:, AT].multiply(array(2, 2), **UNIQUE), M),
    ],
    "scatter-add": [
        case(lambda x, y: x.at[AT].add(y), X, array(2)),
        case(lambda x, y: x.at[jnp.array([1, 1])].add(y), X, array(2)),
        case(lambda x, y: x.at[:, AT].add(y), M, array(2, 2)),
        case(lambda x, y: x.at[1].add(y), X, S),
    ],
    "select_and_gather_add": [
        case(_pooled, array(3, 4)),
        case(lambda x: jnp.sin(_pooled(x)), array(4, 3)),
    ],
    "select_and_scatter_add": [
        case(lambda g: jax.vjp(_pooled, array(4, 5))[1](g)[0], array(3, 3)),
    ],
    "select_n": [
        case(lambda x, y: jnp.where(x > 1.0, x, y), X, X + 1.0),
        case(lambda x, y: jnp.where(x[0] > 1.0, x, y), X, X + 1.0),
        case(lambda x, y: lax.select_n(x > 1.0, x, y), S, S),
        case(lambda *xs: lax.select_n(jnp.array([2, 0, 1]), *xs), X, X * 2, X * 3),
        case(lambda x, y: jnp.where(x > 1.0, x, y), array(0), array(0)),
    ],
    "slice": [
        case(lambda x: x[1:3], Y, structure="selection"),
        case(lambda x: x[:, ::2], M),
        case(lambda x: x[2:2], X, structure="zero"),
        case(lambda x: lax.slice(x, (0, 1), (2, 2)), M),
    ],
    "split": [
        case(lambda x: jnp.split(x, 2), Y),
        case(lambda x: jnp.split(x, [1, 1], 1), M),
    ],
    "squeeze": each(jnp.squeeze, (1, 3), (2, 1, 3), (1, 1), (1, 0)),
    "stack": [
        case(lambda x, y: jnp.stack([x, y, x]), X, X),
        case(lambda x, y: jnp.stack([x, y], 1), M, M),
        case(lambda x, y: jnp.stack([x, y]), S, S),
        case(lambda x, y: jnp.stack([x, y]), array(0), array(0)),
    ],
    "sub": pairs(lax.sub) + scalars(lax.sub),
    "tile": [
        case(lambda x: jnp.tile(x, 3), X),
        case(lambda x: jnp.tile(x, (2, 1, 3)), M),
        case(lambda x: jnp.tile(x, 2), array(0)),
    ],
    "transpose": [
        *each(jnp.transpose, *FULL),
        case(lambda x: jnp.transpose(x, (2, 0, 1)), array(2, 3, 4)),
    ],
    "triangular_solve": [
        case(
            lambda b: _solve(b, left_side=True), array(3, 2), structure="block-diagonal"
        ),
        case(lambda b: _solve(b), array(2, 3), structure="block-diagonal"),
        case(
            lambda b: _solve(b, left_side=True, transpose_a=True),
            *(array(3, 2),),
            structure="block-diagonal",
        ),
        case(lambda b: _solve(b, left_side=True), array(3, 1), dense=(0,)),
    ],
    "unstack": [case(jnp.unstack, M), case(lambda x: jnp.unstack(x, axis=1), M)],
}

# Complex versions of what has no such case above.
LINEAR = {
    "add": [(lax.add, (M, array(1, 3)))],
    "broadcast_in_dim": [(lambda x: jnp.broadcast_to(x, (2, 3)), (X,))],
    "concatenate": [(lambda x, y: jnp.concatenate([x, y]), (X, Y))],
    "cumsum": [(jnp.cumsum, (X,))],
    "div": [(lax.div, (M, array(1, 3)))],
    "dot_general": [
        (lambda x, y: x @ y, (M, X)),
        (lambda x: x @ WEIGHTS.astype(complex), (X,)),
    ],
    "dynamic_slice": [(lambda x: lax.dynamic_slice(x, (1,), (2,)), (Y,))],
    "gather": [(lambda x: x[AT], (X,))],
    "mul": [(lax.mul, (M, array(1, 3))), (lambda x: x * (1.0 - 2.0j), (X,))],
    "neg": [(lambda x: -x, (X,))],
    "pad": [(lambda x: jnp.pad(x, 1), (X,))],
    "reduce_sum": [(jnp.sum, (M,))],
    "reshape": [(lambda x: x.reshape(3, 2), (M,))],
    "rev": [(lambda x: x[::-1], (X,))],
    "scatter-add": [(lambda x, y: x.at[1].add(y), (X, S))],
    "select_n": [(lambda x, y: jnp.where(jnp.arange(3) > 0, x, y), (X, X + 1.0))],
    "slice": [(lambda x: x[1:], (Y,))],
    "sub": [(lax.sub, (M, array(1, 3)))],
    "transpose": [(jnp.transpose, (M,))],
}
# There the order decides which blocks are real and which are complex.
for _name, _functions in LINEAR.items():
    CASES[_name] += [
        case(through_complex(fun), *args, dense=(0, 1), order=order)
        for fun, args in _functions
        for order in ("forward", "reverse")
    ]


@pytest.fixture
def hits(monkeypatch):
    """The names of the primitives whose rules have stated blocks."""
    names = set()

    def recording(primitive, rule):
        def recorded(operands, results, params):
            blocks = rule(operands, results, params)
            if blocks is not None:
                names.add(primitive.name)
            return blocks

        return recorded

    for primitive, rule in list(rules().items()):
        monkeypatch.setitem(_registry._RULES, primitive, recording(primitive, rule))
    _template._cached.cache_clear()
    yield names
    _template._cached.cache_clear()


# Primitives that came with JAX 0.10.1.
LACKING = {n for n in ("stack", "unstack") if not hasattr(lax, f"{n}_p")}


def test_every_rule_has_cases():
    assert {primitive.name for primitive in rules()} == CASES.keys() - LACKING


@pytest.mark.parametrize("name", CASES)
def test_rule(name, hits):
    if name in LACKING:
        pytest.skip("no primitive of this release of JAX")
    cases = CASES[name]
    points = [tuple(map(jnp.asarray, c.args)) for c in cases]
    compute = jax.jit(
        lambda points: [_jacobians(c, x) for c, x in zip(cases, points)],
        compiler_options=QUICKLY,
    )
    for number, (c, (blocks, dense, expected)) in enumerate(
        zip(cases, compute(points))
    ):
        where = f"{name}, case {number}"
        for position, block in enumerate(blocks):
            _check_structure(c, position % len(c.args), block.pattern, where)
        _assert_same(dense, expected, where)
    assert name in hits


def _jacobians(c: Case, args):
    """Structured blocks, these made dense, and those of JAX."""
    argnums = tuple(range(len(args)))
    transform = eqx_cc.cc_jacobian(
        c.fun, argnums=argnums, order=c.order, structured=True
    )
    is_block = lambda x: isinstance(x, eqx_cc.Partial)  # noqa: E731
    blocks = jax.tree.leaves(transform(*args), is_leaf=is_block)
    dense = [block.materialise() for block in blocks]
    return blocks, dense, jax.tree.leaves(jax.jacfwd(c.fun, argnums)(*args))


def _check_structure(c: Case, argument: int, pattern: eqx_cc.Pattern, where: str):
    assert not pattern.is_dense or argument in c.dense, (where, argument)
    if c.structure:
        assert pattern.name == c.structure, where


def _assert_same(ours, expected, where: str):
    assert len(ours) == len(expected), where
    for a, b in zip(ours, expected):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), where
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, err_msg=where)


#
# Indices that are not known while tracing
#

TRACED = {
    "dynamic_slice": (
        lambda x, i: lax.dynamic_slice(x, (i[0], 0), (1, 3)),
        "block-diagonal",
    ),
    "dynamic_slice, all of it": (
        lambda x, i: lax.dynamic_slice(x, (i[0], i[0]), (2, 3)),
        "identity",
    ),
    "dynamic_update_slice": (
        lambda x, i: lax.dynamic_update_slice(x, jnp.ones((1, 3)), (i[0], 0)),
        "diagonal",
    ),
    "gather rows": (lambda x, i: x[i], "block-diagonal"),
    "gather columns": (lambda x, i: x[:, i], "block-diagonal"),
    "scatter": (
        lambda x, i: x.at[i].set(jnp.zeros((3, 3)), mode="clip", unique_indices=True),
        "diagonal",
    ),
    "scatter-add": (lambda x, i: x.at[i].add(1.0), "identity"),
    "select_n": (lambda x, i: lax.select_n(i[0] > 0, x, x[::-1]), "block-diagonal"),
}


@pytest.mark.parametrize("name", TRACED)
def test_traced_indices(name):
    fun, structure = TRACED[name]
    x = jnp.asarray(M)

    @partial(jax.jit, compiler_options=QUICKLY)
    def jacobians(x, i):
        block = eqx_cc.cc_jacobian(fun, structured=True)(x, i)
        return block, block.materialise(), jax.jacfwd(fun)(x, i)

    for index in ([1, 0, 1], [0, 0, 0]):
        block, dense, expected = jacobians(x, jnp.array(index))
        assert block.structure == structure
        np.testing.assert_allclose(dense, expected, rtol=1e-12)


def test_out_of_bounds_reads_are_not_differentiated():
    def fun(x, i):
        return x.at[i].get(mode="fill", fill_value=7.0)

    ours = jax.jit(eqx_cc.cc_jacobian(fun))(jnp.asarray(X), jnp.array([1, 9]))
    np.testing.assert_array_equal(ours, [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])


#
# Rules of users
#


def _rolled(x, *, by):
    """`out[k] = 2 * in[k - by]` along the first axis."""
    return 2.0 * jnp.roll(x, by, 0)


@pytest.fixture
def rolled_p():
    """A linear primitive that nobody knows."""
    primitive = Primitive("rolled")
    primitive.def_impl(_rolled)
    primitive.def_abstract_eval(lambda x, *, by: x)
    mlir.register_lowering(primitive, mlir.lower_fun(_rolled, multiple_results=False))
    ad.deflinear2(primitive, lambda ct, x, *, by: [primitive.bind(ct, by=-by)])

    def batch(args, dims, *, by):
        (x,), (dim,) = args, dims
        moved = jnp.moveaxis(x, dim, -1)
        return primitive.bind(moved, by=by), moved.ndim - 1

    batching.primitive_batchers[primitive] = batch
    yield primitive
    _registry._RULES.pop(primitive, None)


def _shift(operands, results, params):
    """out[k] = 2 in[k - by], as two windows"""
    (size,) = operands[0].shape
    by, shape = params["by"] % size, BlockBuilder(operands, 0, results[0])
    for low, high in ((by, size), (0, by)):
        out, inp = (Affine(at, ((0, 1),)) for at in (low, (low - by) % size))
        shape.term([out], [inp], {0: high - low}, scale=2)
    return [shape.block()]


def _in_one(fun: Callable, x):
    """A structured block, the same made dense, and JAX's."""

    @partial(jax.jit, compiler_options=QUICKLY)
    def compute(x):
        block = eqx_cc.cc_jacobian(fun, structured=True)(x)
        return block, block.materialise(), jax.jacfwd(fun)(x)

    return compute(x)


@pytest.mark.parametrize("registered", [False, True])
def test_a_rule_of_a_user(rolled_p, registered):
    def fun(x):
        return jnp.sin(rolled_p.bind(jnp.sin(x), by=1))

    if registered:
        assert eqx_cc.register_rule(rolled_p)(_shift) is _shift
        assert rules()[rolled_p] is _shift
    block, dense, expected = _in_one(fun, jnp.asarray(array(6)))
    assert block.pattern.is_dense == (not registered)
    assert block.pattern.num_values == (6 if registered else 36)
    np.testing.assert_allclose(dense, expected, rtol=1e-12)


def test_a_rule_that_declines(rolled_p):
    """None leaves an exact dense block."""
    calls = []

    @eqx_cc.register_rule(rolled_p)
    def rule(operands, results, params):
        calls.append((operands[0].shape, operands[0].linear, params["by"]))
        return None

    fun = lambda x: rolled_p.bind(x, by=2)  # noqa: E731
    block, dense, expected = _in_one(fun, jnp.asarray(array(4)))
    assert set(calls) == {((4,), True, 2)}
    assert block.pattern.is_dense
    np.testing.assert_array_equal(dense, expected)


def test_a_rule_that_comes_late(rolled_p):
    """What was kept of the equation before must not outlive the registration."""
    fun = lambda x: rolled_p.bind(x, by=1)  # noqa: E731
    x = jnp.asarray(array(5))
    assert eqx_cc.trace(fun, x).graph.dense_fallbacks
    eqx_cc.register_rule(rolled_p)(_shift)
    assert not eqx_cc.trace(fun, x).graph.dense_fallbacks


def test_one_rule_for_several_primitives():
    first, second = Primitive("first"), Primitive("second")
    rule = eqx_cc.register_rule(first, second)(_shift)
    assert rules()[first] is rules()[second] is rule
    del _registry._RULES[first], _registry._RULES[second]


def test_numbers_of_numpy_are_those_of_python():
    """Patterns are written into the fingerprint of a graph."""

    def stated(integer, floating):
        operand = Operand((4,), np.dtype(float), True)
        result = jax.ShapeDtypeStruct((3,), float)
        builder = BlockBuilder([operand], 0, result)
        out = Affine(integer(0), ((0, integer(1)),))
        inp = Affine(integer(1), ((0, integer(1)),))
        builder.term([out], [inp], {0: 3}, scale=floating(2.5))
        return repr(builder.block().pattern)

    assert stated(np.int64, np.float64) == stated(int, float)


INDEX = np.array([[3, 0], [9, -1]])
GATHERS: dict[str, Callable] = {
    "take": lambda x, mode: jnp.take(x, INDEX, axis=1, mode=mode),
    "two axes": lambda x, mode: x.at[INDEX, 1:3, np.array([4])].get(mode=mode),
    "axes apart": lambda x, mode: x.at[INDEX[0], :, INDEX[1]].get(mode=mode),
    "along an axis": lambda x, mode: jnp.take_along_axis(
        x, INDEX[:1, :, None] * np.ones((3, 1, 1), int), 1, mode=mode
    ),
    "batched": lambda x, mode: jax.vmap(lambda a, i: a.at[i].get(mode=mode), (1, 0), 1)(
        x, np.array([0, 7, 1, 2])
    ),
    "added to": lambda x, mode: x.at[:, INDEX].add(x[:, :1, None], mode=mode),
}


@pytest.mark.parametrize("mode", ["clip", "fill"])
def test_positions_are_those_that_jax_reads(monkeypatch, mode):
    compared = []
    positions = selection.Selection.positions

    def both(self, indices):
        ours = positions(self, indices)
        flat = np.arange(np.prod(self.shape), dtype=float).reshape(self.shape)
        with jax.ensure_compile_time_eval():
            theirs = self.read(jnp.asarray(flat + 1), jnp.asarray(indices)) - 1
        compared.append(np.array_equal(ours, np.asarray(theirs)))
        return ours

    monkeypatch.setattr(selection.Selection, "positions", both)
    x = jnp.asarray(array(3, 4, 5))
    for fun in GATHERS.values():
        jacobian = eqx_cc.cc_jacobian(
            lambda x, fun=fun: fun(x, mode), granularity="array"
        )
        jax.eval_shape(jacobian, x)
    assert len(compared) >= len(GATHERS) and all(compared)
