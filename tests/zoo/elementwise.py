"""Elementwise functions of `jax.numpy`, and how they broadcast."""

import jax.numpy as jnp
import numpy as np

from ._case import Case, case, positive, uniform


_X = uniform(2, 3)
_POSITIVE = positive(2, 3)

_UNARY = {
    "abs": jnp.abs,
    "arccos": jnp.arccos,
    "arcsin": jnp.arcsin,
    "arcsinh": jnp.arcsinh,
    "arctan": jnp.arctan,
    "arctanh": jnp.arctanh,
    "ceil": jnp.ceil,
    "cos": jnp.cos,
    "cosh": jnp.cosh,
    "deg2rad": jnp.deg2rad,
    "exp": jnp.exp,
    "exp2": jnp.exp2,
    "expm1": jnp.expm1,
    "floor": jnp.floor,
    "identity": lambda x: x,
    "nan_to_num": jnp.nan_to_num,
    "negative": jnp.negative,
    "reciprocal": jnp.reciprocal,
    "round": jnp.round,
    "sign": jnp.sign,
    "sin": jnp.sin,
    "sinc": jnp.sinc,
    "sinh": jnp.sinh,
    "square": jnp.square,
    "tan": jnp.tan,
    "tanh": jnp.tanh,
}

_UNARY_POSITIVE = {
    "arccosh": lambda x: jnp.arccosh(x + 1.0),
    "cbrt": jnp.cbrt,
    "i0": jnp.i0,
    "log": jnp.log,
    "log10": jnp.log10,
    "log1p": jnp.log1p,
    "log2": jnp.log2,
    "sqrt": jnp.sqrt,
    "x_to_the_x": lambda x: x**x,
}

_BINARY = {
    "add": jnp.add,
    "arctan2": jnp.arctan2,
    "divide": jnp.divide,
    "float_power": jnp.float_power,
    "fmax": jnp.fmax,
    "fmod": jnp.fmod,
    "heaviside": jnp.heaviside,
    "hypot": jnp.hypot,
    "logaddexp": jnp.logaddexp,
    "logaddexp2": jnp.logaddexp2,
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "multiply": jnp.multiply,
    "copysign": jnp.copysign,
    "power": jnp.power,
    "remainder": jnp.remainder,
    "subtract": jnp.subtract,
}


def _of_pair(fun):
    return lambda xy: fun(*xy)


def _polynomial(x):
    return 3.0 * x**3 - 2.0 * x**2 + x / 5.0 - 7.0 / (x + 4.0)


def _mixture(x):
    return jnp.sin(x) * jnp.exp(-x) + jnp.sin(x) / (1.0 + x * x)


def _powers(x):
    return x**-2, x**0.5, 2.0**x, x**0, x**1


def _select(x):
    return jnp.select([x < -0.3, x < 0.3], [x**2, jnp.sin(x)], -x)


def _piecewise(x):
    return jnp.piecewise(x, [x < 0.0, x >= 0.5], [jnp.sin, jnp.exp, jnp.cos])


_PAIR = (_POSITIVE, positive(2, 3, seed=1))
_ROW, _COLUMN = positive(1, 3, seed=2), positive(2, 1, seed=3)

CASES: dict[str, Case] = (
    {name: case(fun, _X) for name, fun in _UNARY.items()}
    | {name: case(fun, _POSITIVE) for name, fun in _UNARY_POSITIVE.items()}
    | {name: case(_of_pair(fun), _PAIR) for name, fun in _BINARY.items()}
    | {
        f"{name}_outer": case(_of_pair(_BINARY[name]), (_COLUMN, _ROW))
        for name in ("add", "divide", "maximum", "multiply", "power", "subtract")
    }
    | {
        f"{name}_scalar": case(_of_pair(_BINARY[name]), (_POSITIVE, np.array(1.3)))
        for name in ("add", "divide", "maximum", "multiply", "power", "subtract")
    }
    | {
        "clip": case(lambda x: jnp.clip(x, -0.3, 0.4), _X),
        "clip_by_arrays": case(
            lambda v: jnp.clip(v[0], v[1], v[2]), (_X, _X - 0.1, _X + _X**2 - 0.1)
        ),
        "mixture": case(_mixture, _X),
        "piecewise": case(_piecewise, uniform(4)),
        "polynomial": case(_polynomial, _X),
        "polyval": case(lambda v: jnp.polyval(v[0], v[1]), (uniform(4), _X)),
        "powers": case(_powers, _POSITIVE),
        "select": case(_select, _X),
        "unwrap": case(lambda x: jnp.unwrap(8.0 * x), uniform(4)),
        "where": case(lambda v: jnp.where(v[0] > 0.0, v[0], v[1]), (_X, _ROW)),
    }
)
