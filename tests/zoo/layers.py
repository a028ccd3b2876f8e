"""The layers of `equinox.nn`, by their inputs and by their parameters."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from equinox import nn

from ._case import Case, uniform


def _key():
    return jr.key(0)


# A name, how to build the layer, and what to call it with.
_LAYERS: dict[str, tuple[Callable[[], Callable], tuple]] = {
    "adaptive_avg_pool": (lambda: nn.AdaptiveAvgPool1d(2), (uniform(1, 5),)),
    "adaptive_max_pool": (lambda: nn.AdaptiveMaxPool1d(2), (uniform(1, 5),)),
    "avg_pool": (lambda: nn.AvgPool2d(2, 1), (uniform(1, 3, 3),)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 2, key=_key()), (uniform(2, 4),)),
    "conv2d": (
        lambda: nn.Conv2d(1, 2, 2, padding="SAME", key=_key()),
        (uniform(1, 3, 3),),
    ),
    "conv_circular": (
        lambda: nn.Conv1d(1, 1, 3, padding=1, padding_mode="CIRCULAR", key=_key()),
        (uniform(1, 4),),
    ),
    "conv_transpose": (
        lambda: nn.ConvTranspose1d(2, 1, 2, stride=2, key=_key()),
        (uniform(2, 3),),
    ),
    "group_norm": (lambda: nn.GroupNorm(2, 4), (uniform(4, 2),)),
    "gru_cell": (lambda: nn.GRUCell(2, 3, key=_key()), (uniform(2), uniform(3))),
    "identity_layer": (nn.Identity, (uniform(3),)),
    "lambda_layer": (lambda: nn.Lambda(jnp.sin), (uniform(3),)),
    "layer_norm": (lambda: nn.LayerNorm(3), (uniform(3),)),
    "linear": (lambda: nn.Linear(3, 2, key=_key()), (uniform(3),)),
    "linear_scalar": (lambda: nn.Linear("scalar", 2, key=_key()), (np.array(0.3),)),
    "linear_without_bias": (
        lambda: nn.Linear(3, 2, use_bias=False, key=_key()),
        (uniform(3),),
    ),
    "lstm_cell": (
        lambda: nn.LSTMCell(2, 2, key=_key()),
        (uniform(2), (uniform(2, seed=1), uniform(2, seed=2))),
    ),
    "max_pool": (lambda: nn.MaxPool2d(2, 1), (uniform(1, 3, 3),)),
    "mlp": (
        lambda: nn.MLP(3, 2, 4, 2, activation=jnp.tanh, key=_key()),
        (uniform(3),),
    ),
    "mlp_scalar": (
        lambda: nn.MLP("scalar", "scalar", 3, 1, activation=jax.nn.gelu, key=_key()),
        (np.array(0.3),),
    ),
    "multihead_attention": (
        lambda: nn.MultiheadAttention(2, 4, use_query_bias=True, key=_key()),
        tuple(uniform(3, 4, seed=i) for i in range(3)),
    ),
    "prelu": (lambda: nn.PReLU(0.2), (uniform(3),)),
    "rms_norm": (lambda: nn.RMSNorm(3), (uniform(3),)),
    "rotary": (
        lambda: nn.RotaryPositionalEmbedding(4, dtype=jnp.float64),
        (uniform(3, 4),),
    ),
    "sequential": (
        lambda: nn.Sequential(
            [nn.Linear(2, 3, key=_key()), nn.Lambda(jax.nn.silu), nn.LayerNorm(3)]
        ),
        (uniform(2),),
    ),
    "weight_norm": (
        lambda: nn.WeightNorm(nn.Linear(3, 2, key=_key())),
        (uniform(3),),
    ),
}


def _by_inputs(build, args):
    def built():
        layer = build()
        return lambda x: layer(*x), args

    return built


def _by_parameters(build, args):
    def built():
        constants = jax.tree.map(jnp.asarray, args)
        return lambda layer: layer(*constants), build()

    return built


def _batch_norm(by_parameters):
    def built():
        layer, state = nn.make_with_state(nn.BatchNorm)(
            2, "batch", mode="ema", dtype=jnp.float64
        )
        x = uniform(3, 2)

        def apply(layer, x):
            mapped = jax.vmap(layer, axis_name="batch", in_axes=(0, None))
            return mapped(x, state)[0]

        if by_parameters:
            return lambda v: apply(v, jnp.asarray(x)), layer
        return lambda v: apply(layer, v), x

    return built


def _batch_norm_inference():
    layer, state = nn.make_with_state(nn.BatchNorm)(
        2, "batch", mode="batch", dtype=jnp.float64
    )
    layer = nn.inference_mode(layer)
    return lambda x: layer(x, state)[0], uniform(2)


def _cloned(state):
    """Equinox lets a state be used once."""
    return jax.tree.map(lambda leaf: leaf, state)


def _spectral_norm():
    linear = nn.Linear(3, 2, key=_key())
    layer, state = nn.make_with_state(nn.SpectralNorm)(linear, "weight", key=_key())
    return lambda x: layer(x, _cloned(state))[0], uniform(3)


def _spectral_norm_by_parameters():
    linear = nn.Linear(3, 2, key=_key())
    layer, state = nn.make_with_state(nn.SpectralNorm)(linear, "weight", key=_key())
    x = jnp.asarray(uniform(3))
    return lambda v: v(x, _cloned(state))[0], layer


def _dropout():
    layer = nn.Dropout(0.4)
    return lambda x: layer(x, key=_key()) ** 2, uniform(5)


def _embedding():
    return lambda v: jax.vmap(v)(jnp.array([2, 0, 2])) ** 2, nn.Embedding(
        3, 2, key=_key()
    )


def _shared():
    class Tied(eqx.Module):
        shared: nn.Shared

        def __init__(self):
            first, second = (nn.Linear(2, 2, key=k) for k in jr.split(_key()))
            where, get = (lambda pair: pair[1].weight), (lambda pair: pair[0].weight)
            self.shared = nn.Shared((first, second), where, get)

        def __call__(self, x):
            first, second = self.shared()
            return second(jnp.tanh(first(x)))

    x = jnp.asarray(uniform(2))
    return lambda tied: tied(x), Tied()


def _residual_by_both():
    layer = nn.Linear(2, 2, key=_key())
    return lambda v: v["x"] + jnp.tanh(v["layer"](v["x"])), {
        "layer": layer,
        "x": uniform(2),
    }


CASES: dict[str, Case] = (
    {f"{name}_by_inputs": Case(_by_inputs(*v)) for name, v in _LAYERS.items()}
    | {
        f"{name}_by_parameters": Case(_by_parameters(*_LAYERS[name]))
        for name in (
            "conv1d",
            "conv_transpose",
            "group_norm",
            "gru_cell",
            "layer_norm",
            "linear",
            "lstm_cell",
            "mlp",
            "multihead_attention",
            "prelu",
            "rms_norm",
            "weight_norm",
        )
    }
    | {
        "batch_norm_by_inputs": Case(_batch_norm(by_parameters=False)),
        "batch_norm_by_parameters": Case(_batch_norm(by_parameters=True)),
        "batch_norm_inference": Case(_batch_norm_inference),
        "dropout": Case(_dropout),
        "embedding_by_parameters": Case(_embedding),
        "residual_by_both": Case(_residual_by_both),
        "shared_by_parameters": Case(_shared),
        "spectral_norm_by_inputs": Case(_spectral_norm),
        "spectral_norm_by_parameters": Case(_spectral_norm_by_parameters),
    }
)
