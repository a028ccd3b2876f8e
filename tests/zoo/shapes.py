"""Moving entries about: reshaping, broadcasting, joining, padding."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from ._case import Case, case, uniform


_X = uniform(2, 3)
_CUBE = uniform(2, 3, 2)

_OF_A_MATRIX = {
    "broadcast_to": lambda x: jnp.broadcast_to(x, (2, 2, 3)),
    "broadcast_middle": lambda x: jnp.broadcast_to(x[:, None, :], (2, 2, 3)),
    "diag": lambda x: jnp.diag(x[0] * x[1]),
    "diag_of": lambda x: jnp.diag(x @ x.T),
    "diff": lambda x: jnp.diff(x, axis=1),
    "expand_dims": lambda x: jnp.expand_dims(jnp.sin(x), (0, 3)),
    "fill_diagonal": lambda x: jnp.fill_diagonal(x, 0.5, inplace=False),
    "flip": lambda x: jnp.flip(x**2),
    "flip_axis": lambda x: jnp.flip(x, axis=1) * x,
    "gradient": lambda x: jnp.gradient(x, axis=1),
    "kron": lambda x: jnp.kron(x, x[:, :2]),
    "pad": lambda x: jnp.pad(x, ((1, 0), (0, 2))) ** 2,
    "pad_edge": lambda x: jnp.pad(x, 1, mode="edge"),
    "pad_interior": lambda x: lax.pad(x, 0.0, [(1, -1, 1), (-1, 0, 2)]),
    "pad_reflect": lambda x: jnp.pad(x, 1, mode="reflect"),
    "pad_value": lambda x: lax.pad(x, x[0, 0], [(0, 1, 0), (1, 0, 1)]),
    "ravel": lambda x: jnp.sin(x).ravel(),
    "repeat": lambda x: jnp.repeat(x, 2, axis=1),
    "reshape": lambda x: jnp.reshape(x, (3, 2)) @ x,
    "reshape_split": lambda x: jnp.reshape(x, (2, 1, 3, 1)) ** 2,
    "roll": lambda x: jnp.roll(x, 1, axis=1) - x,
    "rot90": lambda x: jnp.rot90(x),
    "split": lambda x: [jnp.prod(p) for p in jnp.split(x, 3, axis=1)],
    "stack": lambda x: jnp.stack([x, x**2, jnp.ones_like(x)], axis=1),
    "tile": lambda x: jnp.tile(x, (2, 1)),
    "transpose": lambda x: x.T * 2.0,
    "tri": lambda x: (jnp.tril(x), jnp.triu(x, 1)),
    "trace": lambda x: jnp.trace(x @ x.T),
    "unstack": lambda x: jnp.unstack(x, axis=1)[1],
    "vander": lambda x: jnp.vander(x[0], 3),
}

_OF_A_CUBE = {
    "einsum": lambda x: jnp.einsum("ijk,ljk->il", x, jnp.sin(x)),
    "einsum_diagonal": lambda x: jnp.einsum("iji->j", x),
    "moveaxis": lambda x: jnp.moveaxis(x, 0, 2) ** 2,
    "swapaxes": lambda x: jnp.swapaxes(x, 0, 1) * 3.0,
    "tensordot": lambda x: jnp.tensordot(x, x, [[0, 1], [0, 1]]),
    "transpose3": lambda x: jnp.transpose(x, (2, 0, 1)).reshape(4, 3),
}


def _brusselator(x):
    left, right = jnp.roll(x, 1), jnp.roll(x, -1)
    return left - 2.0 * x + right + x**2 * (1.0 - x)


def _stencil(x):
    padded = jnp.pad(x, 1)
    return padded[:-2] - 2.0 * padded[1:-1] + padded[2:]


def _upwind(x):
    flux = 0.5 * x**2
    return jnp.concatenate([x[:1], flux[1:] - flux[:-1]])


def _concatenate(v):
    a, b = v
    return jnp.concatenate([a, b, a * b[:, :1]], axis=1)


def _meshgrid(v):
    a, b = jnp.meshgrid(*v)
    return a * b


# Every elementwise operation below meets sizes 1 and 0.
_SHAPES = {"scalar": (), "one": (1,), "none": (0,), "empty": (2, 0), "ones": (1, 3, 1)}


def _elementary(x):
    return jnp.sin(x) * x + x**2 / 2.0


def _mean_removed(x):
    return x - jnp.sum(x, keepdims=True)


def _outer(x):
    return x[:, None] * x[None, :]


CASES: dict[str, Case] = (
    {name: case(fun, _X) for name, fun in _OF_A_MATRIX.items()}
    | {name: case(fun, _CUBE) for name, fun in _OF_A_CUBE.items()}
    | {f"elementary_{k}": case(_elementary, uniform(*s)) for k, s in _SHAPES.items()}
    | {
        f"mean_removed_{k}": case(_mean_removed, uniform(*s))
        for k, s in _SHAPES.items()
    }
    | {
        "broadcast_scalar": case(lambda x: jnp.broadcast_to(x, (2, 3)), np.array(0.5)),
        "broadcast_size_one": case(lambda x: x + jnp.zeros((2, 3)), uniform(1, 3)),
        "brusselator": case(_brusselator, uniform(5)),
        "concatenate": case(_concatenate, (_X, uniform(2, 1))),
        "concatenate_empty": case(
            lambda x: jnp.concatenate([x, x[:0], jnp.sin(x)]), uniform(2)
        ),
        "meshgrid": case(_meshgrid, (uniform(2), uniform(3))),
        "outer": case(_outer, uniform(3)),
        "outer_one": case(_outer, uniform(1)),
        "outer_empty": case(_outer, uniform(0)),
        "squeeze": case(lambda x: jnp.squeeze(x, 1) ** 2, uniform(3, 1)),
        "stencil": case(_stencil, uniform(5)),
        "upwind": case(_upwind, uniform(5)),
    }
)
