"""What implementations of automatic differentiation are known to get wrong."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, nn

from ._case import Case, case, uniform


_X = uniform(2, 3)
_SQUARE = uniform(2, 2)
_BF16 = jnp.bfloat16


def _of_type(dtype, fun=None):
    if fun is None:
        fun = lambda x: jnp.sin(x) * x + jnp.sum(x, keepdims=True)  # noqa: E731
    return case(fun, uniform(2, 3).astype(dtype))


def _shared_output(x):
    """The first output feeds the second, which feeds the third."""
    a = jnp.sin(x)
    b = a * x
    return a, b, a + b


def _diamond(x):
    a = jnp.sin(x)
    return jnp.exp(a) * jnp.cos(a) + a


def _unused(v):
    a, b, _ = v
    return a * 2.0, b**2


def _integers(v):
    index, x = v
    return x[index] * index.astype(x.dtype)[:, None], index + 1


def _cast_chain(x):
    return x.astype(jnp.float32).astype(jnp.float64) ** 2


def _cast_through_integer(x):
    return x * jnp.round(10.0 * x).astype(int).astype(x.dtype)


def _mixed_dtypes(v):
    low, high = v
    return low.astype(jnp.float64) * high, (low * 2) ** 2


def _half_accumulated(x):
    return lax.dot(x, x, preferred_element_type=jnp.float32)


def _constants(x):
    table = np.arange(6.0).reshape(2, 3)
    return table * x + 1.0 - x / table.max(), 2.0 / (x + 3.0), 1.5 - x


def _overwritten(x):
    return x.at[0].set(x[1] * x[0]).at[1].set(0.0).at[0].multiply(x[1])


def _cancels(x):
    y = jnp.sin(x)
    return y - y, x * 0.0, (x + 1.0) - x


def _long_chain(x):
    for _ in range(20):
        x = jnp.sin(x) + 0.5 * x
    return x


def _fan(x):
    """Many uses of one vertex."""
    y = jnp.sin(x)
    return sum(jnp.cos(y * k) for k in range(1, 6))


def _complete(x):
    """Every vertex depends on every earlier one: all is fill-in."""
    values = [x[0], x[1]]
    for _ in range(5):
        values.append(jnp.sin(sum(values)))
    return jnp.stack(values[-2:])


def _safe_where(x):
    safe = jnp.where(x > 0.0, x, 1.0)
    return jnp.where(x > 0.0, jnp.sqrt(safe), 0.0)


_REPEATED = {
    "x_plus_x": (lambda x: x + x, _X),
    "x_minus_x": (lambda x: x - x, _X),
    "x_times_x": (lambda x: x * x, _X),
    "x_over_x": (lambda x: x / (x + 2.0) / x, _X),
    "x_to_the_x_shifted": (lambda x: (x + 2.0) ** (x + 2.0), _X),
    "x_matmul_x": (lambda x: x @ x, _SQUARE),
    "x_matmul_x_transposed": (lambda x: x @ x.T, _X),
    "x_dot_x": (lambda x: jnp.dot(x, x), _X[0]),
    "maximum_x_x": (lambda x: jnp.maximum(x, x), _X),
    "atan2_x_x": (lambda x: jnp.arctan2(x, x), _X + 2.0),
    "select_x_x": (lambda x: jnp.where(x > 0.0, x, x), _X),
    "concatenate_x_x": (lambda x: jnp.concatenate([x, x]), _X),
    "scatter_x_x": (lambda x: x.at[0].add(x[0]).at[jnp.array([1, 1])].add(x), _X),
    "solve_x_x": (lambda x: jnp.linalg.solve(x, x), _SQUARE + 2.0 * np.eye(2)),
}

_OUTPUTS = {
    "output_is_input": (lambda x: x, _X),
    "outputs_are_inputs": (lambda v: (v[1], v[0], v[1]), (_X, _SQUARE)),
    "output_twice": (lambda x: (jnp.sin(x),) * 2, _X),
    "output_constant": (lambda x: (jnp.ones(2), x**2), _X),
    "output_all_constant": (lambda x: jnp.ones(2), _X),
    "output_of_one_input": (lambda v: (jnp.sin(v[0]), jnp.cos(v[1])), (_X, _SQUARE)),
    "output_shared": (_shared_output, _X),
    "output_none": (lambda x: {"a": None, "b": (x * 2.0, ())}, _X),
    "input_unused": (_unused, (_X, _SQUARE, uniform(2))),
    "integer_leaves": (_integers, (np.array([1, 0]), _X)),
    "integer_output": (lambda x: (jnp.argmax(x), x[0] ** 2, x > 0.0), _X),
    "stopped": (lambda x: lax.stop_gradient(x) * 2.0, _X),
}

_STRUCTURE = {
    "cancels": (_cancels, _X),
    "cast_chain": (_cast_chain, _X),
    "cast_through_integer": (_cast_through_integer, _X),
    "complete": (_complete, uniform(2)),
    "constants": (_constants, _X),
    "diamond": (_diamond, _X),
    "fan": (_fan, uniform(2)),
    "long_chain": (_long_chain, np.array(0.7)),
    "mixed_dtypes": (_mixed_dtypes, (_X.astype(np.float32), _X + 1.0)),
    "overwritten": (_overwritten, _X),
    "safe_where": (_safe_where, np.array([-1.0, 0.0, 2.0])),
    "zeros_times": (lambda x: jnp.zeros_like(x) * x + jnp.sin(x), _X),
}

_KINKS = {
    "abs_at_zero": jnp.abs,
    "clip_at_bounds": lambda x: jnp.clip(x, 0.0, 1.0),
    "cond_at_zero": lambda x: lax.cond(x > 0.0, jnp.sin, lambda v: v * 0.5, x),
    "elu_at_zero": nn.elu,
    "logaddexp_at_ties": lambda x: jnp.logaddexp(x, x),
    "maximum_at_ties": lambda x: jnp.maximum(x, 0.0),
    "minimum_at_ties": lambda x: jnp.minimum(0.0, x),
    "relu6_at_zero": nn.relu6,
    "relu_at_zero": nn.relu,
    "sign_at_zero": jnp.sign,
    "sinc_at_zero": jnp.sinc,
    "softplus_at_zero": nn.softplus,
    "x_to_the_zero_at_zero": lambda x: x**0.0,
    "square_root_of_square_at_zero": lambda x: jnp.sqrt(x**2 + 0.0),
    "squared_norm_at_zero": lambda x: jnp.sum(jnp.stack([x, x]) ** 2),
}

# Of scalars, where no order multiplies by a zero that another leaves out.
_NOT_FINITE = {
    "divide_by_zero": (lambda x: 1.0 / x, 0.0),
    "log_at_zero": (jnp.log, 0.0),
    "log_of_negative": (jnp.log, -1.0),
    "sqrt_at_zero": (jnp.sqrt, 0.0),
    "arcsin_at_one": (jnp.arcsin, 1.0),
    "exp_overflows": (lambda x: jnp.exp(x) * x, 800.0),
    "exp_at_minus_infinity": (jnp.exp, -np.inf),
    "sin_at_infinity": (jnp.sin, np.inf),
    "tanh_at_infinity": (jnp.tanh, np.inf),
    "softplus_at_infinity": (nn.softplus, np.inf),
    "logsumexp_at_minus_infinity": (
        lambda x: nn.logsumexp(jnp.stack([x, x])),
        -np.inf,
    ),
    "square_at_nan": (lambda x: x * x, np.nan),
    "power_at_zero": (lambda x: x**1.5 + x**0.5, 0.0),
}

CASES: dict[str, Case] = (
    {k: case(f, x) for k, (f, x) in (_REPEATED | _OUTPUTS | _STRUCTURE).items()}
    | {name: case(fun, np.array(0.0)) for name, fun in _KINKS.items()}
    | {name: case(fun, np.array(x)) for name, (fun, x) in _NOT_FINITE.items()}
    | {
        "float32": _of_type(np.float32),
        "float16": _of_type(np.float16),
        "bfloat16": _of_type(_BF16),
        "float32_softmax": _of_type(np.float32, nn.softmax),
        "float32_matmul": _of_type(np.float32, lambda x: x @ x.T),
        "bfloat16_accumulated": case(
            _half_accumulated, uniform(2, 2).astype(_BF16), rtol=1e-2, reason="bfloat16"
        ),
        "bfloat16_layer_norm": _of_type(_BF16, nn.standardize),
        "weak_type": Case(lambda: (lambda x: x * jnp.sin(x), jnp.asarray(1.5))),
        "weak_and_strong": Case(
            lambda: (
                lambda v: v[0] * v[1],
                (jnp.asarray(1.5), jnp.ones(2, jnp.float32)),
            )
        ),
        "vmapped_scalar": case(jax.vmap(_diamond), uniform(3)),
    }
)
