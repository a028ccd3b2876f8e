"""From a jaxpr to CasADi's scalar expressions (SX): arrays of them are interpreted."""

import functools as ft
import importlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from eqx_cc._jaxpr.releases import available_primitives
from jax import lax
from jax.extend.core import Literal, Primitive, primitives


# What moves elements and does not look at them: it is done to their numbers.
_LAYOUT: set[Primitive] = {
    lax.broadcast_in_dim_p,
    lax.concatenate_p,
    lax.dynamic_slice_p,
    lax.gather_p,
    lax.pad_p,
    lax.reshape_p,
    lax.rev_p,
    lax.slice_p,
    lax.split_p,
    lax.squeeze_p,
    lax.transpose_p,
    *available_primitives("stack_p", "unstack_p"),
}
# How many of their operands are elements, where others are positions.
_ELEMENTS = {lax.gather_p: 1, lax.dynamic_slice_p: 1}


@ft.cache
def _elementwise() -> dict[Primitive, Callable]:
    ca: Any = importlib.import_module("casadi")
    return {
        lax.abs_p: ca.fabs,
        lax.acos_p: ca.acos,
        lax.add_p: lambda a, b: a + b,
        primitives.add_jaxvals_p: lambda a, b: a + b,
        lax.asin_p: ca.asin,
        lax.atan2_p: ca.atan2,
        lax.atan_p: ca.atan,
        lax.convert_element_type_p: lambda a: a,
        lax.cos_p: ca.cos,
        lax.cosh_p: ca.cosh,
        lax.div_p: lambda a, b: a / b,
        lax.copy_p: lambda a: a,
        lax.eq_p: lambda a, b: a == b,
        lax.erf_p: ca.erf,
        lax.exp_p: ca.exp,
        lax.expm1_p: ca.expm1,
        lax.ge_p: lambda a, b: a >= b,
        lax.gt_p: lambda a, b: a > b,
        lax.le_p: lambda a, b: a <= b,
        lax.log1p_p: ca.log1p,
        lax.log_p: ca.log,
        lax.logistic_p: lambda a: 1.0 / (1.0 + ca.exp(-a)),
        lax.lt_p: lambda a, b: a < b,
        lax.max_p: ca.fmax,
        lax.min_p: ca.fmin,
        lax.mul_p: lambda a, b: a * b,
        lax.ne_p: lambda a, b: a != b,
        lax.neg_p: lambda a: -a,
        lax.pow_p: lambda a, b: a**b,
        lax.rsqrt_p: lambda a: 1.0 / ca.sqrt(a),
        lax.sign_p: ca.sign,
        lax.sin_p: ca.sin,
        lax.sinh_p: ca.sinh,
        lax.sqrt_p: ca.sqrt,
        lax.square_p: lambda a: a * a,
        # CasADi differentiates through it: right only where that cancels, as in a
        # softmax. The comparison with JAX finds out.
        primitives.stop_gradient_p: lambda a: a,
        lax.sub_p: lambda a, b: a - b,
        lax.tan_p: ca.tan,
        lax.tanh_p: ca.tanh,
    }


def expressions(fun: Callable, x: jax.Array) -> tuple[Any, Any]:
    """The symbols of a vector, and the vector of expressions that a function of it is.

    It raises `NotImplementedError` if a primitive is unknown.
    """
    ca: Any = importlib.import_module("casadi")
    symbols = ca.SX.sym("x", x.size)
    closed = jax.make_jaxpr(fun)(x)
    [out] = _interpreted(closed.jaxpr, closed.consts, [_array(symbols, x.shape)])
    return symbols, ca.vertcat(*out.reshape(-1).tolist())


def _array(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """An array of expressions. (NumPy itself would ask them for their own entries.)"""
    out = np.empty(int(np.prod(shape)), object)
    for i in range(out.size):
        out[i] = values[i]
    return out.reshape(shape)


def _interpreted(jaxpr: Any, consts: list, args: list) -> list[np.ndarray]:
    """Evaluates a jaxpr. Values without symbols stay arrays of numbers."""
    values = dict(zip(jaxpr.constvars, map(np.asarray, consts)))
    values |= dict(zip(jaxpr.invars, args))

    def read(var):
        return np.asarray(var.val) if isinstance(var, Literal) else values[var]

    for eqn in jaxpr.eqns:
        operands = [read(var) for var in eqn.invars]
        values.update(zip(eqn.outvars, _applied(eqn, operands)))
    return [read(var) for var in jaxpr.outvars]


def _applied(eqn: Any, operands: list[np.ndarray]) -> list[np.ndarray]:
    primitive, params = eqn.primitive, eqn.params
    for key in ("jaxpr", "call_jaxpr"):
        if key in params and len(operands) == len(params[key].jaxpr.invars):
            return _interpreted(params[key].jaxpr, params[key].consts, operands)
    if all(operand.dtype != object for operand in operands):
        out = primitive.bind(*map(jax.numpy.asarray, operands), **params)
        return [np.asarray(v) for v in (out if primitive.multiple_results else [out])]
    if primitive in _LAYOUT:
        return _moved(primitive, params, operands)
    if primitive in _elementwise():
        return [_each(_elementwise()[primitive], operands)]
    if primitive in _SPECIAL:
        return [_SPECIAL[primitive](operands, params)]
    raise NotImplementedError(f"the primitive `{primitive}` is not translated")


def _each(fun: Callable, operands: list[np.ndarray]) -> np.ndarray:
    shape = np.broadcast_shapes(*(operand.shape for operand in operands))
    flat = [np.broadcast_to(_listed(v), shape).reshape(-1) for v in operands]
    return _array([fun(*entries) for entries in zip(*flat)], shape)


def _listed(operand: np.ndarray) -> np.ndarray:
    """Numbers of Python's own types, as CasADi wants them."""
    return operand if operand.dtype == object else operand.astype(object)


def _moved(primitive: Primitive, params: dict, operands: list) -> list[np.ndarray]:
    count = _ELEMENTS.get(primitive, len(operands))
    pool = np.concatenate([_listed(v).reshape(-1) for v in operands[:count]])
    numbers, start = [], 0
    for operand in operands[:count]:
        stop = start + operand.size
        numbers.append(np.arange(start, stop, dtype=np.int32).reshape(operand.shape))
        start = stop
    positions = operands[count:]
    if any(position.dtype == object for position in positions):
        raise NotImplementedError("positions that depend on the point")
    out = primitive.bind(*map(jax.numpy.asarray, (*numbers, *positions)), **params)
    outs = out if primitive.multiple_results else [out]
    # Flat first: of a single element NumPy would return the element.
    return [pool[np.ravel(v)].reshape(v.shape) for v in outs]


def _select(operands: list[np.ndarray], params: dict) -> np.ndarray:
    ca: Any = importlib.import_module("casadi")
    return _each(lambda condition, no, yes: ca.if_else(condition, yes, no), operands)


def _reduced(combine: Callable[[Any, Any], Any]) -> Callable:
    def reduce(operands: list[np.ndarray], params: dict) -> np.ndarray:
        [operand] = operands
        axes = tuple(params["axes"])
        kept = [i for i in range(operand.ndim) if i not in axes]
        shape = tuple(operand.shape[i] for i in kept)
        rows = operand.transpose(*kept, *axes).reshape(int(np.prod(shape)), -1)
        return _array([ft.reduce(combine, row) for row in rows], shape)

    return reduce


def _integer_power(operands: list[np.ndarray], params: dict) -> np.ndarray:
    return _each(lambda a: a ** params["y"], operands)


def _dot(operands: list[np.ndarray], params: dict) -> np.ndarray:
    """Batches first, then what is left of the one side, then of the other."""
    (of_left, of_right), (batch_left, batch_right) = params["dimension_numbers"]
    left, left_shape = _as_matrices(operands[0], of_left, batch_left)
    right, right_shape = _as_matrices(operands[1], of_right, batch_right)
    product = [a @ b.T for a, b in zip(left, right)]
    batch = tuple(operands[0].shape[i] for i in batch_left)
    entries = np.concatenate([matrix.reshape(-1) for matrix in product])
    return _array(entries, (*batch, *left_shape, *right_shape))


def _as_matrices(operand: np.ndarray, contracted: Any, batch: Any):
    free = [i for i in range(operand.ndim) if i not in (*contracted, *batch)]
    shape = tuple(operand.shape[i] for i in free)
    sizes = [int(np.prod([operand.shape[i] for i in a])) for a in (batch, free)]
    moved = _listed(operand).transpose(*batch, *free, *contracted)
    return moved.reshape(*sizes, -1), shape


_SPECIAL: dict[Primitive, Callable[[list[np.ndarray], dict], np.ndarray]] = {
    lax.dot_general_p: _dot,
    lax.integer_pow_p: _integer_power,
    lax.reduce_max_p: _reduced(lambda a, b: _elementwise()[lax.max_p](a, b)),
    lax.reduce_min_p: _reduced(lambda a, b: _elementwise()[lax.min_p](a, b)),
    lax.reduce_sum_p: _reduced(lambda a, b: a + b),
    lax.select_n_p: _select,
}
