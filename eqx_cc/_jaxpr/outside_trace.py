"""Computing with values while something else is being traced."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax


Result = TypeVar("Result")


def call_outside_trace(fun: Callable[[], Result]) -> Result:
    """Calls a function in a thread of its own, out of reach of any trace or mesh.

    `jax.ensure_compile_time_eval` does not keep things apart: what is traced inside of
    it loses everything that depends on constants alone.
    """
    is_wide: bool = jax.config.jax_enable_x64  # pyright: ignore
    device = getattr(jax.config, "jax_default_device", None)

    def run() -> Result:
        with jax.enable_x64(is_wide), jax.default_device(device), transfers_allowed():
            return fun()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


@contextlib.contextmanager
def computed_while_tracing() -> Iterator[None]:
    """Computes within it what is known while tracing.

    `jax.transfer_guard` watches over what a program moves when it runs, not over the
    constants that it is made of.
    """
    with jax.ensure_compile_time_eval(), transfers_allowed():
        yield


def transfers_allowed():
    """Allows, within it, to read what is known while tracing."""
    return jax.transfer_guard("allow")
