"""Values that NumPy computes while tracing are those of JAX, in the same types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._jaxpr.known import evaluate
from eqx_cc._jaxpr.program import bind, flatten
from jax import lax


INTEGERS = np.array([[3, -7, 0], [5, 2, -(2**31)]], np.int32)
OTHERS = np.array([[2, 3, -4], [-6, 7, 9]], np.int32)
FLOATS = np.array([[1.5, -0.0, np.nan], [np.inf, -2.5, 3e38]], np.float32)
HALVES = np.array([1.1, np.nan, 0.0, 3.3], np.float16)
EMPTY = np.zeros((2, 0), np.int32)
FLAGS = np.array([[True, False, True], [False, False, True]])
CASES = {
    "arithmetic": (lambda a, b: (a + b, a - b, a * b, -a), INTEGERS, OTHERS),
    "overflow": (lambda a, b: (a + b, a * b), INTEGERS, INTEGERS),
    "floats": (lambda a, b: (a + b, a - b, a * b, -a), FLOATS, FLOATS[::-1]),
    "scalars": (lambda a, b: (a + b, a * b), np.int32(3), np.int32(-4)),
    "comparisons": (
        lambda a, b: (a == b, a != b, a < b, a <= b, a > b, a >= b),
        FLOATS,
        FLOATS[::-1],
    ),
    "division": (lambda a, b: (lax.div(a, b), lax.rem(a, b)), INTEGERS, OTHERS),
    "remainder of numbers": (lax.rem, FLOATS, FLOATS[::-1]),
    "quotients": (lax.div, FLOATS, FLOATS[::-1]),
    "halves": (lax.div, HALVES, HALVES[::-1]),
    "roots": (lambda a: (lax.sqrt(a), lax.floor(a), lax.ceil(a), abs(a)), FLOATS),
    "reciprocals": (lambda a: lax.integer_pow(a, -1), FLOATS[:, :2]),
    "reciprocals of halves": (lambda a: lax.integer_pow(a, -1), HALVES),
    "squares": (lambda a: (lax.square(a), lax.integer_pow(a, 2)), FLOATS),
    "squares of integers": (lambda a: (lax.square(a), abs(a), a**2), INTEGERS),
    "larger": (lambda a, b: (lax.max(a, b), lax.min(a, b)), FLOATS, FLOATS[::-1]),
    "tiles": (lambda a: jnp.tile(a, (2, 3)), FLOATS),
    "whole numbers": (
        lambda a: a.astype("int32"),
        np.array([-3, 0, -0.0, 2**30], np.float32),
    ),
    "unsigned": (
        lambda a, b: (lax.div(a, b), lax.rem(a, b), a - b),
        np.array([7, 2**32 - 1], np.uint32),
        np.array([9, 2], np.uint32),
    ),
    "bounds": (lambda a, b: (lax.max(a, b), lax.min(a, b)), INTEGERS, OTHERS),
    "clamp": (lambda a: lax.clamp(np.int32(-1), a, np.int32(3)), INTEGERS),
    "crossed clamp": (lambda a: lax.clamp(np.int32(4), a, np.int32(3)), INTEGERS),
    "sign": (lax.sign, INTEGERS),
    "logic": (lambda a, b: (a & b, a | b, a ^ b, ~a), FLAGS, ~FLAGS),
    "bits": (lambda a, b: (a & b, a | b, a ^ b, ~a), INTEGERS, OTHERS),
    "select": (lambda p, a, b: lax.select_n(p, a, b), FLAGS, INTEGERS, OTHERS),
    "select by one": (lambda a, b: lax.select_n(True, a, b), FLOATS, FLOATS[::-1]),
    "to floats": (lambda a: (a.astype("float32"), a.astype(bool)), INTEGERS),
    "to halves": (lambda a: a.astype("float16"), FLOATS),
    "narrower": (lambda a: (a.astype("int8"), a.astype("uint8")), INTEGERS),
    "iota": (lambda: lax.broadcasted_iota("int32", (2, 3), 1),),
    "empty iota": (lambda: lax.iota("float32", 0),),
    "sums": (lambda a: (a.sum(1, dtype="int32"), lax.cumsum(a, 1)), INTEGERS),
    "reverse sum": (lambda a: lax.cumsum(a, 0, reverse=True), INTEGERS),
    "reductions": (lambda a: (a.max(0), a.min((0, 1)), a.max(())), INTEGERS),
    "any and all": (lambda a: (a.any(0), a.all(1)), FLAGS),
    "arguments": (lambda a: (a.argmax(1), a.argmin(0)), np.array([[1, 1], [0, 1]])),
    "sort": (lambda a: lax.sort(a, dimension=1), INTEGERS),
    "argsort": (lambda a: jnp.argsort(a, axis=0), np.array([[2, 1], [2, 0], [1, 1]])),
    "slice": (lambda a: lax.dynamic_slice(a, (1, -5), (1, 2)), INTEGERS),
    "slice of none": (lambda a: lax.dynamic_slice(a, (1, 4), (1, 0)), INTEGERS),
    "update": (lambda a, b: lax.dynamic_update_slice(a, b, (1, 9)), INTEGERS, OTHERS),
    "part": (
        lambda a: lax.dynamic_update_slice(a, np.ones((1, 2), "int32"), (9, 1)),
        INTEGERS,
    ),
    "pad": (lambda a: lax.pad(a, np.int32(9), [(1, 0, 2), (0, 2, 1)]), INTEGERS),
    "crop": (lambda a: lax.pad(a, np.int32(9), [(-1, 0, 0), (1, -2, 1)]), INTEGERS),
    "pad nothing": (lambda a: lax.pad(a, np.int32(9), [(0, 0, 0), (1, 1, 5)]), EMPTY),
    "pad a number": (lambda a: lax.pad(a, np.int32(9), []), np.int32(2)),
    "split": (lambda a: lax.split(a, (1, 0, 2), 1), INTEGERS),
    "take": (lambda a: a[np.array([1, 0, 1])], INTEGERS),
    "columns": (lambda a: a[:, np.array([[2, 0], [-1, 1]])], FLOATS),
    "pairs": (lambda a: a[np.array([0, 1]), np.array([2, 0])], INTEGERS),
    "filled": (lambda a: a.at[np.array([0, 5, -9])].get(mode="fill"), INTEGERS),
    "clipped": (lambda a: a.at[np.array([0, 5, -9])].get(mode="clip"), FLOATS),
    "named fill": (
        lambda a: a.at[:, np.array([7, 1])].get(mode="fill", fill_value=4),
        INTEGERS,
    ),
    "of none": (lambda a: a[np.array([], np.int32)], INTEGERS),
    "batch": (jax.vmap(lambda a, i: a[i]), INTEGERS, np.array([[2, 0], [-1, 1]])),
    "batch of filled": (
        jax.vmap(lambda a, i: a.at[i].get(mode="fill", fill_value=7), (1, None)),
        INTEGERS,
        np.array([5, 1]),
    ),
    "windows": (
        lambda a, i: lax.gather(
            a,
            i,
            lax.GatherDimensionNumbers((1, 2), (), (0, 1)),
            (1, 2),
            mode="clip",
        ),
        INTEGERS,
        np.array([[0, 1], [9, 9], [-3, 0]], np.int32),
    ),
    "entry": (lambda a: a.at[np.int32(9), 0].get(mode="fill", fill_value=1), INTEGERS),
    "point": (lambda a: a[np.int32(1), np.int32(2)], INTEGERS),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("is_wide", [False, True])
def test_as_jax(name, is_wide):
    fun, *arrays = CASES[name]
    with jax.enable_x64(is_wide):
        closed = jax.make_jaxpr(fun)(*arrays)
        program = flatten(closed.jaxpr, closed.consts)
        env = {i: np.asarray(jnp.asarray(array)) for i, array in enumerate(arrays)}
        for equation in program.equations:
            operands = [
                env[o] if isinstance(o, int) else np.asarray(o.value, o.aval.dtype)
                for o in equation.operands
            ]
            expected = list(map(np.asarray, bind(equation.eqn, operands)))
            results = evaluate._by_numpy(equation.eqn, operands)
            assert results is not None, equation.eqn
            assert len(results) == len(expected)
            for result, array in zip(map(np.asarray, results), expected):
                assert result.dtype == array.dtype, equation.eqn
                np.testing.assert_array_equal(result, array)
                if array.dtype.kind == "f":
                    is_number = ~np.isnan(array)
                    signs = np.signbit(result), np.signbit(array)
                    np.testing.assert_array_equal(
                        signs[0][is_number], signs[1][is_number]
                    )
            env.update(zip(equation.results, expected))


@pytest.mark.parametrize(
    "fun, arrays",
    [
        (lax.div, (np.int32(1), np.int32(0))),
        (lax.rem, (np.int32(-(2**31)), np.int32(-1))),
        (lambda a: a.astype("int32"), (np.float32("nan"),)),
        (lambda a: a.astype("int32"), (np.float32(-(2**31)),)),
        (lambda a: a.astype("uint32"), (np.float32(2),)),
        (lax.max, (np.float32(-0.0), np.float32(0.0))),
        (lambda a: lax.integer_pow(a, -1), (np.float32(3e38),)),
        (lambda a: lax.reduce_max(a, (1,)), (EMPTY,)),
        (lax.sin, (np.float32(1.0),)),
        (lambda a: lax.integer_pow(a, 3), (np.float32(1.1),)),
    ],
)
def test_left_to_jax(fun, arrays):
    [equation] = flatten(jax.make_jaxpr(fun)(*arrays).jaxpr, ()).equations
    operands = list(map(np.asarray, arrays))
    assert evaluate._by_numpy(equation.eqn, operands) is None
    expected = bind(equation.eqn, operands)[0]
    [result] = evaluate.evaluated(equation.eqn, operands)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == expected.dtype
