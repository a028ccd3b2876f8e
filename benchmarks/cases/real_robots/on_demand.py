"""Functions of models that are built when they are needed."""

import contextlib
import functools as ft
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp


# A function of a state, and a builder of such a function for a type of numbers.
Function: TypeAlias = Callable[[jax.Array], jax.Array]
Builder: TypeAlias = Callable[[Any], Function]


def on_demand(build: Builder) -> Function:
    """The function that `build` returns, which is called once for each type.

    Libraries may compute some constants in the default type: the result has the type
    of the state.
    """
    built = ft.cache(build)

    def fun(state):
        with _silence():
            with jax.ensure_compile_time_eval():
                model = built(state.dtype)
            return model(state).astype(state.dtype)

    return fun


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Drops what libraries say of settings, of GPUs, and of other libraries."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")
        yield


def cast(tree: Any, dtype: Any) -> Any:
    """A tree whose floating-point arrays are arrays of JAX of a type."""

    def converted(leaf):
        is_floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return jnp.asarray(leaf, dtype) if is_floating else leaf

    return jax.tree.map(converted, tree)
