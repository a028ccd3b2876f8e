"""Convolutions, pooling, Fourier transforms and complex intermediates."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._case import Case, case, uniform


_SIGNAL, _IMAGE = uniform(1, 2, 5), uniform(1, 1, 4, 4)
_KERNEL1, _KERNEL2 = uniform(3, 2, 2, seed=1), uniform(2, 1, 2, 2, seed=2)
_X = uniform(4)


def _conv(v, **options):
    x, kernel = v
    strides = (1,) * (x.ndim - 2)
    options = {"window_strides": strides, "padding": "SAME"} | options
    return lax.conv_general_dilated(x, kernel, **options)


def _pool(operation, start, x, **options):
    options = {"window_strides": (1, 2), "padding": "VALID"} | options
    return lax.reduce_window(x, start, operation, (2, 2), **options)


def _log_spectrum(x):
    return jnp.log(jnp.abs(jnp.fft.rfft(x)) ** 2 + 1.0)


def _round_trip(x):
    return jnp.fft.ifft(jnp.fft.fft(x) ** 2).real


def _low_pass(x):
    return jnp.fft.irfft(jnp.fft.rfft(x) * jnp.array([1.0, 0.5, 0.0], complex), n=4)


def _conjugate_product(x):
    z = lax.complex(x[:2], x[2:])
    return jnp.real(z * jnp.conj(z)), jnp.imag(z * z)


def _argument(x):
    z = lax.complex(x[:2], x[2:])
    return jnp.angle(z), jnp.abs(z)


def _euler(x):
    z = jnp.exp(lax.complex(jnp.zeros_like(x), x))
    return jnp.real(z), jnp.imag(z)


def _complex_solve(x):
    a = lax.complex(jnp.eye(2) * 3.0 + x.reshape(2, 2), x.reshape(2, 2).T)
    return jnp.abs(jnp.linalg.solve(a, lax.complex(x[:2], x[2:])))


def _mandelbrot(x):
    c = lax.complex(x[0], x[1]) * 0.3
    z = c
    for _ in range(3):
        z = z * z + c
    return jnp.real(z * jnp.conj(z))


_CONVOLUTIONS = {
    "conv1d": (_conv, (_SIGNAL, _KERNEL1)),
    "conv1d_constant_kernel": (lambda x: _conv((x, _KERNEL1)), _SIGNAL),
    "conv1d_depthwise": (
        lambda v: _conv(v, feature_group_count=2),
        (_SIGNAL, uniform(4, 1, 2)),
    ),
    "conv1d_dilated": (
        lambda v: _conv(v, rhs_dilation=(2,), lhs_dilation=(2,), padding=[(1, 2)]),
        (_SIGNAL, _KERNEL1),
    ),
    "conv2d": (_conv, (_IMAGE, _KERNEL2)),
    "conv2d_strided": (
        lambda v: _conv(v, window_strides=(2, 1), padding="VALID"),
        (_IMAGE, _KERNEL2),
    ),
    "conv_of_itself": (lambda x: _conv((x, x), padding="VALID"), uniform(1, 1, 3)),
    "conv_transpose": (
        lambda v: lax.conv_transpose(v[0], v[1], (2,), "SAME", transpose_kernel=True),
        (uniform(1, 3, 2), uniform(2, 2, 2)),
    ),
    "convolve": (lambda v: jnp.convolve(*v), (_X, uniform(2))),
    "correlate": (lambda v: jnp.correlate(*v, mode="same"), (_X, uniform(3))),
}

_POOLS = {
    "average_pool": (lambda x: _pool(lax.add, 0.0, x) / 4.0, uniform(3, 4)),
    "max_pool": (lambda x: _pool(lax.max, -jnp.inf, x), uniform(3, 4)),
    "max_pool_padded": (
        lambda x: _pool(lax.max, -jnp.inf, x, padding="SAME"),
        uniform(3, 3),
    ),
    "min_pool": (lambda x: _pool(lax.min, jnp.inf, x), uniform(3, 4)),
}

_FOURIER = {
    "fft_power": (lambda x: jnp.abs(jnp.fft.fft(x)) ** 2, _X),
    "fft_complex_output": (jnp.fft.fft, _X),
    "fft2": (lambda x: jnp.fft.fft2(x).real, uniform(2, 3)),
    "fftshift": (lambda x: jnp.fft.fftshift(x) ** 2, _X),
    "irfft": (_low_pass, _X),
    "log_spectrum": (_log_spectrum, _X),
    "round_trip": (_round_trip, _X),
}

_COMPLEX = {
    "argument": (_argument, _X),
    "complex_output": (lambda x: lax.complex(x[:2], jnp.sin(x[2:])), _X),
    "complex_solve": (_complex_solve, _X),
    "conjugate_product": (_conjugate_product, _X),
    "euler": (_euler, _X),
    "mandelbrot": (_mandelbrot, _X),
}


def _resize(x):
    return jax.image.resize(x, (4, 3), method="linear")


CASES: dict[str, Case] = {
    name: case(fun, x)
    for name, (fun, x) in (_CONVOLUTIONS | _POOLS | _FOURIER | _COMPLEX).items()
} | {
    "map_coordinates": case(
        lambda x: jax.scipy.ndimage.map_coordinates(
            jnp.arange(9.0).reshape(3, 3) ** 2, [x[:2], x[2:]], order=1
        ),
        np.array([0.3, 1.6, 1.2, 0.7]),
    ),
    "resize": case(_resize, uniform(2, 3)),
}
