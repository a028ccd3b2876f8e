"""Whether programs of scalars may be handed to XLA as native functions."""

from __future__ import annotations

import functools as ft
import os
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from ..._jaxpr.outside_trace import aside


def is_native(module: Any) -> bool:
    """Whether a module that is being lowered for CPU has native calls.

    Not where XLA is to split it over devices, which it could not do with a loop over
    the batch, nor where the environment variable `EQX_CC_NATIVE` is `off`.
    """
    if os.environ.get("EQX_CC_NATIVE", "on") == "off":
        return False
    context = getattr(module, "axis_context", None)
    mesh, manual = getattr(context, "mesh", None), getattr(context, "manual_axes", ())
    is_whole = mesh is not None and set(mesh.axis_names) == set(manual)
    return (is_whole or getattr(context, "num_devices", 1) == 1) and works()


@ft.cache
def works() -> bool:
    """Whether this version of XLA compiles a native call with a call inside."""
    return aside(_probe)


def _probe() -> bool:
    def inner(x):
        return lax.dynamic_update_slice(x, lax.sin(x[:1]), (1,))

    def outer(x):
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            y = jax.jit(inner)(x)
        return lax.dynamic_update_slice(y, lax.exp(y[1:]), (0,))

    def program(x):
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            return jax.jit(outer)(x)

    try:
        x = np.array([0.5, 0.0], np.float32)
        device = jax.local_devices(backend="cpu")[0]
        found = jax.jit(program)(jax.device_put(x, device))
    except Exception:  # whatever a version of XLA may say
        return False
    return bool(np.allclose(found, [np.exp(np.sin(0.5)), np.sin(0.5)], rtol=1e-5))
