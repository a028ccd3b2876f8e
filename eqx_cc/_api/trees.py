"""Converts functions of PyTrees to functions of lists of arrays: flattening,
unflattening, and all checks of inputs and outputs."""

import functools as ft
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, PyTree

from .._jaxpr.avals import retyped
from .._orders.orderings import AbstractOrdering
from .._strategy.granularity import Granularity
from .._strategy.jacobian_blocks import jacobian_blocks


_P = ParamSpec("_P")
_R = TypeVar("_R")


class Inputs(NamedTuple):
    """The arrays to differentiate with respect to, and the PyTree that they fill."""

    leaves: list[Array]
    names: list[str]
    tree: Any

    def unflatten(self, leaves: list) -> PyTree:
        return jtu.tree_unflatten(self.tree, leaves)


#
# What is passed to a transform
#


def takes_a_function(transform: Callable[_P, _R]) -> Callable[_P, _R]:
    """Explains how to call a transform that gets the point as a second argument."""

    @ft.wraps(transform)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if len(args) > 1:
            name = transform.__name__
            raise TypeError(
                f"`{name}` takes a function and returns a function: write "
                f"`{name}(fun)(x)` in place of `{name}(fun, x)`. Options are passed by "
                "name."
            )
        return transform(*args, **kwargs)

    return checked


def check_callable(fun: Any) -> None:
    """Checks that `fun` can be called and returns its outputs."""
    if isinstance(fun, staticmethod) or not callable(fun):
        raise TypeError(f"`fun` must be callable, but got {describe(fun)}.")
    if inspect.isgeneratorfunction(fun):
        raise TypeError(
            f"`fun` must return its outputs, but {describe(fun)} is a generator "
            "function, which yields them."
        )


def check_argnums(argnums: Any) -> int | tuple[int, ...]:
    """Checks `argnums`; returns an integer or a tuple of them."""
    try:
        if hasattr(argnums, "__index__"):
            return operator.index(argnums)
        indices = tuple(map(operator.index, argnums))
    except TypeError as e:
        raise TypeError(
            "`argnums` must be an integer or a sequence of integers, but got "
            f"{describe(argnums)}. The Jacobian at `x` is `cc_jacobian(fun)(x)`."
        ) from e
    if len(indices) == 0:
        raise ValueError("`argnums` must name at least one argument, but got none.")
    return indices


def check_holomorphic(holomorphic: bool) -> None:
    """Refuses an argument of `jax.jacfwd` that is not supported."""
    if holomorphic:
        raise ValueError(
            "`holomorphic=True` is not supported. Pass a complex number as its real "
            "and imaginary parts, or use `jax.jacfwd`."
        )


def argument_positions(argnums: tuple[int, ...], num_args: int) -> list[int]:
    """The positions that `argnums` names in a call with `num_args` arguments."""
    positions = []
    for argnum in argnums:
        if not -num_args <= argnum < num_args:
            raise ValueError(
                f"`argnums` names argument {argnum}, but the number of positional "
                f"arguments in this call is {num_args}. Pass the arguments to "
                "be differentiated by position."
            )
        if argnum % num_args in positions:
            raise ValueError(
                f"`argnums` must not name an argument twice, but got {argnums} in a "
                f"call with {num_args} positional arguments."
            )
        positions.append(argnum % num_args)
    return positions


def describe(x: Any) -> str:
    """`x` as an error message shows it."""
    shown = eqx.tree_pformat(x)
    if isinstance(x, jax.Array):
        return f"the array {shown}"
    return f"{shown} of type `{type(x).__name__}`"


#
# Inputs
#


def flatten_inputs(x: PyTree, name: Callable[[tuple], str]) -> Inputs:
    """Flattens `x`, whose leaves must be real and floating.

    `name` maps the path of a leaf to its name in error messages.
    """
    keyed, tree = jtu.tree_flatten_with_path(x)
    names = [name(path) for path, _ in keyed]
    leaves = [_real_array(leaf, name) for (_, leaf), name in zip(keyed, names)]
    if len(leaves) == 0:
        raise ValueError(
            f"`{name(())}` has no floating-point array to differentiate with respect "
            f"to: it is {describe(x)}."
        )
    return Inputs(leaves, names, tree)


def filter_inputs(x: PyTree) -> tuple[Inputs, PyTree]:
    """Splits `x` into its inexact arrays and the rest."""
    dynamic, static = eqx.partition(x, eqx.is_inexact_array)
    if len(jtu.tree_leaves(dynamic)) == 0:
        raise ValueError(
            "`x`, the first argument, has no floating-point array to differentiate "
            f"with respect to: it is {describe(x)}. Integer arrays and Python numbers "
            "are held constant; make an array of a float with `jnp.asarray`."
        )
    return flatten_inputs(dynamic, lambda path: "x" + jtu.keystr(path)), static


def of_arrays(
    fun: Callable, x: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Callable, Inputs]:
    """The function of the floating-point arrays in the first argument, and these."""
    inputs, static = filter_inputs(x)
    return lambda dynamic: fun(eqx.combine(dynamic, static), *args, **kwargs), inputs


def of_first_argument(
    fun: Callable, args: tuple, kwargs: dict[str, Any]
) -> tuple[Callable, Inputs]:
    """As `of_arrays`, of the first of several arguments."""
    if len(args) == 0:
        raise TypeError(
            "The first argument must be passed by position: the function is "
            "differentiated with respect to it."
        )
    return of_arrays(fun, args[0], args[1:], kwargs)


def _real_array(leaf: Any, name: str) -> Array:
    array = _as_array(leaf)
    if array is None:
        raise TypeError(
            f"`{name}` must be a floating-point array, but got {describe(leaf)}. "
            "`cc_jacobian` differentiates with respect to all leaves of an argument, "
            "as `jax.jacfwd` does. Use `filter_jacobian` for a module: it "
            "differentiates with respect to the floating-point arrays in it."
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            "A Jacobian requires real-valued inputs (input dtype that is a sub-dtype "
            f"of np.floating), but got {array.dtype.name} for `{name}`. Pass a complex "
            "number as its real and imaginary parts; pass integers through an argument "
            "that is not differentiated."
        )
    return array


def _as_array(leaf: Any) -> Array | None:
    if isinstance(leaf, jax.Array):
        return leaf
    if not eqx.is_array_like(leaf):
        return None
    try:
        return jnp.asarray(leaf)
    except TypeError:  # A NumPy array of objects, say.
        return None


#
# Outputs
#


def split_aux(output: Any, has_aux: bool) -> tuple[PyTree, PyTree]:
    """Splits the output of `fun` into the part to be differentiated and the rest."""
    if not has_aux:
        return output, None
    if not isinstance(output, tuple | list) or len(output) != 2:
        raise TypeError(
            "`fun` must return a pair `(output, aux)` when `has_aux=True`, but got "
            f"{describe(output)}."
        )
    output, aux = output
    return output, aux


def flatten_outputs(output: PyTree) -> tuple[list[Array], Any]:
    """Flattens `output`, whose leaves must be numerical arrays."""
    keyed, tree = jtu.tree_flatten_with_path(output)
    return [_numerical_array(leaf, output_name(path)) for path, leaf in keyed], tree


def check_scalar(value: PyTree) -> None:
    """Checks that a function returns a floating-point number, of which gradients and
    Hessians are."""
    array = _as_array(value)
    if array is None or array.shape or not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            "`fun` must return a floating-point number, an array of shape (), but got "
            f"{describe(value)}."
        )


def output_name(path: tuple) -> str:
    return f"fun(...){jtu.keystr(path)}"


def _numerical_array(leaf: Any, name: str) -> Array:
    array = _as_array(leaf)
    if array is None:
        raise TypeError(
            f"`fun` must return a PyTree of arrays, but `{name}` is {describe(leaf)}. "
            "Return anything else as auxiliary data, with `has_aux=True`."
        )
    # Booleans and random keys have no zeros of their dtype to be a derivative. (JAX
    # fails on them too, with an internal error.)
    if not jnp.issubdtype(array.dtype, jnp.number):
        raise TypeError(
            f"`fun` must return numerical arrays, but `{name}` has dtype "
            f"{array.dtype.name}. Return it as auxiliary data, with `has_aux=True`."
        )
    return array


#
# Inputs and outputs
#


def flat_function(
    fun: Callable, inputs: Inputs, has_aux: bool = False, *, named: Callable
) -> Callable:
    """`fun` of one PyTree as a function of the list of its arrays.

    It returns the pair of the list of outputs and `(aux, tree)`, with the structure of
    the output. Error messages name the function `named`.
    """

    def flat(leaves):
        output, aux = split_aux(fun(inputs.unflatten(leaves)), has_aux)
        outs, tree = flatten_outputs(output)
        return outs, (aux, tree)

    flat.__wrapped__ = named
    return flat


def value_and_jacobian(
    fun: Callable,
    inputs: Inputs,
    *,
    has_aux: bool,
    order: AbstractOrdering,
    granularity: Granularity,
    structured: bool,
    named: Callable,
    with_value: bool = True,
    chunk_size: int | None = None,
) -> tuple[PyTree, PyTree, PyTree]:
    r"""The triple `(value, aux, jacobian)` of a function of one PyTree.

    With an output of structure $S$ and inputs of structure $T$, the Jacobian has
    structure $S \circ T$. Its leaves are `Partial`s if it is `structured`, or else
    arrays. With `with_value=False`, `value` need not be computed. `named` is the
    function that the user wrote.
    """
    outs, (aux, tree), rows = jacobian_blocks(
        flat_function(fun, inputs, has_aux, named=named),
        inputs.leaves,
        order,
        granularity,
        structured=structured,
        with_value=with_value,
        chunk_size=chunk_size,
    )
    if not structured:
        rows = [
            [_materialised(block, out) for block in row] for out, row in zip(outs, rows)
        ]
    jacobian = jtu.tree_unflatten(tree, [inputs.unflatten(row) for row in rows])
    return jtu.tree_unflatten(tree, outs), aux, jacobian


def _materialised(block: Any, out: Any) -> Array:
    """The array of a block, with the dtype and the weak type of its output."""
    struct = isinstance(out, jax.ShapeDtypeStruct)
    weak_type = out.weak_type if struct else jax.typeof(out).weak_type
    return retyped(block.materialise(), out.dtype, weak_type)
