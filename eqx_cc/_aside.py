"""Computing while something else is being traced."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax


Result = TypeVar("Result")


def aside(fun: Callable[[], Result]) -> Result:
    """The result of a function that nothing that is being traced, and no mesh, reaches.

    `jax.ensure_compile_time_eval` does not keep things apart: what is traced inside of
    it loses everything that depends on constants alone.
    """
    is_wide: bool = jax.config.jax_enable_x64  # pyright: ignore
    device = getattr(jax.config, "jax_default_device", None)

    def run() -> Result:
        with jax.enable_x64(is_wide), jax.default_device(device):
            return fun()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()
